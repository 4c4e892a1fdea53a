"""Which drivers count what their VFs carry. rtnetlink answers zeroes for the others, which look like a VF
without traffic, so they have to be known by name; and of a driver that learnt it in some version, whether the
loaded one can is told by the kernel's own list of its functions."""

from functools import lru_cache
from typing import Dict, Iterable, NamedTuple, Set

from ..machine.host import Host

KALLSYMS = "/proc/kallsyms"  # Documentation/admin-guide: all functions of the kernel and of loaded modules


class Counting(NamedTuple):
    """`function` is the driver's ndo_get_vf_stats. `rx_dropped` and `tx_dropped`: whether it counts the
    frames that it drops."""

    function: str
    rx_dropped: bool = False
    tx_dropped: bool = False
    module: str = ""  # that has the function, where it is not called as the driver


# Linux 6.12.117, below drivers/net/ethernet, and of Intel's also their own drivers, which XCP-ng 8.3 has on
# 4.19 (ixgbe 6.3.4, i40e 2.28.16, ice 2.6.6). Counted, but not asked:
# - liquidio (cavium/liquidio/cn23xx_pf_device.c, cn23xx_get_vf_stats) asks the driver in each guest and waits
#   up to a second for each, with dom0's network configuration locked;
# - InfiniBand ports (infiniband/ulp/ipoib): a VIF's statistics are of Ethernet.
# Not counted by igb (intel/igb, also Intel's own 5.18.7), bnxt_en, bnx2x, be2net, cxgb4, enic, nfp, qede,
# sfc, hns3, hinic and all others: none of them has an ndo_get_vf_stats.
DRIVERS: Dict[str, Counting] = {
    "ixgbe": Counting("ixgbe_ndo_get_vf_stats"),  # intel/ixgbe/ixgbe_main.c
    "i40e": Counting("i40e_get_vf_stats", True, True),  # intel/i40e/i40e_virtchnl_pf.c
    "ice": Counting("ice_get_vf_stats", True, True),  # intel/ice/ice_sriov.c
    "fm10k": Counting("fm10k_ndo_get_vf_stats", True),  # intel/fm10k/fm10k_iov.c
    # Its drops are those of its access lists, where the firmware tells them, else 0 (mlx5/core/eswitch.c,
    # mlx5_eswitch_get_vport_stats and mlx5_esw_query_vport_drop_stats): left out.
    "mlx5_core": Counting("mlx5e_get_vf_stats"),  # mellanox/mlx5/core/en_main.c
    "mlx4_core": Counting("mlx4_en_get_vf_stats", module="mlx4_en"),  # mellanox/mlx4/en_netdev.c
    "ionic": Counting("ionic_get_vf_stats", True, True),  # pensando/ionic/ionic_lif.c; bytes of unicast only
}


def loaded(host: Host, drivers: Iterable[str]) -> Set[str]:
    """Those of the drivers that count, as they are loaded now. Raises OSError where the kernel does not
    tell."""
    known = [name for name in drivers if name in DRIVERS]
    return {name for name in known if _has(host, DRIVERS[name].function, _module(host, name))}


def _module(host: Host, driver: str) -> str:
    """Another text where another version of the module is loaded."""
    folder = f"/sys/module/{DRIVERS[driver].module or driver}"
    return f"{host.text(folder + '/srcversion')} {host.text(folder + '/coresize')}"


@lru_cache(maxsize=None)  # the kernel makes a list of megabytes for each question
def _has(host: Host, function: str, _module: str) -> bool:
    """The list has lines such as `ffffffffc0a00000 t i40e_get_vf_stats [i40e]`."""
    text, word = host.read_bytes(KALLSYMS), function.encode()
    return b" " + word + b"\t" in text or b" " + word + b"\n" in text
