"""Profiles: settings of a VF that belong together, by one word. Pure.

`router`: a firewall or router as guest. Its VF is trusted (more MACs, promiscuous as far as the card can), is
not checked for the MACs that it sends from (CARP, VRRP), and has no VLAN of its own, so that the guest tags.
A trunk of chosen VLANs (`ip link set PF vf N trunk`) is in no kernel, only in some drivers outside it.
"""

from typing import Dict, NamedTuple, Optional

from ..config.vf_settings import UNKNOWN, VfSettings

ROUTER = "router"
SETTINGS: Dict[str, Dict[str, str]] = {ROUTER: {"vlan": "0", "trust": "on", "spoof_check": "off"}}

# Whether a driver can trust a VF: whether it has an ndo_set_vf_trust (Linux 6.1.192).
_TRUSTING = ("igb", "ixgbe", "i40e", "ice", "mlx5_core", "bnxt_en", "qede", "nfp", "hinic", "liquidio")
_NEVER = ("mlx4_core", "bnx2x", "be2net", "cxgb4", "enic", "sfc")
# Those of which every version that can trust a VF also tells whether it does: where the kernel tells no
# trust, on or off, it cannot (kernel: rtnetlink.c, rtnl_fill_vfinfo). XCP-ng 8.3 has Intel's own igb,
# 5.3.5.20 (igb_main.c, igb_netdev_ops and igb_ndo_get_vf_config).
_TELLING = {"igb": "Intel's own can from 5.8.5 on"}


class Doubt(NamedTuple):
    """That a driver cannot do what a profile needs, or that this is not known."""

    certain: bool
    why: str  # a sentence without its subject


def doubt(profile: str, driver: Optional[str], now: VfSettings) -> Optional[Doubt]:
    """Of the PF's driver, and the settings of the VF as it tells them now; None where it can."""
    if SETTINGS[profile].get("trust") != "on":
        return None
    if driver in _NEVER:
        return Doubt(True, f"its driver {driver} cannot trust a VF")
    if driver in _TELLING and now != UNKNOWN and now.trust is None:
        return Doubt(True, f"its driver {driver} is one that cannot trust a VF ({_TELLING[driver]})")
    if driver in _TRUSTING:
        return None
    return Doubt(False, f"whether its driver {driver} can trust a VF is not known")
