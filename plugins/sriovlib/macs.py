"""A MAC for a request: the given one, or one derived from VM and request; no other of the pool has it."""

from typing import Optional

from . import arguments, ledger
from .poolwork import Work

_ATTEMPTS = 16


def chosen_mac(at: Work, vm_uuid: str, number: int, given: Optional[str]) -> str:
    """One more call to xapi, which searches the VIFs of the whole pool."""
    if given is not None:
        owner = _owner(at, given)
        if owner is not None:
            raise arguments.bad("mac", given, f"a MAC of its own; {owner} has this one")
        return given
    for attempt in range(_ATTEMPTS):
        mac = ledger.derived_mac(vm_uuid, number, attempt)
        if _owner(at, mac) is None:
            return mac
    raise RuntimeError(f"{_ATTEMPTS} derived MACs in a row are taken")  # nobody lives to see it


def _owner(at: Work, mac: str) -> Optional[str]:
    """Who has it: a PIF, a VIF, or another request."""
    for member in at.topology.members.values():
        for pif in member.pifs.values():
            if pif["MAC"].lower() == mac:
                return f"the interface {pif['device']} of the host {member.name}"
    for uuid, entry in at.state.entries.items():
        for request in entry.requests:
            if request.settings.get("mac") == mac and uuid in at.state.vms:
                return f"request {request.number} of the VM {at.state.name(uuid)}"
    found = at.xapi.call(
        "VIF.get_all_records_where", f'field "MAC" = "{mac}" or field "MAC" = "{mac.upper()}"'
    )
    for vif in found.values():
        return f"a VIF ({vif['uuid']})"
    return None
