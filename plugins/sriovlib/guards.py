"""What a call on a PF or VF is refused for: whom dom0, xapi or a VM needs. Decides, and changes nothing."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from .errors import SriovError
from .inventory import ASSIGNED, IN_USE
from .listing import Silence
from .pool import Pool

_ANOTHER_PORT = "Use another port, or move the network to another one first."


def pf_is_ours(pf: Dict[str, Any], needed: bool) -> None:
    """Refuses a PF that carries the management network, may carry it (`needed`: nobody says where
    the management network is, and something on the PF has an IP address), or that xapi manages."""
    name = f"{pf['address']} ({pf['interface']})" if pf["interface"] else pf["address"]
    if pf["management"]:
        raise SriovError(
            "SRIOV_MANAGEMENT_INTERFACE", f"{name} carries the host's management network.", _ANOTHER_PORT
        )
    if needed:
        raise SriovError(
            "SRIOV_NEEDED_BY_DOM0",
            f"It is not known which port carries the management network, and {name} has an IP address.",
            "Set MANAGEMENT_INTERFACE in /etc/xensource-inventory (xapi does), or use another port.",
        )
    if pf["managed_by"] == "xapi":
        raise SriovError(
            "SRIOV_MANAGED_BY_XAPI",
            f"{name} is under xapi's own SR-IOV.",
            "Destroy its network-sriov (`xe network-sriov-list`), or use another port.",
        )


def _names(vfs: Sequence[Dict[str, Any]]) -> str:
    found: List[str] = []
    for vf in vfs:
        owner = vf["assigned_to"] or {}
        found.append(f"{owner.get('vm_name') or owner.get('vm_uuid') or 'a VM'} ({vf['address']})")
    return ", ".join(found)


def vfs_are_not_used(vfs: Sequence[Dict[str, Any]], force: bool) -> None:
    """Refuses while a running VM has one of the VFs; while a halted one has one, unless forced."""
    running = [
        vf
        for vf in vfs
        if vf["state"] == IN_USE or (vf["assigned_to"] or {}).get("power_state") in ("Running", "Paused")
    ]
    if running:
        raise SriovError(
            "SRIOV_VF_IN_USE",
            f"Running VMs have VFs of it: {_names(running)}.",
            "Shut them down first; `force` does not help against that.",
        )
    halted = [vf for vf in vfs if vf["state"] == ASSIGNED]
    if halted and not force:
        raise SriovError(
            "SRIOV_VF_IN_USE",
            f"VMs that do not run hold VFs of it: {_names(halted)}.",
            "Take the VFs from them first, or call with force=true: they keep their entries.",
        )


def states_are_known(owners: Optional[Mapping[str, Any]], pool: Union[Pool, Silence]) -> None:
    """Refuses where it is not known who has which VF."""
    why = pool.why if isinstance(pool, Silence) else "xenstore does not answer" if owners is None else None
    if why:
        raise SriovError(
            "SRIOV_XAPI_SILENT",
            f"It is not known which VMs have which VFs ({why}), so nothing is changed.",
            "Call again when xapi and xenstore answer.",
        )
