"""`unassign_vf`: takes requests, VFs and entries back from a VM."""

from typing import Any, Dict, Mapping

from ..errors import SriovError, bad_argument
from ..machine.host import Host
from ..pool import locked
from ..pool.change import change_of
from ..pool.ledger import NO_ENTRY
from . import arguments


def unassign_vf(host: Host, session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    """On the master. Of a template too. A call again for what was taken back already completes one that may
    have been cut off."""
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    what = "They say what to take back; `list_assignments` shows the VM's requests."
    arguments.exactly_one("unassign_vf", args, ("request", "vf", "all"), what)
    number = arguments.number(args, "request") if "request" in args else None
    address = arguments.address(args, "vf") if "vf" in args else None
    if "all" in args and not arguments.boolean(args, "all", False):
        raise bad_argument("all", args["all"], "true; or name one by request or vf")
    call = locked.call(host, session, "unassign_vf", vm_uuid, None, template=True)
    with locked.work(call, ()) as at:
        entry = at.entry
        vfs = dict(entry.lease.vfs) if entry.lease else {}
        gone = [
            request
            for request in entry.requests
            if "all" in args or request.number == number or (address and vfs.get(request.number) == address)
        ]
        had = address in entry.past or (number is not None and 0 < number < entry.next_number)
        completes = not gone and (had or at.state.was_cut_off(vm_uuid))
        if not gone and not completes and "all" not in args:
            which = number if address is None else f"for {address}"
            has = ", ".join(f"{request.number} ({vfs.get(request.number)})" for request in entry.requests)
            raise SriovError(
                "SRIOV_NOT_FOUND",
                f"VM {at.vm.name} ({vm_uuid}) has no request {which}.",
                f"Its requests: {has or 'none'}.",
            )
        kept = [request for request in entry.requests if request not in gone]
        kept_vfs = {request.number: vfs[request.number] for request in kept if request.number in vfs}
        changed = False
        if entry != NO_ENTRY:  # with nothing to take back too: a call may have been cut off
            own = entry.lease.host if entry.lease else at.topology.own
            changed = at.transaction.write(change_of(at, kept, own, kept_vfs))
        at.transaction.collect_garbage()
    back = {*vfs.values(), *(entry.past if completes else ())}.difference(kept_vfs.values())
    places = (
        [entry.lease.host] if entry.lease else [one.uuid for one in at.topology.live] if completes else []
    )
    for host_uuid in places if back and (gone or completes) else ():
        locked.release(call, host_uuid, back)
    return {
        "vm_uuid": vm_uuid,
        "changed": changed,
        "unassigned": [{"request": request.number, "vf": vfs.get(request.number)} for request in gone],
        "requests": [request.number for request in kept],
    }
