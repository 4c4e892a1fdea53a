"""What rtnetlink answers of a port's VFs, byte by byte as net/core/rtnetlink.c puts it together (Linux 6.12:
rtnl_fill_ifinfo, rtnl_fill_vf, rtnl_fill_vfinfo; names and numbers from include/uapi/linux/if_link.h)."""

import struct
from typing import Mapping, NamedTuple, Optional, Sequence

PAD = "IFLA_VF_STATS_PAD"
STATS: Sequence[str] = (
    *("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "broadcast", "multicast", PAD),
    *("rx_dropped", "tx_dropped"),
)
ROOM = 0x10000  # an attribute's length has 16 bits


class Kernel(NamedTuple):
    """`pads`: it aligns 64-bit values (not on x86). `drops`: it has counters of drops (4.17 and later)."""

    pads: bool = False
    drops: bool = True


def attribute(kind: int, body: bytes) -> bytes:
    return struct.pack("=HH", (len(body) + 4) % ROOM, kind) + body + bytes(-len(body) % 4)


def vf_info(number: int, counted: Mapping[str, int], kernel: Kernel) -> bytes:
    """One IFLA_VF_INFO."""
    stats = b""
    for place, name in enumerate(STATS):
        if name != PAD and (kernel.drops or place < STATS.index(PAD)):
            if kernel.pads:
                stats += attribute(STATS.index(PAD), b"")
            stats += attribute(place, struct.pack("=Q", counted.get(name, 0)))
    body = b"".join(
        [
            attribute(1, struct.pack("=I32s", number, bytes([2, 0, 0, 0, 0, number % 256]))),
            attribute(13, b"\xff" * 32),
            attribute(2, struct.pack("=III", number, 12, 0)),
            attribute(6, struct.pack("=III", number, 0, 1000)),
            attribute(3, struct.pack("=II", number, 1000)),
            attribute(4, struct.pack("=II", number, 1)),
            attribute(5, struct.pack("=II", number, 0)),
            attribute(7, struct.pack("=II", number, 0)),
            attribute(9, struct.pack("=II", number, 0)),
            attribute(12, attribute(1, struct.pack("=IIIHxx", number, 12, 0, 0x8100))),
            attribute(8, stats),
        ]
    )
    return attribute(1, body)


USUAL = Kernel()


def newlink(
    index: int,
    name: str,
    vfs: Optional[Mapping[int, Mapping[str, int]]],
    kernel: Kernel = USUAL,
    asked: int = 1,
) -> bytes:
    """The answer to RTM_GETLINK with RTEXT_FILTER_VF. `vfs`: None of an interface that is no port."""
    body = struct.pack("=BxHiII", 0, 1, index, 0x1043, 0)
    body += attribute(3, name.encode() + b"\0") + attribute(4, struct.pack("=I", 1500))
    if vfs is not None:
        body += attribute(21, struct.pack("=I", len(vfs)))
        body += attribute(22, b"".join(vf_info(number, vfs[number], kernel) for number in sorted(vfs)))
    body += attribute(26, attribute(2, bytes(8)))
    return struct.pack("=IHHII", 16 + len(body), 16, 0, asked, 4711) + body


def refusal(number: int, asked: int = 1) -> bytes:
    """NLMSG_ERROR."""
    body = struct.pack("=i", -number) + bytes(16)
    return struct.pack("=IHHII", 16 + len(body), 2, 0, asked, 4711) + body
