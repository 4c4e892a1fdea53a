"""What a port's driver has counted of its VFs: one question to the kernel a port, no process.

The kernel answers IFLA_VF_STATS for each VF (net/core/rtnetlink.c, rtnl_fill_vfinfo), zeroes where the driver
has no ndo_get_vf_stats or that call fails. Ports are asked one by one: a list of all interfaces tells of each
VIF and tap of dom0 too, and where one port's answer has no room it ends there.
"""

from struct import Struct
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from . import netlink
from .host import Host

# include/uapi/linux/if_link.h
_VF_MAC, _VF_STATS = 1, 8
_RX_PACKETS, _TX_PACKETS, _RX_BYTES, _TX_BYTES, _RX_DROPPED, _TX_DROPPED = 0, 1, 2, 3, 7, 8
_WANTED = (_RX_BYTES, _TX_BYTES, _RX_PACKETS, _TX_PACKETS, _RX_DROPPED, _TX_DROPPED)
_NUMBER_SIZE, _COUNTER_SIZE = 4, 8


class Counters(NamedTuple):
    """Of one VF, as its guest sees it: rx is what the guest received."""

    rx_bytes: int
    tx_bytes: int
    rx_packets: int
    tx_packets: int
    rx_dropped: int  # 0 from kernels before 4.17
    tx_dropped: int


NOTHING = Counters(0, 0, 0, 0, 0, 0)


class Told(NamedTuple):
    """`vfs`: VF index -> counters, of those that the kernel tells of; `num_vfs`: how many there are; `name`:
    of the port's interface by now."""

    vfs: Dict[int, Counters]
    num_vfs: int
    name: str


_Reader = Callable[[int], Optional[Tuple[int, Counters]]]  # where a VF's contents begin -> its number, ...


def read(host: Host, index: int) -> Told:
    """Of the port with that interface index. Raises OSError.

    The VFs of a port are told of alike, so where the counters of one stand is looked for once: with hundreds
    of VFs every five seconds that is most of the work."""
    link = netlink.with_counters(host, index)
    data = link.data
    found: Dict[int, Counters] = {}
    readers: Dict[int, _Reader] = {}  # by the length of what is told
    for begin, stop in link.vfs:
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
    return Told(found, link.num_vfs or 0, link.name)


def _places(data: bytes, begin: int, stop: int) -> Optional[List[int]]:
    """Where the VF's number and each of `_WANTED` stand in what is told of it; None where one is missing."""
    number: Optional[int] = None
    at: Dict[int, int] = {}
    for kind, start, end in netlink.attributes(data, begin, stop):
        if kind == _VF_MAC and end - start >= _NUMBER_SIZE:
            number = start - begin
        elif kind == _VF_STATS:
            inside = netlink.attributes(data, start, end)
            at = {name: first - begin for name, first, last in inside if last - first == _COUNTER_SIZE}
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
        head = place - netlink.ATTRIBUTE.size
        layout += f"{head - position}xI{'I' if place == places[0] else 'Q'}"
        position = place + (_NUMBER_SIZE if place == places[0] else _COUNTER_SIZE)
    whole = Struct(layout)
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
