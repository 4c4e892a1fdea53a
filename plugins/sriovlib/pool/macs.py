"""A MAC for a request: the given one, or one derived from VM and request; no other of the pool has it."""

from typing import Optional, Sequence

from ..config import vf_settings
from ..errors import SriovError
from .ledger import Request
from .locked import Work

_ATTEMPTS = 16


def chosen_mac(
    at: Work, vm_uuid: str, number: int, given: Optional[str], more: Sequence[Request] = ()
) -> str:
    """One more call to xapi, which searches the VIFs of the whole pool. `more`: requests of the VM that are
    not in the ledger yet."""
    if given is not None:
        owner = _owner(at, given, more)
        if owner is not None:
            raise SriovError(
                "SRIOV_BAD_ARGUMENT",
                f"The MAC {given} is taken: {owner} has it.",
                "Give one that nobody in the pool has, or none: then the VM gets one of its own. adopt_vm "
                "reads it in sriovmacs of the VM, else off the VF.",
            )
        return given
    for attempt in range(_ATTEMPTS):
        mac = vf_settings.derived_mac(vm_uuid, number, attempt)
        if _owner(at, mac, more) is None:
            return mac
    raise RuntimeError(f"{_ATTEMPTS} derived MACs in a row are taken")  # nobody lives to see it


def _owner(at: Work, mac: str, more: Sequence[Request]) -> Optional[str]:
    """Who has it: a PIF, a VIF, or another request. A VIF of a snapshot or template is nobody's yet."""
    for member in at.topology.members.values():
        for pif in member.pifs.values():
            if pif["MAC"].lower() == mac:
                return f"the interface {pif['device']} of the host {member.name}"
    for request in more:
        if request.settings.get("mac") == mac:
            return f"request {request.number} of the same VM"
    for uuid, entry in at.state.entries.items():
        for request in entry.requests:
            if request.settings.get("mac") == mac and uuid in at.state.vms:
                return f"request {request.number} of the VM {at.state.name(uuid)}"
    found = at.xapi.call(
        "VIF.get_all_records_where", f'field "MAC" = "{mac}" or field "MAC" = "{mac.upper()}"'
    )
    having = {vif["VM"] for vif in found.values()}
    for vm in at.state.vms.values():
        if vm.ref in having:
            return f"a VIF of the VM {at.state.name(vm.uuid)}"
    return None
