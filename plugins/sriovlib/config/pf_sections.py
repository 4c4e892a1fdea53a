"""Which card a section of /etc/sriov.conf means: a PF is known by its address and by its permanent MAC, an
InfiniBand one by its GUID; and the edits of such a section. The edits are pure: text in, text out."""

import re
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import Problem
from ..machine import sysfs
from ..machine.host import Host
from ..machine.pci import PhysicalFunction
from ..machine.ports import MLX4
from . import ini
from .sriov_conf import PATH, HostConfig, PfConfig, interpret, pf_section, vf_section
from .vf_settings import NO_MAC, is_mac

# The present MAC is the one with which the driver registered the port, and that is its permanent one (linux:
# net/core/dev.c, register_netdevice). One that is set later, as by a bond, is of another kind
# (dev_set_mac_address), and so is one that the driver makes up (nfp's flower firmware).
_NET_ADDR_PERM = 0
_PERMANENT = r"Permanent address: ([0-9a-fA-F:]+)"

Macs = Mapping[str, Optional[str]]  # PF address -> permanent MAC, or GUID: eight bytes


class Match(NamedTuple):
    """The PF that is meant (None: not to be touched), and what is to be said of it."""

    pf: Optional[PhysicalFunction]
    problem: Optional[Problem]


def permanent_macs(host: Host, pfs: Sequence[PhysicalFunction]) -> Dict[str, Optional[str]]:
    """The MACs that are burnt into the ports: the present ones may be a bond's. None without an interface, or
    where no MAC is the port's own. Where somebody has set another one, `ethtool` tells, of all ports at the
    same time.

    An InfiniBand port has an address of 20 bytes: the first four are flags and a number that each boot
    chooses, the last eight its GUID (RFC 4391, 9.1.1); `ethtool -P` prints all 20. So the GUID counts, and
    sysfs shows it.
    """
    macs: Dict[str, Optional[str]] = {pf.address: pf.guid for pf in pfs}
    asked = {}
    for pf in pfs:
        if pf.interface and not pf.is_infiniband and not _first_port_is_late(pf):
            origin = host.number(sysfs.interface(pf.interface, "addr_assign_type"))
            own = sysfs.mac_of(host, pf.interface)
            if origin == _NET_ADDR_PERM and own is not None:
                macs[pf.address] = own
            else:
                asked[pf] = host.start(["ethtool", "-P", pf.interface]), own if origin is None else None
    for pf, (running, otherwise) in asked.items():
        found = re.search(_PERMANENT, running.finish().stdout)
        burnt_in = found.group(1).lower() if found and is_mac(found.group(1)) else NO_MAC
        macs[pf.address] = otherwise if burnt_in == NO_MAC else burnt_in
    return macs


def _first_port_is_late(pf: PhysicalFunction) -> bool:
    """A card with two ports on one function is known by the first, which may appear after the second. (With
    other drivers a function's only port may have any number.)"""
    return pf.driver == MLX4 and pf.ports[0].number > 0


def match(wanted: PfConfig, pfs: Sequence[PhysicalFunction], macs: Macs) -> Match:
    """The PF of a section: the one at its address if its MAC is right, else the only one with that MAC."""
    there = next((pf for pf in pfs if pf.address == wanted.address), None)
    known_by = wanted.known_by
    if known_by is None:
        return Match(there, None if there else _missing(wanted))
    if there is not None and macs.get(there.address) == known_by:
        return Match(there, None)
    if there is not None and macs.get(there.address) is None and _may_be_late(there, wanted):
        return Match(there, None)
    same = [pf for pf in pfs if macs.get(pf.address) == known_by]
    if len(same) > 1:
        return Match(None, _several(wanted, same))
    if same:
        return Match(same[0], _moved(wanted, same[0]))
    return Match(None, _another(wanted, there, macs.get(there.address)) if there else _missing(wanted))


def _may_be_late(there: PhysicalFunction, wanted: PfConfig) -> bool:
    """Whether it may show no MAC or GUID only because its driver has not made its interface yet. The class
    InfiniBand never has a MAC, the class Ethernet no GUID; mlx4 is of neither."""
    if there.pci_class.startswith("0207"):
        return wanted.guid is not None
    return there.is_network and (wanted.guid is None or not there.pci_class.startswith("0200"))


def section_of(
    pf: PhysicalFunction, sections: Iterable[PfConfig], pfs: Sequence[PhysicalFunction], macs: Macs
) -> Optional[PfConfig]:
    """The section that means this PF: the first one, as for `plan`."""
    return next((wanted for wanted in sections if match(wanted, pfs, macs).pf == pf), None)


def _missing(wanted: PfConfig) -> Problem:
    return Problem(
        "PF_MISSING",
        f"{PATH} names the PF {wanted.address}, but this host has no PF there.",
        "Put the card back, or remove its section from the file.",
    )


def _moved(wanted: PfConfig, pf: PhysicalFunction) -> Problem:
    return Problem(
        "PF_MOVED",
        f"The card of {wanted.address} ({wanted.known_by}) is at {pf.address} now; its VFs are made there.",
        f"Call set_vf_count for {pf.address} to update {PATH}; then give VMs VFs of the new address.",
    )


def _another(wanted: PfConfig, there: PhysicalFunction, mac: Optional[str]) -> Problem:
    if there.is_infiniband and wanted.guid is None:
        return Problem(
            "OTHER_CARD",
            f"The card at {wanted.address} is InfiniBand, and {PATH} has a MAC ({wanted.mac}) for it, "
            "by which an InfiniBand card cannot be recognized; its VFs are not touched.",
            f"Call set_vf_count for {wanted.address}: it writes the card's GUID.",
        )
    return Problem(
        "OTHER_CARD",
        f"{wanted.address}: another card is in this place ({mac or 'without a MAC'}, not "
        f"{wanted.known_by}); its VFs are not touched.",
        f"If this card should have VFs, call set_vf_count for it; otherwise remove the section from {PATH}.",
    )


def _several(wanted: PfConfig, pfs: Sequence[PhysicalFunction]) -> Problem:
    return Problem(
        "OTHER_CARD",
        f"Several PFs have the {'GUID' if wanted.guid else 'MAC'} {wanted.known_by} of {wanted.address}: "
        f"{', '.join(pf.address for pf in pfs)}; none of them is touched.",
        f"Correct that section's address, or its {'guid' if wanted.guid else 'mac'}, in {PATH}.",
    )


# -- edits for one PF -------------------------------------------------------------------------------


def claim(
    config: HostConfig, pf: PhysicalFunction, pfs: Sequence[PhysicalFunction], macs: Macs
) -> ini.Document:
    """The file with a section for this PF. Its section under a former address moves, with those of its VFs;
    the section of a card that is no longer at this address goes."""
    own = section_of(pf, config.pfs.values(), pfs, macs)
    document = config.document
    if own is None or own.address != pf.address:
        stranger = config.pfs.get(pf.address)
        if stranger is not None and match(stranger, pfs, macs).pf is not None:
            return document  # two cards changed places, and each keeps its heading
        if stranger is not None:
            document = without(document, stranger, 0)
        if own is not None:
            document = without(document, own, 0)
            for number in own.settings:
                values = config.document.sections[vf_section(own.address, number)]
                document = ini.changed(document, vf_section(pf.address, number), dict(values))
    known_by = macs.get(pf.address)
    if known_by is None:
        return document
    keys = {"mac": None, "guid": known_by} if pf.is_infiniband else {"mac": known_by, "guid": None}
    return ini.changed(document, pf_section(pf.address), keys)


def heading(document: ini.Document, pf: PhysicalFunction, pfs: Sequence[PhysicalFunction], macs: Macs) -> str:
    """The address under which the file speaks of this PF, after `claim`."""
    own = section_of(pf, interpret(document).pfs.values(), pfs, macs)
    return own.address if own else pf.address


def without(document: ini.Document, pf: Optional[PfConfig], count: int) -> ini.Document:
    """The file without the sections of VFs from `count` on; for 0 without the PF's own too."""
    if pf is None:
        return document
    for number in pf.settings:
        if number >= count:
            document = ini.without(document, vf_section(pf.address, number))
    return document if count else ini.without(document, pf_section(pf.address))


def differing(before: HostConfig, after: HostConfig) -> List[str]:
    """The sections that a change changed."""
    was, now = before.document.sections, after.document.sections
    return [name for name in {**was, **now} if was.get(name) != now.get(name)]
