"""Which card a section of /etc/sriov.conf means: a PF is known by its address and by its permanent MAC."""

import re
from typing import Dict, Iterable, Mapping, NamedTuple, Optional, Sequence

from .errors import Problem
from .host import Host
from .hostconfig import PATH, PfConfig
from .pci import PhysicalFunction, mac_of
from .vfsettings import NO_MAC

_PERMANENT = r"Permanent address: ([0-9a-fA-F:]{17})"

Macs = Mapping[str, Optional[str]]  # PF address -> permanent MAC


class Match(NamedTuple):
    """The PF that is meant (None: not to be touched), and what is to be said of it."""

    pf: Optional[PhysicalFunction]
    problem: Optional[Problem]


def permanent_macs(host: Host, pfs: Sequence[PhysicalFunction]) -> Dict[str, Optional[str]]:
    """The MACs that are burnt into the ports: their present ones may be a bond's. None without an
    interface. All are asked at the same time."""
    asked = {pf: host.start(["ethtool", "-P", pf.interface]) for pf in pfs if pf.interface}
    macs: Dict[str, Optional[str]] = dict.fromkeys(pf.address for pf in pfs)
    for pf, running in asked.items():
        match = re.search(_PERMANENT, running.finish().stdout)
        burnt_in = match.group(1).lower() if match else NO_MAC
        macs[pf.address] = mac_of(host, pf.interface) if burnt_in == NO_MAC else burnt_in
    return macs


def match(wanted: PfConfig, pfs: Sequence[PhysicalFunction], macs: Macs) -> Match:
    """Finds the PF of a section. Pure. At its own address is right if the MAC is; then the MAC counts,
    where just one PF has it."""
    there = next((pf for pf in pfs if pf.address == wanted.address), None)
    if wanted.mac is None:
        return Match(there, None if there else _missing(wanted))
    if there is not None and macs.get(there.address) == wanted.mac:
        return Match(there, None)
    if there is not None and there.is_network and macs.get(there.address) is None:
        return Match(there, None)  # its driver has not made its interface (yet), so it shows no MAC
    same = [pf for pf in pfs if macs.get(pf.address) == wanted.mac]
    if len(same) > 1:
        return Match(None, _several(wanted, same))
    if same:
        return Match(same[0], _moved(wanted, same[0]))
    return Match(None, _another(wanted, macs.get(there.address)) if there else _missing(wanted))


def section_of(
    pf: PhysicalFunction, sections: Iterable[PfConfig], pfs: Sequence[PhysicalFunction], macs: Macs
) -> Optional[PfConfig]:
    """The section that means this PF: the first one, as for `plan`."""
    return next((wanted for wanted in sections if match(wanted, pfs, macs).pf == pf), None)


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


def _another(wanted: PfConfig, mac: Optional[str]) -> Problem:
    return Problem(
        "OTHER_CARD",
        f"At {wanted.address} sits another card ({mac or 'without a MAC'}, not {wanted.mac}); "
        "its VFs are not touched.",
        f"Call set_vf_count for it if it is meant to have VFs, or take the section out of {PATH}.",
    )


def _several(wanted: PfConfig, pfs: Sequence[PhysicalFunction]) -> Problem:
    return Problem(
        "OTHER_CARD",
        f"Several PFs have the MAC {wanted.mac} of {wanted.address}: {', '.join(pf.address for pf in pfs)}; "
        "none of them is touched.",
        f"Correct address or mac of that section in {PATH}.",
    )
