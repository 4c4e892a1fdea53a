"""`unassign_vf`: takes requests, VFs and entries back from a VM."""

from typing import Any, Dict, Mapping

from ..errors import SriovError, bad_argument
from ..machine.host import Host
from ..pool import hosts, inventories, locked, state
from ..pool.change import change_of
from ..pool.ledger import NO_ENTRY
from ..xapi.session import Xapi
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
    xapi = Xapi(host, session)
    pool = hosts.read(host, xapi)
    _, record = state.vm_record(xapi, vm_uuid, template=True)
    doing = f"unassign_vf for {record['name_label']} ({vm_uuid})"
    with locked.work(host, session, pool, inventories.NOBODY, doing) as at:
        vm = at.vm(vm_uuid)
        state.must_be_halted(vm)
        entry = at.entry(vm_uuid)
        vfs = dict(entry.lease.vfs) if entry.lease else {}
        gone = [
            request
            for request in entry.requests
            if "all" in args or request.number == number or (address and vfs.get(request.number) == address)
        ]
        had = address in entry.past or (number is not None and 0 < number < entry.next_number)
        completes = not gone and (had or at.state.was_cut_off(vm_uuid))
        if not gone and not completes and "all" not in args:
            has = ", ".join(f"{request.number} ({vfs.get(request.number)})" for request in entry.requests)
            raise SriovError(
                "SRIOV_NOT_FOUND",
                f"VM {vm.name} ({vm_uuid}) has no request {number if address is None else f'for {address}'}.",
                f"Its requests: {has or 'none'}.",
            )
        kept = [request for request in entry.requests if request not in gone]
        kept_vfs = {request.number: vfs[request.number] for request in kept if request.number in vfs}
        changed = False
        if entry != NO_ENTRY:  # with nothing to take back too: a call may have been cut off
            own = entry.lease.host if entry.lease else pool.own
            change = change_of(at.state, at.surveyed, vm, entry, kept, own, kept_vfs)
            changed = at.transaction.write(change)
        at.transaction.collect_garbage()
    back = {*vfs.values(), *(entry.past if completes else ())}.difference(kept_vfs.values())
    places = [entry.lease.host] if entry.lease else [member.uuid for member in pool.live] if completes else []
    for host_uuid in places if back and (gone or completes) else ():
        locked.release(host, session, pool, host_uuid, vm_uuid, back)
    return {
        "vm_uuid": vm_uuid,
        "changed": changed,
        "unassigned": [{"request": request.number, "vf": vfs.get(request.number)} for request in gone],
        "requests": [request.number for request in kept],
    }
