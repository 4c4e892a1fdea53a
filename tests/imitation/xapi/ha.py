"""HA: a host that does not answer is declared dead, and its protected VMs are started elsewhere.

Imitates xen-api, ocaml/xapi/xapi_ha_vm_failover.ml (restart_auto_run_vms), which the master runs every 20 s:
dead hosts' VMs become Halted (the hook pool-pre-ha-vm-restart would run now; nothing here has one), protected
VMs are started on their planned hosts (those of one `order` at once), and best-effort ones last, anywhere. An
attempt that fails is not made again within 120 s. The time is clock.py's.
"""

import threading
from typing import TYPE_CHECKING, Dict, List, Optional

import host_life
import vm_notes
import vm_placement
from calls import Call, Calls, Context
from values import Failure
from vm_rules import HALTED, RUNNING

if TYPE_CHECKING:
    from xapi import Xapi

ROUND = 20.0  # seconds from one round to the next (xapi_globs.ml, ha_monitor_interval)
NOT_AGAIN = 120.0  # seconds that an attempt keeps the next one away
BEST_EFFORT = "best-effort"

Outcomes = Dict[str, Optional[List[str]]]


def run_round(xapi: "Xapi") -> Outcomes:
    """One round; what came of each VM that was to be started: None, or how it failed."""
    halted = _bury_the_dead(xapi)
    plan = _plan(xapi)
    outcomes: Outcomes = {}
    for order in sorted({_order(xapi, vm) for vm in plan}):
        outcomes.update(_start({vm: host for vm, host in plan.items() if _order(xapi, vm) == order}, xapi))
    for vm, failure in outcomes.items():
        if failure is not None:
            outcomes[vm] = _attempt(xapi, vm, None) and failure  # at once, so never: it was tried just now
    xapi.life.attempts = {vm: when for vm, when in xapi.life.attempts.items() if vm in outcomes}
    return {**outcomes, **_start_the_others(xapi, halted)}


def pass_time(xapi: "Xapi", seconds: float) -> List[Outcomes]:
    """Lets so much time pass, with a round every 20 s of it."""
    rounds = []
    while seconds > 0:
        xapi.life.clock.pass_seconds(min(ROUND, seconds))
        seconds -= ROUND
        rounds.append(run_round(xapi))
    return rounds


def _bury_the_dead(xapi: "Xapi") -> List[str]:
    """Hosts that do not answer any more: their VMs, halted now."""
    halted: List[str] = []
    for host in xapi.database.refs("host"):
        if xapi.is_live(host) and not xapi.reach.answers(host):
            halted += host_life.bury(xapi, host, "fenced")
        elif not xapi.is_live(host):
            halted += host_life.halt_vms_of(xapi, host)
    return halted


def _plan(xapi: "Xapi") -> Dict[str, str]:
    """The host for each protected VM that is halted; nothing looks at other_config:pci (agility.ml)."""
    database = xapi.database
    plan: Dict[str, str] = {}
    for vm in sorted(database.refs("VM"), key=lambda vm: _order(xapi, vm)):
        record = database.record("VM", vm)
        if is_protected(record) and record["power_state"] == HALTED and not record["is_a_template"]:
            try:
                plan[vm] = vm_placement.roomiest(xapi, vm_placement.possible_hosts(xapi, vm), plan)
            except Failure:
                continue  # none has room: a start without a plan would fail as well
    return plan


def is_protected(record: Dict[str, object]) -> bool:
    return bool(record["ha_always_run"]) and record["ha_restart_priority"] == vm_notes.PROTECTED


def _order(xapi: "Xapi", vm: str) -> int:
    """A negative one is last."""
    order = int(xapi.database.get("VM", vm, "order"))
    return order if order >= 0 else 1 << 62


def _start(plan: Dict[str, str], xapi: "Xapi") -> Outcomes:
    """All of them at once."""
    outcomes: Outcomes = {}

    def attempt(vm: str, host: str) -> None:
        outcomes[vm] = _attempt(xapi, vm, host)

    threads = [threading.Thread(target=attempt, args=item, daemon=True) for item in plan.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def _attempt(xapi: "Xapi", vm: str, host: Optional[str]) -> Optional[List[str]]:
    now = xapi.life.clock.now()
    if now - xapi.life.attempts.get(vm, 0.0) <= NOT_AGAIN:
        return [f"VM: {vm} restart attempt delayed for 120s"]
    xapi.life.attempts[vm] = now
    return _failure_of(xapi, vm, host)


def _failure_of(xapi: "Xapi", vm: str, host: Optional[str]) -> Optional[List[str]]:
    try:
        if host is None:
            xapi.call("VM.start", vm, False, True)
        else:
            xapi.call("VM.start_on", vm, host, False, True)
    except Failure as failure:
        return failure.description
    return None


def _start_the_others(xapi: "Xapi", halted: List[str]) -> Outcomes:
    """Best-effort VMs, in this round only."""
    outcomes: Outcomes = {}
    for vm in halted:
        record = xapi.database.record("VM", vm)
        if record["power_state"] == HALTED and record["ha_restart_priority"] == BEST_EFFORT:
            outcomes[vm] = _failure_of(xapi, vm, None)
    return outcomes


# -- which VMs are protected -----------------------------------------------------------------------


def set_ha_restart_priority(context: Context, vm: str, value: str) -> None:
    """`restart`, `best-effort` or nothing; of a VM that runs it counts at once."""
    if value not in (vm_notes.PROTECTED, BEST_EFFORT, ""):
        raise Failure("INVALID_VALUE", "ha_restart_priority", value)
    with context.xapi.database.lock:
        context.xapi.database.set("VM", vm, "ha_restart_priority", value)
        vm_notes.note_wish(context.xapi, vm, context.xapi.database.get("VM", vm, "power_state") == RUNNING)


CALLS: Calls = {
    "VM.set_ha_restart_priority": Call(set_ha_restart_priority, ["ref", "string"]),
}
