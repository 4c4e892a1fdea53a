"""Where PFs and VFs differ from /etc/sriov.conf. Decides, and changes nothing; restore, its --check and
`status` all go by it."""

from typing import List, NamedTuple, Optional

from ..config.pf_sections import match, permanent_macs
from ..config.sriov_conf import PATH, HostConfig, PfConfig
from ..errors import Problem
from ..machine import pci
from ..machine.host import Host
from ..safetext import plural
from . import ip_link
from .inventory import Inventory


class Drift(NamedTuple):
    """`number` is how many VFs to make, None where the count is right; `untaken` are VFs that pciback should
    hold; `changes` are settings. VFs of VMs that run or are being started are left out of the last two."""

    number: Optional[int]
    untaken: List[str]
    idle: List[pci.VirtualFunction]
    wanted: PfConfig
    seen: Inventory

    @property
    def changes(self) -> List[ip_link.Change]:
        """A setting that the driver does not report is none."""
        found: List[ip_link.Change] = []
        for vf in self.idle:
            now = self.seen.settings_of(vf)
            asked = self.wanted.settings.get(vf.number, {})
            told = {name: value for name, value in asked.items() if getattr(now, name) is not None}
            found += ip_link.changes(self.seen.settings_interface(vf) or "", vf.number, now, told)
        return found

    @property
    def sentences(self) -> List[str]:
        found = []
        if self.number is not None:
            found.append(f"should have {plural(self.number, 'VF')}")
        if self.untaken:
            untaken = plural(len(self.untaken), "VF is", "VFs are")
            found.append(f"{untaken} not held by pciback, the first is {self.untaken[0]}")
        for change in self.changes:
            found.append(f"VF {change.number} should have {change.words}")
        return found


class PfPlan(NamedTuple):
    """One section of the file: the PF that it means (None: none may be touched), and what differs."""

    wanted: PfConfig
    pf: Optional[pci.PhysicalFunction]
    problem: Optional[Problem]
    drift: Optional[Drift]


def plan(host: Host, config: HostConfig, seen: Inventory) -> List[PfPlan]:
    """All sections, in the order of the file. A second section of the same PF does not count."""
    macs = permanent_macs(host, seen.pfs) if config.pfs else {}
    found: List[PfPlan] = []
    for wanted in config.pfs.values():
        pf, problem = match(wanted, seen.pfs, macs)
        other = next((one.wanted for one in found if pf is not None and one.pf == pf), None)
        if other is not None and pf is not None:
            problem = Problem(
                "PF_TWICE",
                f"Two sections of {PATH} mean the PF {pf.address}: [pf {other.address}] counts, "
                f"[pf {wanted.address}] does not.",
                "Take one of them out.",
            )
            pf = None
        found.append(PfPlan(wanted, pf, problem, drift(seen, wanted, pf) if pf else None))
    return found


def drift(seen: Inventory, wanted: PfConfig, pf: pci.PhysicalFunction) -> Drift:
    vfs = seen.vfs_of(pf)
    idle = [vf for vf in vfs if seen.is_idle(vf)]
    return Drift(
        number=wanted.vfs if wanted.vfs is not None and wanted.vfs != len(vfs) else None,
        untaken=[vf.address for vf in idle if wanted.vfs is not None and vf.driver != pci.PCIBACK],
        idle=idle,
        wanted=wanted,
        seen=seen,
    )


RESTORE = "Run `sriov-restore`."


def problems(planned: PfPlan, hint: str) -> List[Problem]:
    """As `status` lists them; `hint` is the remedy for a drift of this PF."""
    found = [planned.problem] if planned.problem else []
    if planned.pf and planned.drift and planned.drift.sentences:
        name = planned.pf.name
        sentences = planned.drift.sentences
        more = f"; and {len(sentences) - 3} more" if len(sentences) > 3 else ""
        said = f"{name} is not as {PATH} wants it: {'; '.join(sentences[:3])}{more}."
        found.append(Problem("DRIFT", said, hint))
    return found
