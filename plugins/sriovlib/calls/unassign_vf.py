"""`unassign_vf`: takes requests, VFs and entries back from a VM."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Set

from ..errors import bad_argument
from ..machine.host import Host
from ..pool import arrivals, locked
from ..pool.change import change_of
from ..pool.ledger import NO_ENTRY, Request
from ..pool.locked import Work
from ..pool.transaction import Change
from ..xapi.own_session import OwnSession
from . import arguments, request_numbers


class Which(NamedTuple):
    """What the call takes back; neither: all."""

    number: Optional[int]
    address: Optional[str]


class Decided(NamedTuple):
    gone: List[Request]
    kept: List[Request]
    change: Optional[Change]  # None: the VM is not in the ledger
    back: Set[str]  # VFs to be released, on each of these hosts
    hosts: List[str]


def unassign_vf(host: Host, session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """On the master. Of a template too. A call again for what was taken back already completes one that may
    have been cut off."""
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    which = _which(args)
    dry_run = arguments.boolean(args, "dry_run", False)
    call = locked.call(host, session, "unassign_vf", vm_uuid, None, template=True)
    arrivals.check(call, locked.entry_now(call))
    with locked.work(call, ()) as at:
        vfs = dict(at.entry.lease.vfs) if at.entry.lease else {}
        decided = _decided(at, which, vfs)
        written = at.transaction.carry_out(decided.change, dry_run)
    for host_uuid in decided.hosts if decided.back and not dry_run else ():
        locked.release(call, host_uuid, decided.back)
    return {
        "vm_uuid": vm_uuid,
        **written,
        "unassigned": [{"request": one.number, "vf": vfs.get(one.number)} for one in decided.gone],
        "requests": [one.number for one in decided.kept],
    }


def _which(args: Mapping[str, str]) -> Which:
    what = "They say what to take back; `list_assignments` shows the VM's requests."
    arguments.exactly_one("unassign_vf", args, ("request", "vf", "all"), what)
    if "all" in args and not arguments.boolean(args, "all", False):
        raise bad_argument("all", args["all"], "true; or name one by request or vf")
    return Which(
        arguments.number(args, "request") if "request" in args else None,
        arguments.address(args, "vf") if "vf" in args else None,
    )


def _decided(at: Work, which: Which, vfs: Mapping[int, str]) -> Decided:
    """`vfs`: of the VM's lease."""
    vm, entry = at.vm, at.entry
    number, address = which
    every = which == Which(None, None)
    gone = [
        request
        for request in entry.requests
        if every or request.number == number or (address and vfs.get(request.number) == address)
    ]
    had = address in entry.past or (number is not None and 0 < number < entry.next_number)
    completes = not gone and (had or at.state.was_cut_off(vm.uuid))
    if not gone and not completes and not every:
        raise request_numbers.missing(vm, entry, f"for {address}" if address else str(number))
    kept = [request for request in entry.requests if request not in gone]
    kept_vfs = {request.number: vfs[request.number] for request in kept if request.number in vfs}
    change = None
    if entry != NO_ENTRY:  # with nothing to take back too: a call may have been cut off
        change = change_of(at, kept, entry.lease.host if entry.lease else at.topology.own, kept_vfs)
    back = {*vfs.values(), *(entry.past if completes else ())}.difference(kept_vfs.values())
    if not (gone or completes):
        places = []
    elif entry.lease:
        places = [entry.lease.host]
    else:
        places = [one.uuid for one in at.topology.live] if completes else []
    return Decided(gone, kept, change, back, places)
