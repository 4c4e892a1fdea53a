"""A host is emptied before somebody works on it: what becomes of each of its VMs, by what the pool says, and
the way out for all of them. Nothing is kept for that: whoever calls again goes on from what there is then.

VMs that xapi cannot move leave first, while their host still takes VMs: one that fails stays, or comes back.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Sequence

from . import undone
from .errors import Failed
from .pool import Host, Pool
from .rollout import plan as plans
from .rollout import steps
from .rollout.foresee import of_guest
from .rollout.plan import Guest
from .tasks import Tell

BY_XAPI, START = "evacuate", "start"  # the other ways are those of Foreseen
WAIT_SECONDS = 1800.0  # for what xapi is doing with VMs of the host


class Leaving(NamedTuple):
    """A VM of the host. `how` it leaves: BY_XAPI, MIGRATE, RELOCATE; START: it was shut down for that by a
    program that was ended before it had started it elsewhere; empty: it stays, for the reason `why`, and
    `hint` says what helps. `to` is a host's name, empty where xapi chooses. `note`: what else to know."""

    guest: Guest
    how: str
    to: str
    why: str
    hint: str = ""
    note: str = ""


def plan(pool: Pool, host: Host, relocate: bool, allowed: Dict[str, str], tell: Tell) -> List[Leaving]:
    """Of each VM there, by itself: whether there is room for all is seen when they go. Changes nothing.
    `relocate`: a VM with VFs that cannot be moved may be shut down. `allowed`: see relocation.planned."""
    rows = {row["vm_uuid"]: row for row in pool.master("list_assignments", host_uuid=host.uuid)["vms"]}
    found = [
        _of(pool, host, guest, rows.get(guest.uuid) or {}, relocate, allowed, tell)
        for guest in steps.guests(pool, host)
    ]
    return [*found, *_left(pool, host)]


def _of(
    pool: Pool,
    host: Host,
    guest: Guest,
    row: Dict[str, Any],
    relocate: bool,
    allowed: Dict[str, str],
    tell: Tell,
) -> Leaving:
    moves = (row.get("move") or {}).get("host_uuid")  # by migrate_vm, which is at it or was cut off
    if not guest.blocked and not moves:
        away = any(one.get("state") == "detached" for one in row.get("requests") or [])
        attach = f"VM {guest.name} is without its VFs, and moves so; then `sriovctl attach {guest.uuid}`."
        return Leaving(guest, BY_XAPI, "", "", note=attach if away else "")
    shut_down = f"shut it down (`xe vm-shutdown uuid={guest.uuid}`)"
    if not row.get("requests"):
        adopt = f" `sriovctl adopt {guest.uuid}`, while it is halted, makes requests of its entries by hand."
        hint = f"Put that right, or {shut_down}.{adopt if row.get('others') else ''}"
        return Leaving(guest, "", "", plans.reason(guest.blocked), hint)
    tell(f"where VM {guest.name} can go")
    others = targets(pool, host)
    seen = of_guest(pool, guest, plans.MIGRATE, others, allowed, tell)
    if not seen.how and relocate:
        seen = of_guest(pool, guest, plans.RELOCATE, others, allowed, tell)
    if seen.how:
        return Leaving(guest, seen.how, seen.to, seen.why)
    started = "" if relocate else ", or add --relocate, which starts it on another host"
    return Leaving(guest, "", "", seen.why, f"{seen.hint or 'Put that right.'} Or {shut_down}{started}.")


def _left(pool: Pool, host: Host) -> List[Leaving]:
    """VMs that are down, as a program was ended in the midst of their relocation from this host."""
    found = []
    for one in undone.halted(pool, host.uuid):
        target = pool.host(one.to)
        guest = Guest(one.uuid, one.name, (), True, False)
        why = f"it was shut down by {one.who} to leave host {host.name}"
        found.append(Leaving(guest, START, target.name if target else "", why))
    return found


def targets(pool: Pool, host: Host, first: str = "") -> List[Host]:
    """The other hosts that take VMs, that of this name first."""
    others = [one for one in pool.hosts if one.uuid != host.uuid and one.enabled and one.live]
    return sorted(others, key=lambda one: one.name != first)


def leave(pool: Pool, host: Host, one: Leaving, allowed: Dict[str, str], tell: Tell) -> None:
    """One that xapi does not move. Raises Failed, which says where it is then."""
    go: Callable[..., None] = steps.migrate if one.how == plans.MIGRATE else steps.relocate
    try:
        go(pool, one.guest.uuid, host, targets(pool, host, one.to), allowed, tell)
    except Failed as failed:
        if failed.code != "VM_NOT_RELOCATED":
            raise
        raise Failed(failed.code, failed.message, "Put that right, and call again.") from failed


def out_of_service(host: Host) -> str:
    """Words that follow its name."""
    return f"takes no VMs until `xe host-enable uuid={host.uuid}`"


def rest(pool: Pool, host: Host, tell: Tell) -> None:
    """The host takes no VM any more, and xapi moves those that are left. Raises Failed."""
    steps.disable(pool, host)
    back = f"Host {host.name} {out_of_service(host)}."
    try:
        steps.evacuate(pool, host, 0, tell)
    except Failed as failed:
        raise Failed(
            failed.code, failed.message, f"{failed.hint} When that is put right, call again. {back}".strip()
        ) from failed
    left = steps.guests(pool, host)
    if left:
        raise Failed(
            "HOST_NOT_EMPTY",
            f"Host {host.name} still has VMs: {', '.join(guest.name for guest in left)}.",
            f"Were they started there by somebody? Call again. {back}",
        )


def settled(pool: Pool, host: Host, tell: Tell) -> None:
    """Returns when xapi does nothing with VMs of the host: what a program that was ended had begun."""
    try:
        steps.wait_for_operations(pool, host, WAIT_SECONDS, tell)
    except Failed as failed:
        raise Failed(failed.code, failed.message, "Wait until that is over, and call again.") from failed


def counted(leaving: Sequence[Leaving], how: str) -> int:
    return sum(1 for one in leaving if one.how == how)
