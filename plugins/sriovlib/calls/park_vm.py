"""`park_vm`: takes the VFs of a VM away and keeps its requests, until `reinstate_vfs` gives it VFs again."""

from typing import Any, Dict, Mapping

from ..errors import SriovError
from ..machine.host import Host
from ..pool import arrivals, locked
from ..pool.change import change_of
from ..xapi.own_session import OwnSession
from . import arguments


def park_vm(host: Host, session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """On the master. A call again for a VM that is parked completes one that may have been cut off."""
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    dry_run = arguments.boolean(args, "dry_run", False)
    call = locked.call(host, session, "park_vm", vm_uuid, None)
    arrivals.check(call, locked.entry_now(call))
    with locked.work(call, ()) as at:
        vm, entry = at.vm, at.entry
        if not entry.requests or entry.lease is None:
            adopt = (
                "`adopt_vm` makes requests of its entries first." if vm.named else "It has nothing to park."
            )
            raise SriovError("SRIOV_NOT_FOUND", f"VM {vm.name} ({vm_uuid}) has no request for a VF.", adopt)
        left, completes = entry.lease, at.state.was_cut_off(vm_uuid)
        written = at.transaction.carry_out(change_of(at, entry.requests, left.host, {}), dry_run)
    back = {*left.vfs.values(), *(entry.past if completes else ())}
    if back and not dry_run:
        locked.release(call, left.host, back)
    return {
        "vm_uuid": vm_uuid,
        "host_uuid": left.host,
        **written,
        "parked": [{"request": one.number, "vf": left.vfs.get(one.number)} for one in entry.requests],
    }
