"""The MAC of a request: the given one, or one derived from VM and request; unique in the pool."""

from typing import Optional, Sequence

from ..config import vf_settings
from ..errors import SriovError
from .ledger import Request
from .locked import Work

_ATTEMPTS = 16


def chosen_mac(at: Work, number: int, given: Optional[str], more: Sequence[Request] = ()) -> str:
    """One more call to xapi, which searches the VIFs of the whole pool. `more`: requests of the VM that are
    not in the ledger yet."""
    if given is not None:
        owner = _owner(at, given, more)
        if owner is not None:
            raise SriovError(
                "SRIOV_BAD_ARGUMENT",
                f"MAC {given} is taken: {owner} has it.",
                "Give another, or none: then the VM gets one of its own. adopt_vm takes it from sriovmacs of "
                "the VM, else from the VF.",
            )
        return given
    for attempt in range(_ATTEMPTS):
        mac = vf_settings.derived_mac(at.vm.uuid, number, attempt)
        if _owner(at, mac, more) is None:
            return mac
    raise RuntimeError(f"{_ATTEMPTS} derived MACs in a row are taken")


def _owner(at: Work, mac: str, more: Sequence[Request]) -> Optional[str]:
    """The PIF, VIF or request that has it. VIFs of snapshots and templates do not count."""
    for member in at.topology.members.values():
        for pif in member.pifs.values():
            if pif["MAC"].lower() == mac:
                return f"interface {pif['device']} of host {member.name}"
    for request in more:
        if request.settings.get("mac") == mac:
            return f"request {request.number} of the same VM"
    for uuid, entry in at.state.entries.items():
        for request in entry.requests:
            if request.settings.get("mac") == mac and uuid in at.state.vms:
                return f"request {request.number} of VM {at.state.name(uuid)}"
    found = at.xapi.call(
        "VIF.get_all_records_where", f'field "MAC" = "{mac}" or field "MAC" = "{mac.upper()}"'
    )
    having = {vif["VM"] for vif in found.values()}
    those = [vm for vm in at.state.vms.values() if vm.ref in having] if having else []
    return f"a VIF of VM {at.state.name(those[0].uuid)}" if those else None
