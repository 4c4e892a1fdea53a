"""What a port's driver has counted of its VFs: one question to the kernel a port, no process.

RTM_GETLINK with RTEXT_FILTER_VF answers IFLA_VF_STATS for each VF (kernel: net/core/rtnetlink.c,
rtnl_fill_vfinfo), zeroes where the driver has no ndo_get_vf_stats or that call fails. Ports are asked one by
one: a dump tells of each VIF and tap of dom0 too, and where one port's answer has no room it ends there.
"""

import errno
import os
import socket
import struct
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

SECONDS = 5
LARGEST = 1 << 19  # of an answer, with 1,024 VFs

# include/uapi/linux: netlink.h, rtnetlink.h, if_link.h
_RTM_NEWLINK, _RTM_GETLINK, _NLMSG_ERROR, _NLM_F_REQUEST = 16, 18, 2, 1
_IFLA_NUM_VF, _IFLA_VFINFO_LIST, _IFLA_EXT_MASK, _RTEXT_FILTER_VF = 21, 22, 29, 1
_IFLA_VF_INFO, _IFLA_VF_MAC, _IFLA_VF_STATS = 1, 1, 8
_RX_PACKETS, _TX_PACKETS, _RX_BYTES, _TX_BYTES, _RX_DROPPED, _TX_DROPPED = 0, 1, 2, 3, 7, 8
_WANTED = (_RX_BYTES, _TX_BYTES, _RX_PACKETS, _TX_PACKETS, _RX_DROPPED, _TX_DROPPED)

_HEADER = struct.Struct("=IHHII")  # nlmsghdr
_LINK = struct.Struct("=BxHiII")  # ifinfomsg
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=I")


class Counters(NamedTuple):
    """Of one VF, as its guest sees it: rx is what the guest received."""

    rx_bytes: int
    tx_bytes: int
    rx_packets: int
    tx_packets: int
    rx_dropped: int  # 0 from kernels before 4.17
    tx_dropped: int


class Told(NamedTuple):
    """`vfs`: VF index -> counters, of those that the kernel had room for; `num_vfs`: how many there are."""

    vfs: Dict[int, Counters]
    num_vfs: int


class Links:
    """A connection to the kernel, to be closed."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.settimeout(SECONDS)
        self._asked = 0

    def close(self) -> None:
        self._socket.close()

    def ask(self, index: int) -> Told:
        """Of the port with that interface index; raises OSError, the kernel's or EBADMSG."""
        self._asked += 1
        body = _LINK.pack(0, 0, index, 0, 0)
        body += _ATTRIBUTE.pack(_ATTRIBUTE.size + _NUMBER.size, _IFLA_EXT_MASK)
        body += _NUMBER.pack(_RTEXT_FILTER_VF)
        size = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(size, _RTM_GETLINK, _NLM_F_REQUEST, self._asked, 0) + body)
        while True:
            answer = self._socket.recv(LARGEST)
            if len(answer) < _HEADER.size:
                raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
            if _HEADER.unpack_from(answer)[3] == self._asked:  # else an answer that came too late
                return parse(answer)


def parse(answer: bytes) -> Told:
    """What the kernel's answer to one question says; raises OSError where it is an error."""
    try:
        size, kind = _HEADER.unpack_from(answer)[:2]
        if kind == _NLMSG_ERROR:
            number = -struct.unpack_from("=i", answer, _HEADER.size)[0]
            raise OSError(number, os.strerror(number))
        if kind != _RTM_NEWLINK or size > len(answer):
            raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
        num_vfs = 0
        for name, start, end in _attributes(answer, _HEADER.size + _LINK.size, size):
            if name == _IFLA_NUM_VF:
                num_vfs = _NUMBER.unpack_from(answer, start)[0]
            elif name == _IFLA_VFINFO_LIST:
                # Its length has 16 bits: of more than about 220 VFs it names the first ones only, and what
                # follows it is no attribute, so nothing behind it is read.
                return Told(_vfs(answer, start, end), num_vfs)
    except struct.error as error:
        raise OSError(errno.EBADMSG, f"netlink: {error}") from error
    return Told({}, num_vfs)


def _attributes(data: bytes, start: int, end: int) -> Iterator[Tuple[int, int, int]]:
    """Type, and where the contents begin and end, of each attribute that is there in full."""
    while start + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if length < _ATTRIBUTE.size or start + length > end:
            return
        yield kind & 0x3FFF, start + _ATTRIBUTE.size, start + length
        start += (length + 3) & ~3


_Reader = Callable[[int], Optional[Tuple[int, Counters]]]  # where a VF's contents begin -> its number, ...


def _vfs(data: bytes, start: int, end: int) -> Dict[int, Counters]:
    """The VFs of a port are told of alike, so where the counters of one stand is looked for once: with
    hundreds of VFs every five seconds that is most of the work."""
    found: Dict[int, Counters] = {}
    readers: Dict[int, _Reader] = {}  # by the length of what is told
    for kind, begin, stop in _attributes(data, start, end):
        if kind != _IFLA_VF_INFO:
            continue
        known = readers.get(stop - begin)
        one = known(begin) if known else None
        if one is None:
            places = _places(data, begin, stop)
            if places is None:
                continue
            readers[stop - begin] = known = _reader(data, begin, places)
            one = known(begin)
        if one is not None:
            found[one[0]] = one[1]
    return found


def _places(data: bytes, begin: int, stop: int) -> Optional[List[int]]:
    """Where the VF's number and each of `_WANTED` stand in what is told of it; None where one is missing."""
    number: Optional[int] = None
    at: Dict[int, int] = {}
    for kind, start, end in _attributes(data, begin, stop):
        if kind == _IFLA_VF_MAC and end - start >= _NUMBER.size:
            number = start - begin
        elif kind == _IFLA_VF_STATS:
            inside = _attributes(data, start, end)
            at = {name: first - begin for name, first, last in inside if last - first == 8}
    if number is None or not set(_WANTED[:4]).issubset(at):
        return None
    return [number, *(at.get(name, -1) for name in _WANTED)]


def _reader(data: bytes, begin: int, places: Sequence[int]) -> _Reader:
    """Reads a VF whose attributes stand at the same places as those of the one at `begin`; answers None for
    one of which that is not so."""
    present = [place for place in places if place >= 0]
    layout = "="
    position = 0
    order = sorted(present)
    for place in order:
        head = place - _ATTRIBUTE.size
        layout += f"{head - position}xI{'I' if place == places[0] else 'Q'}"
        position = place + (_NUMBER.size if place == places[0] else 8)
    whole = struct.Struct(layout)
    heads = whole.unpack_from(data, begin)[::2]
    slots = [2 * order.index(place) + 1 if place >= 0 else -1 for place in places]
    number, rx_bytes, tx_bytes, rx_packets, tx_packets, rx_dropped, tx_dropped = slots

    def read(start: int) -> Optional[Tuple[int, Counters]]:
        told = whole.unpack_from(data, start)
        if told[::2] != heads:
            return None
        dropped = (told[rx_dropped] if rx_dropped >= 0 else 0, told[tx_dropped] if tx_dropped >= 0 else 0)
        return told[number], Counters(
            told[rx_bytes], told[tx_bytes], told[rx_packets], told[tx_packets], *dropped
        )

    return read
