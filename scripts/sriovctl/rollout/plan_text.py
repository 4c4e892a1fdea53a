"""The plan of a host as rows, a step each, and as sentences on VMs that xapi cannot move. Pure."""

from typing import Any, Dict, Iterator, List, Tuple

from .plan import MIGRATE, RELOCATE, SHUTDOWN, Foreseen, Guest, HostPlan, reason

_UNKNOWN = Foreseen("", "", "")


def rows(plan: HostPlan, pinned: str) -> List[Dict[str, Any]]:
    """What is done on a host, step by step."""
    found: List[Dict[str, Any]] = []

    def step(action: str, thing: str, before: Any = None, after: Any = None, why: str = "") -> None:
        found.append(
            {
                **plan.host.row,
                "step": len(found) + 1,
                "action": action,
                "object": thing,
                "before": before,
                "after": after,
                "why": why or None,
            }
        )

    host = plan.host.name
    if plan.reboot:
        for guest in plan.stop if pinned in (RELOCATE, MIGRATE) else []:
            seen = plan.foreseen.get(guest.uuid, _UNKNOWN)
            why = seen.why or reason(guest.blocked)
            step(seen.how or pinned, guest.name, host, seen.to or "another", why)
        step("disable", host)
        for guest in plan.stop if pinned == SHUTDOWN else []:
            step("shutdown", guest.name, why=reason(guest.blocked))
        for guest in plan.move:
            step("migrate", guest.name, host, "another")
    for act in plan.acts:
        step(act.function, act.object, act.before, act.after)
    if plan.reboot:
        step("reboot", host, why=plan.reboot)
    if not plan.nothing:
        step("verify", host)
    if plan.reboot:
        step("enable", host)
        for guest in plan.stop if pinned == SHUTDOWN else []:
            step("start", guest.name, after=host)
    return found


def sentences(plan: HostPlan, pinned: str) -> Iterator[str]:
    """Of each VM that xapi cannot move: whether it is moved all the same, or shut down, and why."""
    host = plan.host.name
    for guest in plan.stop if plan.reboot else ():
        seen = plan.foreseen.get(guest.uuid, _UNKNOWN)
        if pinned == SHUTDOWN:
            yield f"VM {guest.name} is shut down while host {host} reboots: {reason(guest.blocked)}."
        elif seen.how == MIGRATE:
            yield f"VM {guest.name} moves from host {host} to {seen.to} while it runs: {seen.why}."
        elif seen.how == RELOCATE:
            yield f"VM {guest.name} is shut down on host {host} and started on {seen.to}: {seen.why}."
        elif seen.why:
            yield f"VM {guest.name} cannot leave host {host} as the pool is now: {seen.why}."


def moved_and_stopped(plans: List[HostPlan], pinned: str) -> Tuple[int, int]:
    """How many VMs that xapi cannot move are moved while they run, and how many are shut down, as far as that
    is foreseen."""
    stop: List[Tuple[HostPlan, Guest]] = [(plan, guest) for plan in plans for guest in plan.stop]
    how = [plan.foreseen.get(guest.uuid, _UNKNOWN).how for plan, guest in stop]
    return how.count(MIGRATE), len(stop) if pinned == SHUTDOWN else how.count(RELOCATE)
