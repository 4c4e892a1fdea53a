"""Whether a PF or VF may be changed, by what xapi knows: not while its networks or a VM need it. Decides, and
changes nothing."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from ..errors import SriovError
from ..machine.pci import PhysicalFunction
from ..vf import in_use
from ..vf.inventory import ASSIGNED, IN_USE, Inventory
from .state import Pool, Silence


def is_not_needed(pf: PhysicalFunction, seen: Inventory, pool: Pool) -> None:
    """Refuses a PF under xapi's own SR-IOV, and one with a VF that carries an attached PIF."""
    if pool.here.managed.intersection(pf.interfaces):
        raise SriovError(
            "SRIOV_MANAGED_BY_XAPI",
            f"{pf.name} is under xapi's own SR-IOV.",
            "Destroy its network-sriov (`xe network-sriov-list`), or use another port.",
        )
    in_use.gives_no_vgpus(pf, pool.here.vgpus)
    needed = pool.here.attached.intersection(seen.vf_interfaces.get(pf.address, ()))
    if needed:
        raise SriovError(
            "SRIOV_NEEDED_BY_DOM0",
            f"A VF of {pf.name} is dom0's interface {sorted(needed)[0]}, and its PIF is attached.",
            "Unplug and forget that PIF first (`xe pif-unplug`, `xe pif-forget`).",
        )


def no_vm_has_a_vf(vfs: Sequence[Dict[str, Any]], pool: Pool, force: bool) -> None:
    """Of VFs as `list_vfs` shows them: refuses while a running VM of this host has one, or one that is
    starting; while another VM's entry names one, unless forced."""
    busy = pool.state.busy_on(pool.here.member.uuid)
    running = [vf for vf in vfs if vf["state"] == IN_USE or (vf["assigned_to"] or {}).get("vm_uuid") in busy]
    if running:
        raise SriovError(
            "SRIOV_VF_IN_USE",
            f"VMs that run or start have VFs of it: {_names(running)}.",
            "Shut them down first; `force` does not help against that.",
        )
    others = [vf for vf in vfs if vf["state"] == ASSIGNED]
    if others and not force:
        raise SriovError(
            "SRIOV_VF_IN_USE",
            f"VMs that do not run here hold VFs of it: {_names(others)}.",
            "Take the VFs from them first, or call with force=true: they keep their entries.",
        )


def _names(vfs: Sequence[Dict[str, Any]]) -> str:
    found: List[str] = []
    for vf in vfs:
        owner = vf["assigned_to"] or {}
        found.append(f"{owner.get('vm_name') or owner.get('vm_uuid') or 'a VM'} ({vf['address']})")
    return ", ".join(found)


def known(owners: Optional[Mapping[str, Any]], pool: Union[Pool, Silence]) -> Pool:
    """The pool; refuses where it is not known who has which VF."""
    if isinstance(pool, Silence) or owners is None:
        why = pool.why if isinstance(pool, Silence) else "xenstore does not answer"
        raise SriovError(
            "SRIOV_XAPI_SILENT",
            f"It is not known which VMs have which VFs ({why}), so nothing is changed.",
            "Call again when xapi and xenstore answer.",
        )
    return pool
