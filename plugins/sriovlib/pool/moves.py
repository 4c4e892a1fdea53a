"""A running VM goes to another host, or is without its VFs for a while: they are unplugged, xapi moves it
with no device attached, and VFs of the host where it runs then are plugged.

Each step is written to the VM's key in the ledger before it is done (`Entry.move`), so whoever comes next
reads how far it got. There is one way out of every state, `settle`: it looks where the VM runs, whatever
became of the steps, and gives it VFs there. So a move that failed, was cut off or was overtaken by a reboot
needs no way back of its own.

The pool's lock is held while the ledger is written, never while a guest or a copy is waited for; the VM's
own (locked.alone) from the first to the last.
"""

import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import SriovError
from ..safetext import listed
from ..xapi.session import Xapi, XapiError, XapiFailure
from . import arrivals, hosts, locked, master, move_check, pinning, reinstate
from .change import change_of, lease_of, on_its_way
from .hosts import Member
from .ledger import ARRIVED, DETACHED, MOVING, PREPARED, Lease, Move
from .locked import Call, Work
from .move_check import Wish

PLUG_SECONDS = 120  # for a host to plug, besides what a guest may take
REBOOT_SECONDS = 30  # in which a guest that reboots has a domain again that runs
POLL_SECONDS = 0.5  # between two looks at xapi's task
LEARN_SECONDS = 30  # for xapi to see the devices of new entries
# QEMU tells xenopsd a moment later that a device has gone (xen-api: ocaml/xenopsd/xc/device.ml,
# with_dirty_log, query-migratable; xenops_server_xen.ml, cant_suspend_reason).
_SOON = ("DEVICE_DETACH_REJECTED", "VM_NON_SUSPENDABLE")
SOON_TIMES, SOON_SECONDS = 3, 2
_LEAVING = (
    *("pool_migrate", "migrate_send", "suspend", "checkpoint", "resume", "resume_on", "start", "start_on"),
    *("shutdown", "clean_shutdown", "hard_shutdown", "clean_reboot", "hard_reboot", "revert"),
)


class Settled(NamedTuple):
    """Where a VM's move ended: it runs on that host with these VFs; None: it does not run."""

    host: Optional[str]
    vfs: Mapping[int, str]
    seconds: float  # that plugging took


def migrate(call: Call, wish: Wish, dry_run: bool) -> Dict[str, Any]:
    """Returns what the call `migrate_vm` does. A VM that runs without its VFs moves as well, also to the host
    where it is: its new domain takes devices, which that of a resumed VM does not."""
    if not dry_run:  # first: the host may be the one that died in a move before
        _settled_or_without(call)
    hosts.member(call.topology, wish.host_uuid)
    with locked.work(call, locked.concerned(call, wish.host_uuid), reads=True) as at:
        source, lease = move_check.source(at), at.entry.lease
        if source == wish.host_uuid and at.entry.move is None:
            return _answer(at, wish.host_uuid, source, lease.vfs if lease else {}, False)
        move_check.check(at, wish)
        vfs = locked.place(at, at.entry.requests, wish.host_uuid, lease.vfs if lease else {})
        answer = _answer(at, wish.host_uuid, source, vfs, not dry_run)
        if dry_run:
            return {**answer, "changed": False, "would_change": True}
        move = Move(PREPARED, int(time.time()), wish.host_uuid, vfs)
        at.transaction.write(on_its_way(at, move))
    begun = time.monotonic()
    try:
        _unplug(call, call.topology.members[source], wish.timeout)
        unplugged = time.monotonic()
        failure = _copy(call, wish.host_uuid)
        copied = time.monotonic()
    except (SriovError, XapiError) as error:
        _back(call, error)
        raise
    settled = settle(call) if failure is None else _settled_or_without(call, failure)
    if failure is not None or settled is None or settled.host != wish.host_uuid:
        raise _not_moved(answer, call, settled, failure)
    answer["vfs"] = _vfs(at, settled.vfs)
    answer["seconds"] = {
        "unplug": round(unplugged - begun, 1),
        "copy": round(copied - unplugged, 1),
        "plug": round(settled.seconds, 1),
        "without_vf": round(time.monotonic() - begun, 1),
    }
    return answer


def _settled_or_without(call: Call, failure: Optional[XapiFailure] = None) -> Optional[Settled]:
    """As settle; a VM that runs without its VFs is as it was before. `failure`: xapi's, of its move."""
    try:
        return settle(call)
    except SriovError as error:
        if error.code != "SRIOV_MOVED_WITHOUT_VF":
            raise
        if failure is not None:
            message = f"VM {call.vm_uuid} was not moved: xapi answered {failure}. {error.message}"
            raise SriovError("SRIOV_NOT_MOVED", message, error.hint) from error
        return None


def detach(call: Call, timeout: int) -> Dict[str, Any]:
    """Returns what the call `detach_vfs` does."""
    with locked.work(call, locked.concerned(call, None), reads=True) as at:
        source, lease, move = move_check.source(at), at.entry.lease, at.entry.move
        if move is None or move.state != DETACHED:
            move_check.has_its_vfs(at)
            at.transaction.write(on_its_way(at, Move(PREPARED, int(time.time()))))
    try:
        _unplug(call, call.topology.members[source], timeout)
    except (SriovError, XapiError) as error:
        _back(call, error)
        raise
    vfs = lease.vfs if lease else {}
    return {
        "vm_uuid": call.vm_uuid,
        "host_uuid": source,
        "changed": move is None or move.state != DETACHED,
        "detached": [
            {"request": one.number, "vf": vfs[one.number]} for one in at.entry.requests if one.number in vfs
        ],
    }


def attach(call: Call) -> Dict[str, Any]:
    """Returns what the call `attach_vfs` does."""
    settled = settle(call)
    return {
        "vm_uuid": call.vm_uuid,
        "host_uuid": settled.host if settled else None,
        "changed": settled is not None,
        "vfs": [
            {"request": number, "vf": vf} for number, vf in sorted((settled.vfs if settled else {}).items())
        ],
    }


# -- the way there ---------------------------------------------------------------------------------------


def _unplug(call: Call, source: Member, timeout: int) -> None:
    """The VM has no device any more, and xapi knows it."""
    said = _ask(call, source, "unplug_vfs", timeout + PLUG_SECONDS, timeout=str(timeout))
    kept = said["not_unplugged"]
    if kept:
        why = " ".join(f"{one['vf']}: {one['why']}." for one in kept)
        raise SriovError(
            "SRIOV_GUEST_KEEPS_VF",
            f"VM {call.vm_uuid} keeps {listed([one['vf'] for one in kept])} of host {source.name}. {why}",
            "It runs with its VFs as before. See what uses the interface in the guest (`lsmod`, its log); or "
            "shut the VM down and start it on the other host.",
        )
    with locked.work(call, (), reads=True) as at:
        move = _move(call, at)
        at.transaction.write(on_its_way(at, move._replace(state=DETACHED)))
        ref = at.vm.ref
    _tell_xapi(call, ref, source, ())
    _ask(call, source, "keep_passthrough", PLUG_SECONDS)


def _back(call: Call, why: Exception) -> None:
    """After a step that failed. What fails here too is left to the next call; `list_assignments` shows it."""
    try:
        settled = settle(call)
    except (SriovError, XapiError) as error:
        call.host.log(f"VM {call.vm_uuid} stays without its VFs: {error}")
        return
    if settled is None:
        raise _overtaken(call) from why


def _copy(call: Call, target: str) -> Optional[XapiFailure]:
    """xapi has moved the VM, or says why not."""
    with locked.work(call, (), reads=True) as at:
        at.transaction.write(on_its_way(at, _move(call, at)._replace(state=MOVING)))
        ref = at.vm.ref
    failure = _copied(call, ref, target)
    for _ in range(SOON_TIMES):
        if failure is None or failure.details[0] not in _SOON:
            break
        time.sleep(SOON_SECONDS)
        failure = _copied(call, ref, target)
    return failure


def _copied(call: Call, ref: str, target: str) -> Optional[XapiFailure]:
    xapi = Xapi(call.host, call.session)
    to = call.topology.members[target].ref
    try:
        task = xapi.call("Async.VM.pool_migrate", ref, to, {"live": "true"})
    except XapiFailure as failure:
        return failure
    while True:
        record = xapi.renewed().call("task.get_record", task)
        if record["status"] not in ("pending", "cancelling"):
            break
        time.sleep(POLL_SECONDS)
    try:
        xapi.renewed().call("task.destroy", task)
    except XapiError as error:
        call.host.log(f"the task of {call.vm_uuid} stays: {error}")
    if record["status"] == "success":
        return None
    return XapiFailure(record["error_info"] or [record["status"], task])


def _move(call: Call, at: Work) -> Move:
    """That of the VM, which somebody else may have ended meanwhile."""
    if at.entry.move is None:
        raise _overtaken(call)
    return at.entry.move


def _overtaken(call: Call) -> SriovError:
    return SriovError(
        "SRIOV_BUSY",
        f"VM {call.vm_name} was stopped, started or suspended by somebody else while its VFs were away.",
        "`list_assignments` shows where it is now, and what it has. Call again, if it is to be moved still.",
    )


# -- the way out -----------------------------------------------------------------------------------------


def settle(call: Call) -> Optional[Settled]:
    """Ends the move of the VM, if it has one: where it runs it gets its VFs, and where it is halted its
    entries. A VM that is suspended waits. Raises SRIOV_BUSY while something is done to it."""
    arrivals.check(call, locked.entry_now(call))
    with locked.work(call, locked.concerned(call, None), reads=True) as at:
        vm, entry, move = at.vm, at.entry, at.entry.move
        if move is None:
            if at.state.was_cut_off(vm.uuid):  # when all was written
                at.transaction.collect_garbage()
            return None
        _must_be_still(at)
        if vm.power_state == "Suspended":
            return None
        here = vm.resident_on if vm.is_running else None
        if here is not None:
            lease = _lease_here(at, move, here)
            at.transaction.write(on_its_way(at, move._replace(state=ARRIVED), lease))
    if here is None:
        answer = reinstate.reinstate(call.host, call.session, call.vm_uuid, None, starting=False)
        return Settled(None, {one["request"]: one["vf"] for one in answer["vfs"]}, 0.0)
    begun = time.monotonic()
    _plug(call, at, here, lease)
    _write(call, lease, move._replace(state=ARRIVED))
    _tell_xapi(call, vm.ref, call.topology.members[here], tuple(lease.vfs.values()))
    for place, vfs in _left(entry.lease, move, here).items():
        locked.release(call, place, vfs)
    _write(call, lease, None)
    return Settled(here, lease.vfs, time.monotonic() - begun)


def _write(call: Call, lease: Lease, move: Optional[Move]) -> None:
    """The VM with entries for these VFs. Its move goes last, by one write, when nothing is left to do."""
    with locked.work(call, (), reads=True) as at:
        _move(call, at)
        change = change_of(at, at.entry.requests, lease.host, lease.vfs)
        entry, vm = change.entry._replace(move=move), at.vm._replace(blocks={})  # they are plug_vfs's
        at.transaction.carry_out(change._replace(entry=entry, vm=vm))


def _must_be_still(at: Work) -> None:
    busy = [one for one in at.vm.operations if one in _LEAVING]
    if busy or at.vm.starting_on is not None:
        raise SriovError(
            "SRIOV_BUSY",
            f"VM {at.vm.name} is on its way: in progress: {', '.join(busy) or 'a start'}.",
            "Call again when that has ended.",
        )


def _lease_here(at: Work, move: Move, here: str) -> Lease:
    """VFs of the host where it runs: those that were kept for it or that it had there, else others."""
    entry = at.entry
    kept: Mapping[int, str] = {}
    if move.host == here:
        kept = move.vfs
    elif entry.lease is not None and entry.lease.host == here:
        kept = entry.lease.vfs
    return lease_of(at, entry.requests, here, locked.place(at, entry.requests, here, kept))


def _plug(call: Call, at: Work, here: str, lease: Lease) -> None:
    member = call.topology.members[here]
    deadline = time.monotonic() + REBOOT_SECONDS
    while True:
        try:
            failed = _ask(call, member, "plug_vfs", PLUG_SECONDS)["not_plugged"]
            break
        except SriovError as error:
            between = error.code in ("SRIOV_VM_NOT_HERE", "SRIOV_BUSY")  # of two domains, while it reboots
            if between and not _runs_on(call, at, member):
                raise _overtaken(call) from error
            if not between or time.monotonic() >= deadline:
                if error.code == "SRIOV_VM_NOT_HERE":
                    raise _lost(at, member, error) from error
                failed = [{"vf": vf, "why": error.message} for vf in lease.vfs.values()]
                break
        time.sleep(POLL_SECONDS)
    if failed:
        why = " ".join(f"{one['vf']}: {one['why']}." for one in failed)
        raise SriovError(
            "SRIOV_MOVED_WITHOUT_VF",
            f"VM {at.vm.name} ({at.vm.uuid}) runs on host {member.name} without its VFs: {why}",
            f"It goes on over its VIFs. `attach_vfs` with vm_uuid={at.vm.uuid} tries again; a shutdown and a "
            "start give it VFs too.",
        )


def _runs_on(call: Call, at: Work, member: Member) -> bool:
    record = Xapi(call.host, call.session).call("VM.get_record", at.vm.ref)
    return bool(record["power_state"] == "Running" and record["resident_on"] == member.ref)


def _lost(at: Work, where: Member, error: SriovError) -> SriovError:
    """A plug at its arrival, or the other host, failed when the copy was through: xapi goes on saying that it
    runs where it was (xen-api: ocaml/xenopsd/lib/xenops_server.ml, VM_migrate and VM_receive_memory clean up
    by a name that it does not have any more)."""
    return SriovError(
        "SRIOV_NOT_MOVED",
        f"VM {at.vm.name} ({at.vm.uuid}) was lost while it was moved: xapi says that it runs on host "
        f"{where.name}, and it does not. {error.message}",
        f"`xe-toolstack-restart` on {where.name} lets xapi see that; then start the VM, and it gets its VFs.",
    )


def _left(lease: Optional[Lease], move: Move, here: str) -> Dict[str, Sequence[str]]:
    """Host -> VFs that the VM has there no more."""
    held = {one.host: list(one.vfs.values()) for one in (lease, move) if one is not None and one.host}
    return {host: vfs for host, vfs in held.items() if host != here and vfs}


def _tell_xapi(call: Call, ref: str, where: Member, vfs: Sequence[str]) -> None:
    """xapi reads VM.attached_PCIs anew (xen-api: ocaml/xapi/xapi_vm_migrate.ml, pool_migrate_complete). It
    finds a device once it has told xenopsd of the entry, which it does by itself, a moment after that was
    written (xapi_xenops.ml, Xenopsd_metadata.update); and only one that it has a PCI object of."""
    xapi = Xapi(call.host, call.session)
    known = set(xapi.call("PCI.get_all_records_where", pinning.known(where.ref, vfs)) if vfs else ())
    deadline = time.monotonic() + LEARN_SECONDS
    while True:
        xapi.renewed().call("VM.pool_migrate_complete", ref, where.ref)
        if known.issubset(xapi.renewed().call("VM.get_attached_PCIs", ref)):
            return
        if time.monotonic() >= deadline:
            call.host.log(f"{call.vm_uuid}: xapi does not say yet that it has {listed(vfs)}")
            return
        time.sleep(POLL_SECONDS)


def _ask(call: Call, member: Member, function: str, seconds: float, **args: str) -> Dict[str, Any]:
    """What that host's plugin answers."""
    xapi = Xapi(call.host, call.session, seconds)
    return dict(master.ask(xapi, member.ref, function, {"vm_uuid": call.vm_uuid, **args}))


# -- answers ---------------------------------------------------------------------------------------------


def _answer(at: Work, target: str, source: str, vfs: Mapping[int, str], changed: bool) -> Dict[str, Any]:
    return {
        "vm_uuid": at.vm.uuid,
        "host_uuid": target,
        "from_uuid": source,
        "changed": changed,
        "vfs": _vfs(at, vfs),
        "seconds": {},
        "warnings": [problem.message for problem in at.surveyed.problems.values()],
    }


def _vfs(at: Work, vfs: Mapping[int, str]) -> List[Dict[str, Any]]:
    before = at.entry.lease.vfs if at.entry.lease else {}
    return [
        {"request": one.number, "vf": vfs.get(one.number), "before": before.get(one.number)}
        for one in at.entry.requests
    ]


def _not_moved(
    answer: Mapping[str, Any], call: Call, settled: Optional[Settled], failure: Optional[XapiFailure]
) -> SriovError:
    members = call.topology.members
    target = members[answer["host_uuid"]].name
    why = f"xapi answered {failure}" if failure else "it is not there"
    if settled is None or settled.host is None:
        now, hint = "It does not run any more", "See what happened to it (`xe vm-list`), and start it."
    else:
        now = f"It runs on {members[settled.host].name} with its VFs"
        hint = "Put right what xapi says, and call again."
    return SriovError(
        "SRIOV_NOT_MOVED", f"VM {call.vm_uuid} was not moved to host {target}: {why}. {now}.", hint
    )
