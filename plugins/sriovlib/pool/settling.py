"""The one way out of a running VM's move: it looks where the VM is, whatever became of the steps, and gives
it VFs there (see moves)."""

import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import SriovError
from ..safetext import listed
from ..xapi.session import Xapi
from . import arrivals, guidance, locked, master, pinning, reinstate
from .change import change_of, lease_of, on_its_way
from .hosts import Member
from .ledger import ARRIVED, Lease, Move
from .locked import Call, Work

PLUG_SECONDS = 120  # for a host to plug, besides what a guest may take
REBOOT_SECONDS = 30  # in which a guest that reboots has a domain again that runs
POLL_SECONDS = 0.5  # between two looks at xapi
LEARN_SECONDS = 30  # for xapi to see the devices of new entries
_LEAVING = (
    *("pool_migrate", "migrate_send", "suspend", "checkpoint", "resume", "resume_on", "start", "start_on"),
    *("shutdown", "clean_shutdown", "hard_shutdown", "clean_reboot", "hard_reboot", "revert"),
)


class Settled(NamedTuple):
    """Where a VM's move ended: it runs on that host with these VFs; None: it does not run."""

    host: Optional[str]
    vfs: Mapping[int, str]
    seconds: float  # that plugging took
    forgotten: Sequence[str] = ()  # by xapi, in sentences (see guidance)


def settle(call: Call) -> Optional[Settled]:
    """Ends the move of the VM, if it has one: where it runs it gets its VFs, and where it is halted its
    entries. A VM that is suspended waits. Raises SRIOV_BUSY while something is done to it."""
    before = locked.entry_now(call)
    arrivals.check(call, before)
    with locked.work(call, locked.concerned(call, before, None), reads=True) as at:
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
    begun, forgotten, is_new = time.monotonic(), [], True
    _plug(call, at, here, lease)
    while is_new:
        _write(call, lease, move._replace(state=ARRIVED))
        forgotten += tell_xapi(call, vm.ref, call.topology.members[here], tuple(lease.vfs.values()))
        is_new = _plug(call, at, here, lease)  # its guest rebooted before xenopsd had the entries
    for place, vfs in _left(entry.lease, move, here).items():
        locked.release(call, place, vfs)
    _write(call, lease, None)
    return Settled(here, lease.vfs, time.monotonic() - begun, forgotten)


def _write(call: Call, lease: Lease, move: Optional[Move]) -> None:
    """The VM with entries for these VFs. Its move goes last, by one write, when nothing is left to do."""
    with locked.work(call, (), reads=True) as at:
        move_of(call, at)
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
    if at.vm.power_state == "Paused":
        hint = f"Unpause it (`xe vm-unpause uuid={at.vm.uuid}`), then call again."
        raise SriovError("SRIOV_BUSY", f"VM {at.vm.name} is paused, and takes no VF until it runs.", hint)


def _lease_here(at: Work, move: Move, here: str) -> Lease:
    """VFs of the host where it runs: those that were kept for it or that it had there, else others."""
    entry = at.entry
    kept: Mapping[int, str] = {}
    if move.host == here:
        kept = move.vfs
    elif entry.lease is not None and entry.lease.host == here:
        kept = entry.lease.vfs
    return lease_of(at, entry.requests, here, locked.place(at, entry.requests, here, kept))


def _plug(call: Call, at: Work, here: str, lease: Lease) -> bool:
    """Whether its domain was without one of them. Raises SriovError where it is still."""
    member = call.topology.members[here]
    deadline = time.monotonic() + REBOOT_SECONDS
    while True:
        try:
            answer = ask(call, member, "plug_vfs", PLUG_SECONDS)
            break
        except SriovError as error:
            if not arrivals.is_on(Xapi(call.host, call.session).call("VM.get_record", at.vm.ref), member):
                raise overtaken(call) from error
            between = error.code in ("SRIOV_VM_NOT_HERE", "SRIOV_BUSY")  # of two domains, while it reboots
            if not between or time.monotonic() >= deadline:
                if error.code == "SRIOV_VM_NOT_HERE":
                    raise _lost(at, member, error) from error
                answer = {"not_plugged": [{"vf": vf, "why": error.message} for vf in lease.vfs.values()]}
                break
        time.sleep(POLL_SECONDS)
    if answer["not_plugged"]:
        why = " ".join(f"{one['vf']}: {one['why'].rstrip('.')}." for one in answer["not_plugged"])
        raise SriovError(
            "SRIOV_MOVED_WITHOUT_VF",
            f"VM {at.vm.name} ({at.vm.uuid}) runs on host {member.name} without its VFs: {why}",
            f"It goes on over its VIFs. `attach_vfs` with vm_uuid={at.vm.uuid} tries again; `migrate_vm`, "
            "also to the host where it is, or a shutdown and a start give it VFs too.",
        )
    return bool(answer["plugged"])


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


def tell_xapi(call: Call, ref: str, where: Member, vfs: Sequence[str]) -> List[str]:
    """xapi reads VM.attached_PCIs anew (xen-api: ocaml/xapi/xapi_vm_migrate.ml, pool_migrate_complete). It
    finds a device once it has told xenopsd of the entry, which it does by itself, a moment after that was
    written (xapi_xenops.ml, Xenopsd_metadata.update); and only one that it has a PCI object of. Returns what
    it forgets by that, in sentences."""
    xapi = Xapi(call.host, call.session)
    forgets = guidance.forgotten(xapi.call("VM.get_record", ref), call.vm_name)
    for sentence in forgets:
        call.host.log(sentence)
    known = set(xapi.call("PCI.get_all_records_where", pinning.known(where.ref, vfs)) if vfs else ())
    deadline = time.monotonic() + LEARN_SECONDS
    while True:
        xapi.renewed().call("VM.pool_migrate_complete", ref, where.ref)
        if known.issubset(xapi.renewed().call("VM.get_attached_PCIs", ref)):
            return forgets
        if time.monotonic() >= deadline:
            call.host.log(f"{call.vm_uuid}: xapi does not say yet that it has {listed(vfs)}")
            return forgets
        time.sleep(POLL_SECONDS)


def ask(call: Call, member: Member, function: str, seconds: float, **args: str) -> Dict[str, Any]:
    """What that host's plugin answers."""
    xapi = Xapi(call.host, call.session, seconds)
    return dict(master.ask(xapi, member.ref, function, {"vm_uuid": call.vm_uuid, **args}))


def move_of(call: Call, at: Work) -> Move:
    """That of the VM, which somebody else may have ended meanwhile."""
    if at.entry.move is None:
        raise overtaken(call)
    return at.entry.move


def overtaken(call: Call) -> SriovError:
    return SriovError(
        "SRIOV_BUSY",
        f"VM {call.vm_name} was stopped, started or suspended by somebody else while its VFs were away.",
        "`list_assignments` shows where it is now, and what it has. Call again, if it is to be moved still.",
    )
