"""Which card a section of /etc/sriov.conf means: a PF is known by its address and by its permanent MAC."""

import re
from typing import Dict, Mapping, NamedTuple, Optional, Sequence

from .errors import Problem
from .host import Host
from .hostconfig import PATH, PfConfig
from .pci import PhysicalFunction, mac_of
from .vfsettings import NO_MAC

_PERMANENT = re.compile(r"Permanent address: ([0-9a-fA-F:]{17})")


class Match(NamedTuple):
    """The PF that is meant (None: not to be touched), and what is to be said of it."""

    pf: Optional[PhysicalFunction]
    problem: Optional[Problem]


def permanent_mac(host: Host, pf: PhysicalFunction) -> Optional[str]:
    """The MAC that is burnt into the port: its present one may be a bond's. None without an interface."""
    if pf.interface is None:
        return None
    match = _PERMANENT.search(host.run(["ethtool", "-P", pf.interface]).stdout)
    if match and match.group(1) != NO_MAC:
        return match.group(1).lower()
    return mac_of(host, pf.interface)


def permanent_macs(host: Host, pfs: Sequence[PhysicalFunction]) -> Dict[str, Optional[str]]:
    return {pf.address: permanent_mac(host, pf) for pf in pfs}


def match(wanted: PfConfig, pfs: Sequence[PhysicalFunction], macs: Mapping[str, Optional[str]]) -> Match:
    """Finds the PF of a section. Pure."""
    by_address = next((pf for pf in pfs if pf.address == wanted.address), None)
    if wanted.mac is None:
        return Match(by_address, None if by_address else _missing(wanted))
    by_mac = next((pf for pf in pfs if macs.get(pf.address) == wanted.mac), None)
    if by_mac is not None:
        moved = by_mac.address != wanted.address
        return Match(by_mac, _moved(wanted, by_mac) if moved else None)
    if by_address is not None and macs.get(by_address.address) is None:
        return Match(by_address, None)  # a PF whose interface is not there (yet) shows no MAC
    return Match(None, _another(wanted, macs) if by_address else _missing(wanted))


def _missing(wanted: PfConfig) -> Problem:
    return Problem(
        "PF_MISSING",
        f"{PATH} speaks of the PF {wanted.address}, and this host has none there.",
        "Put the card back, or take its section out of the file.",
    )


def _moved(wanted: PfConfig, pf: PhysicalFunction) -> Problem:
    return Problem(
        "PF_MOVED",
        f"The card of {wanted.address} ({wanted.mac}) is at {pf.address} now; its VFs are made there.",
        f"Call set_vf_count for {pf.address} to have {PATH} say so; give VMs VFs of the new place.",
    )


def _another(wanted: PfConfig, macs: Mapping[str, Optional[str]]) -> Problem:
    return Problem(
        "OTHER_CARD",
        f"At {wanted.address} sits another card ({macs.get(wanted.address)}, not {wanted.mac}); "
        f"its VFs are not touched.",
        f"Call set_vf_count for it if it is meant to have VFs, or take the section out of {PATH}.",
    )
