"""Moves a VM with VFs to another host: while it runs where that can be, else shut down, VFs there, started
there; back, running, if that fails.

What is done goes by what the pool says at that moment, never by what was sent: an answer may be lost, and
xapi may have done it all the same.
"""

import time
from typing import Any, Dict, List, NamedTuple, NoReturn, Optional, Union

from . import migration, names, tasks, undone
from .errors import INTERRUPTED, Failed, as_failed
from .names import Vm
from .pool import Host, Pool
from .tasks import Tell

BUSY_SECONDS = 1800.0  # for what xapi is still doing with the VM, as its shutdown


class Move(NamedTuple):
    """`source`: where the VM runs, or where its VFs are; None where that host is gone. `starts`: it is to run
    in the end. `had`: the VF of each request. `live`: what migrate_vm is allowed, if it moves the VM while it
    runs; else `why` not."""

    pool: Pool
    vm: Vm
    source: Optional[Host]
    target: Host
    ran: bool
    starts: bool
    had: Dict[int, Optional[str]]
    rehearsed: Dict[str, Any]  # what reinstate_vfs, or migrate_vm, would answer for the target
    live: Optional[Dict[str, str]] = None
    why: str = ""

    @property
    def name(self) -> str:
        return f"VM {self.vm.name}"

    def command(self, host: Host, starts: bool) -> str:
        """What a person types to have the VM there."""
        start = " --start" if starts else ""
        return f"`sriovctl relocate {self.vm.uuid} {names.word(self.pool, host)}{start}`"


def assignment(pool: Pool, vm: Vm, hint: str = "") -> Dict[str, Any]:
    """What list_assignments says of the VM; raises Failed for one without requests, with this hint where it
    has no entries either."""
    found = pool.master("list_assignments", vm_uuid=vm.uuid)["vms"]
    if found and found[0]["requests"]:
        return dict(found[0])
    if found and found[0]["others"]:
        hint = f"Its entries were written by hand: `sriovctl adopt {vm.uuid}` makes requests of them."
    raise Failed("NO_REQUESTS", f"VM {vm.name} ({vm.uuid}) has no request for a VF.", hint)


def planned(
    pool: Pool, vm: Vm, target: Host, start: bool, allowed: Optional[Dict[str, str]] = None
) -> Optional[Move]:
    """The move, once all that can be known before has been looked at; None where the VM has its VFs of that
    host and runs there, if it is to. Changes nothing. Raises Failed with what is in the way. `allowed`: of
    migrate_vm's arguments network_gap, unconfirmed and force."""
    name, state = f"VM {vm.name}", vm.record["power_state"]
    moves = f"Without VFs it moves as any VM does: `xe vm-migrate uuid={vm.uuid} host=HOST`."
    row = assignment(pool, vm, moves)
    if row.get("parked"):
        raise Failed(
            "PARKED",
            f"{name} is parked: it has no VFs to move.",
            f"`sriovctl unpark {vm.uuid} --on {names.word(pool, target)}` gives it VFs there.",
        )
    if state not in ("Running", "Halted"):
        raise Failed("VM_BAD_POWER_STATE", f"{name} is {state.lower()}.", "Resume or unpause it first.")
    ran = state == "Running"
    source = pool.host(vm.record["resident_on"] if ran else row["host_uuid"])
    had = {one["request"]: one["vf"] for one in row["requests"]}
    move = Move(pool, vm, source, target, ran, ran or start, had, {})
    if source == target and (ran or not start):
        return None
    if move.starts:
        pool.call_for(target, "VM.assert_can_boot_here", vm.ref, target.ref)
    if ran:
        live = allowed or {}
        try:
            answer = pool.master("migrate_vm", vm_uuid=vm.uuid, host_uuid=target.uuid, dry_run="true", **live)
            return move._replace(rehearsed=answer, live=live)
        except Failed as failed:
            if not failed.code.startswith("SRIOV_"):
                raise
            move = move._replace(why=failed.message)
    again = move.command(target, True)
    check_operations(vm, move.ran, move.starts, again)
    answer = pool.master("reinstate_vfs", vm_uuid=vm.uuid, host_uuid=target.uuid, dry_run="true")
    return move._replace(rehearsed=answer)


def check_operations(vm: Vm, ran: bool, starts: bool, again: str) -> None:
    """Raises Failed where xapi would not shut it down or start it, whatever the host. `again`: the command
    to type when that is mended."""
    name, record = f"VM {vm.name}", vm.record
    for operation in (["clean_shutdown"] if ran else []) + (["start_on"] if starts else []):
        if operation in record["blocked_operations"]:
            why = record["blocked_operations"][operation]
            raise Failed(
                "OPERATION_BLOCKED",
                f"Somebody has blocked {operation} of {name}: {why}.",
                f"Lift that first: `xe vm-param-remove uuid={vm.uuid} param-name=blocked-operations "
                f"param-key={operation}`.",
            )
    if ran and "clean_shutdown" not in record["allowed_operations"]:
        raise Failed(
            "VM_LACKS_FEATURE",
            f"{name} cannot be shut down cleanly: its guest has no tools, or it is busy.",
            f"Shut it down from inside, then {again}.",
        )


def steps(move: Move) -> List[str]:
    """What will be done, in sentences."""
    where = f"host {move.target.name}"
    if move.live is not None:
        return [f"move {move.name} to {where} while it runs, with VFs there"]
    return [
        *([f"shut {move.name} down cleanly"] if move.ran else []),
        f"give it VFs of {where}",
        *([f"start it on {where}"] if move.starts else []),
    ]


def relocate(move: Move, tell: Tell) -> None:
    """Returns when it is done. Raises Failed, which says where the VM is then, and what mends it. Until it
    runs again the pool has a record of that, which outlives a kill."""
    if move.live is not None:
        migration.migrate(move.pool, move.vm, move.target, tell, **move.live)
        return
    if move.ran:
        source = move.source.uuid if move.source else None
        undone.begin(move.pool, move.vm.uuid, source, move.target.uuid)
    try:
        _to_target_or_back(move, tell)
    except _Settled:
        _runs_again(move, move.ran)
        raise
    _runs_again(move, move.starts)


def _runs_again(move: Move, runs: bool) -> None:
    try:
        if runs:
            undone.end(move.pool, move.vm.uuid)
    except Failed:
        pass  # a record of a VM that runs is taken out by whoever sees it


def _to_target_or_back(move: Move, tell: Tell) -> None:
    try:
        _go(move, tell)
    except (Failed, KeyboardInterrupt) as error:
        why = as_failed(error)
        try:
            _settle(move, why, tell)
        except _Settled:
            raise
        except (Failed, KeyboardInterrupt) as second:
            _left(move, why, second)


def _go(move: Move, tell: Tell) -> None:
    pool, vm, name, target = move.pool, move.vm, move.name, move.target
    if move.ran:
        tasks.done(pool, name, f"{name} is being shut down", tell, "VM.clean_shutdown", vm.ref)
    tell(f"{name} gets VFs of host {target.name}")
    pool.master("reinstate_vfs", vm_uuid=vm.uuid, host_uuid=target.uuid)
    if move.starts:
        _start(move, target, tell)


def _start(move: Move, host: Host, tell: Tell) -> None:
    """Until it runs there, with its VFs."""
    tasks.start_on(move.pool, move.vm, host, tell)
    _look(move, host)


def _look(move: Move, host: Host) -> None:
    """Its domain has the VFs of all its requests: xenstore of that host says so."""
    wanted = {one["vf"] for one in assignment(move.pool, move.vm)["requests"]}
    has = {
        one["address"]
        for one in move.pool.plugin(host, "list_vfs", vm_uuid=move.vm.uuid)
        if one["state"] == "in-use"
    }
    if not wanted <= has:
        missing = ", ".join(sorted(map(str, wanted - has)))
        raise Failed(
            "VF_MISSING",
            f"{move.name} runs on host {host.name} without {missing}.",
            "`sriovctl conflicts` says why.",
        )


def _is_on(record: Dict[str, Any], host: Optional[Host]) -> bool:
    return record["power_state"] == "Running" and host is not None and record["resident_on"] == host.ref


def _quiet(move: Move, tell: Tell) -> Dict[str, Any]:
    """The VM's record once xapi does nothing with it any more, whatever was sent before."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        record: Dict[str, Any] = move.pool.call("VM.get_record", move.vm.ref)
        if not record["current_operations"] or time.monotonic() > deadline:
            return record
        tell(f"{move.name}: {', '.join(record['current_operations'].values())} has not ended yet")
        time.sleep(tasks.POLL_SECONDS)


class _Settled(Failed):
    """The VM is where its message says."""


def _settle(move: Move, why: Failed, tell: Tell) -> None:
    """After a failure: back to where the VM was. Returns where it has come to its target all the same."""
    record = _quiet(move, tell)
    state = record["power_state"]
    if _is_on(record, move.target) and move.starts and why.code != INTERRUPTED:
        _look(move, move.target)
        return
    if state == "Running":
        if _is_on(record, move.source) and move.ran:
            raise _Settled(why.code, f"{why.message} {move.name} runs as before.", why.hint)
        there = move.pool.host(record["resident_on"])
        runs = there.name if there else "?"
        raise _Settled(why.code, f"{why.message} {move.name} runs on host {runs}.", why.hint)
    if state != "Halted" or move.source is None:
        _left(move, why, None)
    source = move.source
    tell(f"back: {move.name} gets VFs of host {source.name}")
    move.pool.master("reinstate_vfs", vm_uuid=move.vm.uuid, host_uuid=source.uuid)
    if not move.ran:
        where = f"{move.name} is halted, with its VFs of host {source.name}, as before."
        raise _Settled(why.code, f"{why.message} {where}", why.hint)
    _start(move, source, tell)
    raise _Settled(why.code, f"{why.message} {move.name} runs on host {source.name} again.", why.hint)


def _left(move: Move, why: Failed, second: Union[Failed, KeyboardInterrupt, None]) -> NoReturn:
    """The VM is not as it was: where it is as far as can be known, and the command that mends it."""
    again = f" Going back failed: {second.message}" if isinstance(second, Failed) else ""
    try:
        record = move.pool.call("VM.get_record", move.vm.ref)
        has = move.pool.host_name(assignment(move.pool, move.vm)["host_uuid"])
        is_now = f"{move.name} is {record['power_state'].lower()}, with VFs of host {has}."
    except (Failed, KeyboardInterrupt):
        is_now = f"It is not known whether {move.name} runs, nor of which host its VFs are."
    home = move.source or move.target
    hint = f"When what is in the way is gone: {move.command(home, move.ran)} has it as it was"
    if home != move.target:
        hint += f", {move.command(move.target, move.starts)} where it was to be"
    raise Failed(why.code, f"{why.message}{again} {is_now}", f"{hint}.") from why
