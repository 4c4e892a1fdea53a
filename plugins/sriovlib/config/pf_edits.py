"""Edits of /etc/sriov.conf for one PF. Pure: text in, text out."""

from typing import List, Optional, Sequence

from ..machine.pci import PhysicalFunction
from . import ini
from .pf_sections import Macs, match, section_of
from .sriov_conf import HostConfig, PfConfig, interpret, pf_section, vf_section


def claim(
    config: HostConfig, pf: PhysicalFunction, pfs: Sequence[PhysicalFunction], macs: Macs
) -> ini.Document:
    """The file with a section that means this PF. One that meant it at its former place moves, with
    those of its VFs; one of a card that is gone from this address goes."""
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
