"""Questions to the kernel about network interfaces, by rtnetlink, as `ip` asks them.

A process less; and nothing is lost of a port with many VFs: `ip` before 4.15 (XCP-ng 8.3 has an older one)
takes 32 KiB of an answer, about 120 VFs, leaves a longer one out and ends with status 0 (iproute2:
lib/libnetlink.c, rtnl_dump_filter_l).
"""

import errno
import os
from _socket import AF_INET, AF_INET6, AF_NETLINK, MSG_TRUNC, SOCK_CLOEXEC, SOCK_RAW, inet_ntop, socket
from struct import Struct
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from .host import Host

# include/uapi/linux: netlink.h, rtnetlink.h, if_link.h, if_addr.h
_ROUTE, _REQUEST, _MULTI, _INTERRUPTED, _DUMP = 0, 0x1, 0x2, 0x10, 0x300
_ERROR, _DONE = 2, 3
NEW_LINK, GET_LINK, NEW_ADDRESS, GET_ADDRESS = 16, 18, 20, 22
LINK_NAME, NUM_VF, VF_LIST, LINK_MASK, VF_INFO = 3, 21, 22, 29, 1
_WITH_VFS, _WITHOUT_STATS = 1, 8  # RTEXT_FILTER_VF, RTEXT_FILTER_SKIP_STATS
_ADDRESS, _LOCAL = 1, 2
_ADDRESS_SIZES = {AF_INET: 4, AF_INET6: 16}

HEADER = Struct("=IHHII")  # size, type, flags, sequence, port
LINK = Struct("=BxHiII")  # family, type, index, flags, change
ADDRESS = Struct("=BBBBI")  # family, prefix, flags, scope, index
ATTRIBUTE = Struct("=HH")  # size, type
_NUMBER, _SIGNED = Struct("=I"), Struct("=i")

_SECONDS = 30
_LARGEST = 1 << 20  # of an answer; 256 VFs take 80 KiB
_TRIES = 3  # of a list that changed while the kernel told it


class Link(NamedTuple):
    """What the kernel tells of an interface."""

    name: str
    kind: int  # linux/if_arp.h, ARPHRD_...
    num_vfs: Optional[int]  # by the device; None where the driver tells of no VF
    data: bytes
    vfs: List[Tuple[int, int]]  # where in `data` the attributes of each VF begin and end


def ask(request: bytes) -> List[bytes]:
    """The messages with which the kernel answers. Raises OSError."""
    connection = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, _ROUTE)
    try:
        connection.settimeout(_SECONDS)
        connection.send(request)
        found: List[bytes] = []
        while not found or _goes_on(found[-1]):
            data, _, flags, (sender, _groups) = connection.recvmsg(_LARGEST)
            if flags & MSG_TRUNC:
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
            if sender == 0:  # the kernel
                found += _messages(data)
        return found
    finally:
        connection.close()


def _messages(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + HEADER.size <= len(data):
        size = HEADER.unpack_from(data, at)[0]
        if not HEADER.size <= size <= len(data) - at:
            raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
        yield data[at : at + size]
        at += size + 3 & ~3


def _goes_on(message: bytes) -> bool:
    _size, kind, flags, _sequence, _port = HEADER.unpack_from(message)
    return bool(flags & _MULTI) and kind not in (_ERROR, _DONE)


def _asked(host: Host, kind: int, body: bytes, flags: int = 0) -> List[bytes]:
    """The messages of the answer, without those that end it. Raises OSError, also where the kernel ended it
    before it had told all."""
    for _ in range(_TRIES):
        messages = host.netlink(HEADER.pack(HEADER.size + len(body), kind, _REQUEST | flags, 1, 0) + body)
        heads = [HEADER.unpack_from(message) for message in messages]
        if not any(head[2] & _INTERRUPTED for head in heads):
            break
    else:
        raise OSError(errno.EAGAIN, "the list changed each time that the kernel told it")
    for message, head in zip(messages, heads):
        if head[1] in (_ERROR, _DONE) and len(message) >= HEADER.size + _SIGNED.size:
            number = -_SIGNED.unpack_from(message, HEADER.size)[0]
            if number > 0:
                raise OSError(number, os.strerror(number))
    return [message for message, head in zip(messages, heads) if head[1] not in (_ERROR, _DONE)]


def _body(layout: Struct, message: bytes) -> Tuple[int, ...]:
    """What stands before the attributes."""
    if len(message) < HEADER.size + layout.size:
        raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
    return layout.unpack_from(message, HEADER.size)


def attributes(data: bytes, start: int, end: int) -> Iterator[Tuple[int, int, int]]:
    """Type, and where the contents begin and end, of each attribute that is there as a whole."""
    while start + ATTRIBUTE.size <= end:
        size, kind = ATTRIBUTE.unpack_from(data, start)
        if size < ATTRIBUTE.size or start + size > end:
            return
        yield kind & 0x3FFF, start + ATTRIBUTE.size, start + size
        start += size + 3 & ~3


def attribute(kind: int, contents: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(contents), kind) + contents + bytes(-len(contents) % 4)


# -- an interface and its VFs -----------------------------------------------------------------------


def with_vfs(host: Host, name: str) -> Link:
    """The interface of that name. Raises OSError."""
    wanted = attribute(LINK_NAME, name.encode() + b"\0")
    wanted += attribute(LINK_MASK, _NUMBER.pack(_WITH_VFS | _WITHOUT_STATS))
    return _the_link(host, LINK.pack(0, 0, 0, 0, 0) + wanted)


def with_counters(host: Host, index: int) -> Link:
    """The interface of that index, with what its driver has counted of its VFs (see vf_counters). Raises
    OSError."""
    wanted = attribute(LINK_MASK, _NUMBER.pack(_WITH_VFS))
    return _the_link(host, LINK.pack(0, 0, index, 0, 0) + wanted)


def _the_link(host: Host, body: bytes) -> Link:
    for message in _asked(host, GET_LINK, body):
        if HEADER.unpack_from(message)[1] == NEW_LINK:
            return _link(message)
    raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))


def _link(message: bytes) -> Link:
    """The list of VFs is gone through by the VFs, not by its length: that has 16 bits, and the kernel of
    XCP-ng 8.3 lets it run over with more than about 220 VFs (net/core/rtnetlink.c, rtnl_fill_vf;
    include/net/netlink.h, nla_nest_end)."""
    kind = _body(LINK, message)[1]
    called, num_vfs = "", 0
    for name, start, end in attributes(message, HEADER.size + LINK.size, len(message)):
        if name == LINK_NAME:
            called = message[start:end].rstrip(b"\0").decode("utf-8", "replace")
        elif name == NUM_VF and end - start >= _NUMBER.size:
            num_vfs = _NUMBER.unpack_from(message, start)[0]
        elif name == VF_LIST:
            return Link(called, kind, num_vfs, message, list(_vfs(message, start, num_vfs)))
    return Link(called, kind, None, message, [])


def _vfs(message: bytes, start: int, count: int) -> Iterator[Tuple[int, int]]:
    found = attributes(message, start, len(message))
    for _, (name, begin, end) in zip(range(count), found):
        if name != VF_INFO:
            return
        yield begin, end


# -- IP addresses -----------------------------------------------------------------------------------


def addresses(host: Host) -> List[Tuple[str, str]]:
    """dom0's IP addresses, each with its interface. Raises OSError, also where an interface has just gone."""
    found = []
    names: Dict[int, str] = {}
    for message in _asked(host, GET_ADDRESS, ADDRESS.pack(0, 0, 0, 0, 0), _DUMP):
        if HEADER.unpack_from(message)[1] != NEW_ADDRESS:
            continue
        family, _prefix, _flags, _scope, index = _body(ADDRESS, message)
        told: Dict[int, bytes] = {}
        for name, start, end in attributes(message, HEADER.size + ADDRESS.size, len(message)):
            told[name] = message[start:end]
        own = told.get(_LOCAL, told.get(_ADDRESS))  # the second is the other end's on a line between two
        if family in _ADDRESS_SIZES and own is not None:
            if len(own) != _ADDRESS_SIZES[family]:
                raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
            if index not in names:
                names[index] = _the_link(host, LINK.pack(0, 0, index, 0, 0)).name
            found.append((names[index], inet_ntop(family, own)))
    return found
