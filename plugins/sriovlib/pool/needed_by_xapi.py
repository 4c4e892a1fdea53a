"""Whether a PF or VF may be changed, by what xapi knows: not while its networks or a VM need it. Pure."""

from typing import Mapping, Optional, Sequence, Union

from ..errors import SriovError
from ..machine.pci import PhysicalFunction
from ..vf import in_use
from ..vf.inventory import ASSIGNED, IN_USE, Inventory
from ..vf.inventory_json import Owner, VfState
from .state import Pool, Silence

_UNKNOWN = Owner(None, None)


def is_not_needed(pf: PhysicalFunction, seen: Inventory, pool: Pool) -> None:
    """Refuses a PF under xapi's own SR-IOV, and one with a VF that carries an attached PIF."""
    if pool.here.managed.intersection(pf.interfaces):
        raise SriovError(
            "SRIOV_MANAGED_BY_XAPI",
            f"{pf.name} is managed by xapi's own SR-IOV.",
            "Destroy its network-sriov (`xe network-sriov-list`), or use another port.",
        )
    in_use.gives_no_vgpus(pf, pool.here.vgpus)
    needed = pool.here.attached.intersection(seen.vf_interfaces.get(pf.address, ()))
    if needed:
        raise SriovError(
            "SRIOV_NEEDED_BY_DOM0",
            f"A VF of {pf.name} is dom0's interface {sorted(needed)[0]}, and its PIF is attached.",
            "Unplug and forget that PIF first (`xe pif-unplug uuid=PIF`, `xe pif-forget uuid=PIF`).",
        )


def no_vm_has_a_vf(pf: PhysicalFunction, vfs: Sequence[VfState], pool: Pool, force: bool) -> None:
    """Of the PF's VFs, with what xapi knows of them: refuses while a running VM of this host has one, or one
    that is starting; while another VM has one, unless forced."""
    busy = pool.state.busy_on(pool.here.member.uuid)
    running = [vf for vf in vfs if vf.state == IN_USE or (vf.assigned_to and vf.assigned_to.vm_uuid in busy)]
    if running:
        raise SriovError(
            "SRIOV_VF_IN_USE",
            f"{pf.name}: VFs are in use by running or starting VMs: {owners(running)}.",
            f"Shut them down first{'; force=true does not change that' if force else ''}.",
        )
    others = [vf for vf in vfs if vf.state == ASSIGNED]
    if others and not force:
        raise SriovError(
            "SRIOV_VF_IN_USE",
            f"{pf.name}: VFs are assigned to VMs that do not run here: {owners(others)}.",
            "Take them back (`unassign_vf`; `list_assignments` says how to take an entry by hand out). "
            "Or call set_vf_count with force=true: the VMs keep their entries.",
        )


def owners(vfs: Sequence[VfState]) -> str:
    """VMs and VFs, as in `web (0000:07:10.0)`."""
    having = [(vf.assigned_to or _UNKNOWN, vf.address) for vf in vfs]
    return ", ".join(f"{owner.vm_name or owner.vm_uuid or 'a VM'} ({vf})" for owner, vf in having)


def known(owners: Optional[Mapping[str, object]], pool: Union[Pool, Silence]) -> Pool:
    """The pool; refuses where it is not known who has which VF."""
    if isinstance(pool, Silence) or owners is None:
        why = pool.why if isinstance(pool, Silence) else "xenstore did not answer"
        raise SriovError(
            "SRIOV_XAPI_SILENT",
            f"Cannot check which VMs have which VFs: {why}. Nothing was changed.",
            "Call again when xapi and xenstore answer.",
        )
    return pool
