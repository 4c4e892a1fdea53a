"""A running VM goes to another host, or is without its VFs for a while: they are unplugged, xapi moves it
with no device attached, and VFs of the host where it runs then are plugged.

Each step is written to the VM's key in the ledger before it is done (`Entry.move`), so whoever comes next
reads how far it got. There is one way out of every state, `settling`: it looks where the VM runs,
whatever became of the steps, and gives it VFs there. So a move that failed, was cut off or was overtaken by
a reboot needs no way back of its own.

The pool's lock is held while the ledger is written, never while a guest or a copy is waited for; the VM's
own (locked.alone) from the first to the last.
"""

import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

from ..errors import SriovError
from ..safetext import listed
from ..xapi.session import Xapi, XapiError, XapiFailure
from . import hosts, locked, master, move_check
from .change import on_its_way
from .hosts import Member
from .ledger import ARRIVED, DETACHED, MOVING, PREPARED, Move
from .locked import Call, Work
from .move_check import Wish
from .settling import PLUG_SECONDS, POLL_SECONDS, Settled, ask, move_of, overtaken, settle, tell_xapi

# QEMU tells xenopsd a moment later that a device has gone (xen-api: ocaml/xenopsd/xc/device.ml,
# with_dirty_log, query-migratable; xenops_server_xen.ml, cant_suspend_reason).
_SOON = ("DEVICE_DETACH_REJECTED", "VM_NON_SUSPENDABLE")
SOON_TIMES, SOON_SECONDS = 3, 2


def migrate(call: Call, wish: Wish, dry_run: bool) -> Dict[str, Any]:
    """Returns what the call `migrate_vm` does. A VM that runs without its VFs moves as well, also to the host
    where it is: its new domain takes devices, which that of a resumed VM does not."""
    # First: the host may be the one that died in a move before.
    ended = not dry_run and _end_former(call)
    hosts.member(call.topology, wish.host_uuid)
    with locked.work(call, locked.concerned(call, locked.entry_now(call), wish.host_uuid), reads=True) as at:
        source, lease = move_check.source(at), at.entry.lease
        if source == wish.host_uuid and at.entry.move is None:
            answer = _answer(at, wish.host_uuid, source, lease.vfs if lease else {}, ended)
            return {**answer, "would_change": False} if dry_run else answer
        move_check.check(at, wish)
        vfs = locked.place(at, at.entry.requests, wish.host_uuid, lease.vfs if lease else {})
        answer = _answer(at, wish.host_uuid, source, vfs, not dry_run)
        if dry_run:
            return {**answer, "changed": False, "would_change": True}
        move = Move(PREPARED, int(time.time()), wish.host_uuid, vfs)
        at.transaction.write(on_its_way(at, move))
    begun = time.monotonic()
    try:
        forgotten = _unplug(call, call.topology.members[source], wish.timeout).forgotten
        unplugged = time.monotonic()
        failure = _copy(call, call.topology.members[source], wish.host_uuid, wish.force)
        copied = time.monotonic()
    except (SriovError, XapiError) as error:
        _back(call, error)
        raise
    try:
        settled = _settled(call)
    except SriovError as error:
        if failure is None:
            raise
        raise _not_moved(answer, call, None, failure, error, forgotten) from error
    if failure is not None or settled is None or settled.host != wish.host_uuid:
        raise _not_moved(answer, call, settled, failure, forgotten=forgotten)
    answer["vfs"] = _vfs(at, settled.vfs)
    answer["seconds"] = {
        "unplug": round(unplugged - begun, 1),
        "copy": round(copied - unplugged, 1),
        "plug": round(settled.seconds, 1),
        "without_vf": round(time.monotonic() - begun, 1),
    }
    return answer


def _end_former(call: Call) -> bool:
    """Whether there was a move to be ended, and it is. A VM that cannot have VFs where it is goes on
    without."""
    try:
        return settle(call) is not None
    except SriovError as error:
        if error.code in ("SRIOV_BUSY", "SRIOV_NOT_MOVED"):
            raise
        call.host.log(f"VM {call.vm_uuid} goes on without VFs: {error}")
        return False


def detach(call: Call, timeout: int) -> Dict[str, Any]:
    """Returns what the call `detach_vfs` does. A move that xapi may have carried out is ended first: the VM
    may run where it was going without xapi's knowing, and only that move says where to look. A detached VM
    that somebody gave its VF by an entry of its own loses that again."""
    entry = locked.entry_now(call)
    if entry.move is not None and entry.move.state in (MOVING, ARRIVED):
        _end_former(call)
        entry = locked.entry_now(call)
    with locked.work(call, locked.concerned(call, entry, None), reads=True) as at:
        source, lease, move = move_check.source(at), at.entry.lease, at.entry.move
        move_check.has_its_vfs(at)
        is_detached, cut_off = move is not None and move.state == DETACHED, move_check.cut_off(at)
        written_by_hand = not set(at.entry.ever_leased).isdisjoint(at.vm.named)
        if not is_detached:
            at.transaction.write(on_its_way(at, Move(PREPARED, int(time.time()))))
    try:
        unplugged = _unplug(call, call.topology.members[source], timeout)
    except (SriovError, XapiError) as error:
        _back(call, error)
        raise
    vfs = lease.vfs if lease else {}
    return {
        "vm_uuid": call.vm_uuid,
        "host_uuid": source,
        "changed": not is_detached or written_by_hand or bool(unplugged.vfs),
        "detached": [
            {"request": one.number, "vf": vfs[one.number]} for one in at.entry.requests if one.number in vfs
        ],
        "warnings": [*cut_off, *unplugged.forgotten],
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
        "warnings": list(settled.forgotten if settled else ()),
    }


# -- the way there ---------------------------------------------------------------------------------------


class Unplugged(NamedTuple):
    """What its domain had, and what xapi forgets by that, in sentences."""

    vfs: Sequence[str]
    forgotten: Sequence[str]


def _unplug(call: Call, source: Member, timeout: int) -> Unplugged:
    """The VM has no device any more, and xapi knows it."""
    said = ask(call, source, "unplug_vfs", timeout + PLUG_SECONDS, timeout=str(timeout))
    kept, not_back = said["not_unplugged"], said["warnings"]
    if kept:
        why = " ".join(f"{one['vf']}: {one['why']}." for one in kept)
        raise SriovError(
            "SRIOV_GUEST_KEEPS_VF",
            f"VM {call.vm_uuid} keeps {listed([one['vf'] for one in kept])} of host {source.name}. {why}",
            "It runs with its VFs as before. See what uses the interface in the guest (`lsmod`, its log); or "
            "shut the VM down and start it on the other host.",
        )
    if not_back:
        raise SriovError(
            "SRIOV_KERNEL_REFUSED",
            f"VFs of VM {call.vm_name} on host {source.name} could not be set back, so its MAC would stay on "
            f"them: {' '.join(not_back)}",
            f"See what its driver says (`dmesg` on {source.name}); or shut the VM down, and start it on the "
            "other host.",
        )
    with locked.work(call, (), reads=True) as at:
        move = move_of(call, at)
        at.transaction.write(on_its_way(at, move._replace(state=DETACHED)))
        ref = at.vm.ref
    forgotten = tell_xapi(call, ref, source, ())
    ask(call, source, "keep_passthrough", PLUG_SECONDS)
    return Unplugged(said["unplugged"], forgotten)


def _back(call: Call, why: Union[SriovError, XapiError]) -> None:
    """After a step that failed. What fails here too is left to the next call, which the error names."""
    try:
        settled = settle(call)
    except (SriovError, XapiError) as error:
        call.host.log(f"VM {call.vm_uuid} stays without its VFs: {error}")
        raise _stays(call, why, error) from why
    if settled is None:
        raise overtaken(call) from why


def _settled(call: Call) -> Optional[Settled]:
    try:
        return settle(call)
    except XapiError as error:
        raise _stays(call, error) from error


def _stays(call: Call, why: Union[SriovError, XapiError], then: Optional[Exception] = None) -> SriovError:
    """The VM stays in the midst of its move after `why`; `then`: what the way out of it failed with."""
    first = master.silent(call.doing, why) if isinstance(why, XapiError) else why
    more = f" Its move is not over: {getattr(then, 'message', then)}" if then is not None else ""
    return SriovError(
        first.code,
        f"{first.message}{more}",
        f"VM {call.vm_name} may be without its VFs (`list_assignments` shows that). `attach_vfs` with "
        f"vm_uuid={call.vm_uuid} ends its move, and gives it VFs where it runs.",
    )


def _copy(call: Call, source: Member, target: str, force: bool) -> Optional[XapiFailure]:
    """xapi has moved the VM, or says why not."""
    with locked.work(call, (), reads=True) as at:
        at.transaction.write(on_its_way(at, move_of(call, at)._replace(state=MOVING)))
        ref = at.vm.ref
    failure = _copied(call, ref, target, force)
    for _ in range(SOON_TIMES):
        if failure is None:
            break
        if failure.details[0] == "XAPI_HOOK_FAILED" and "SRIOV_BUSY" in str(failure):
            ask(call, source, "keep_passthrough", PLUG_SECONDS)  # the record was written since, as by xapi
        elif failure.details[0] in _SOON:
            time.sleep(SOON_SECONDS)
        else:
            break
        failure = _copied(call, ref, target, force)
    return failure


def _copied(call: Call, ref: str, target: str, force: bool) -> Optional[XapiFailure]:
    xapi = Xapi(call.host, call.session)
    to, options = call.topology.members[target].ref, {"live": "true", **({"force": "true"} if force else {})}
    try:
        task = xapi.call("Async.VM.pool_migrate", ref, to, options)
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
    answer: Mapping[str, Any],
    call: Call,
    settled: Optional[Settled],
    failure: Optional[XapiFailure],
    now_wrong: Optional[SriovError] = None,
    forgotten: Sequence[str] = (),
) -> SriovError:
    members = call.topology.members
    target = members[answer["host_uuid"]].name
    why = f"xapi answered {failure}" if failure else "it is not there"
    if now_wrong is not None:
        now, hint = " ".join([now_wrong.message, *forgotten]), now_wrong.hint
    elif settled is None or settled.host is None:
        now, hint = "It does not run any more.", "See what happened to it (`xe vm-list`), and start it."
    else:
        now = " ".join([f"It runs on {members[settled.host].name} with its VFs.", *forgotten])
        hint = "Put right what xapi says, and call again."
    return SriovError(
        "SRIOV_NOT_MOVED", f"VM {call.vm_uuid} was not moved to host {target}: {why}. {now}", hint
    )
