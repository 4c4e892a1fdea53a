"""What rtnetlink answers of the counters of a port's VFs, byte by byte (Linux 6.12: net/core/rtnetlink.c,
rtnl_fill_vfinfo; names and numbers in include/uapi/linux/if_link.h)."""

import struct
from typing import Mapping, NamedTuple, Optional, Sequence

from kernel_net import VfSettings
from kernel_netlink import attribute, message
from kernel_netlink import vf_info as without_stats

PAD = "IFLA_VF_STATS_PAD"
STATS: Sequence[str] = (
    *("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "broadcast", "multicast", PAD),
    *("rx_dropped", "tx_dropped"),
)


class Kernel(NamedTuple):
    """`pads`: it aligns 64-bit values (not on x86). `drops`: it has counters of drops (4.17 and later)."""

    pads: bool = False
    drops: bool = True


USUAL = Kernel()


def vf_info(number: int, counted: Mapping[str, int], kernel: Kernel = USUAL) -> bytes:
    """One IFLA_VF_INFO."""
    stats = b""
    for place, name in enumerate(STATS):
        if name != PAD and (kernel.drops or place < STATS.index(PAD)):
            if kernel.pads:
                stats += attribute(STATS.index(PAD), b"")
            stats += attribute(place, struct.pack("=Q", counted.get(name, 0)))
    return attribute(1, without_stats(number, VfSettings())[4:] + attribute(8, stats))


def new_link(
    index: int,
    vfs: Optional[Mapping[int, Mapping[str, int]]],
    kernel: Kernel = USUAL,
    name: str = "eth0",
) -> bytes:
    """The answer to RTM_GETLINK with RTEXT_FILTER_VF. `vfs`: None of an interface that is no port."""
    body = struct.pack("=BxHiII", 0, 1, index, 0x1043, 0) + attribute(3, name.encode() + b"\0")
    if vfs is not None:
        body += attribute(21, struct.pack("=I", len(vfs)))
        body += attribute(22, b"".join(vf_info(number, vfs[number], kernel) for number in sorted(vfs)))
    return message(16, body + attribute(26, attribute(2, bytes(8))))
