"""What is different between what /etc/sriov.conf wants of a PF and what there is. Pure."""

from typing import List, NamedTuple, Optional

from . import iplink, pci
from .errors import Problem
from .hostconfig import PfConfig
from .inventory import Inventory
from .vfsettings import UNKNOWN


class Drift(NamedTuple):
    """`number` is how many VFs to make, None where it is right; `untaken` are VFs that pciback should
    hold; `changes` are settings. A VF that a running VM has is left alone: it is the VM's."""

    number: Optional[int]
    untaken: List[str]
    changes: List[iplink.Change]

    @property
    def sentences(self) -> List[str]:
        found = []
        if self.number is not None:
            found.append(f"should have {self.number} VFs")
        if self.untaken:
            found.append(f"{len(self.untaken)} VFs are not held by pciback, the first is {self.untaken[0]}")
        for change in self.changes:
            found.append(f"VF {change.number} should have {change.words}")
        return found


def drift(seen: Inventory, wanted: PfConfig, pf: pci.PhysicalFunction) -> Drift:
    vfs = [vf for vf in seen.vfs if vf.pf == pf.address]
    idle = [vf for vf in vfs if vf.address not in (seen.owners or {})]
    settings = seen.settings.get(pf.interface or "", {})
    changes: List[iplink.Change] = []
    for vf in idle:
        now = settings.get(vf.number, UNKNOWN)
        changes += iplink.changes(vf.number, now, wanted.settings.get(vf.number, {}))
    return Drift(
        number=wanted.vfs if wanted.vfs is not None and wanted.vfs != len(vfs) else None,
        untaken=[vf.address for vf in idle if wanted.vfs is not None and vf.driver != pci.PCIBACK],
        changes=changes,
    )


def problem(pf: pci.PhysicalFunction, found: Drift) -> Optional[Problem]:
    """As `status` lists it."""
    if not found.sentences:
        return None
    name = f"{pf.address} ({pf.interface})" if pf.interface else pf.address
    more = len(found.sentences) - 3
    said = "; ".join(found.sentences[:3]) + (f"; and {more} more" if more > 0 else "")
    return Problem("DRIFT", f"{name} is not as /etc/sriov.conf wants it: {said}.", "Run sriov-restore.")
