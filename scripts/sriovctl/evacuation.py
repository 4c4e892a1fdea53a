"""A host is emptied before somebody works on it: what becomes of each of its VMs, by what the pool says, and
the way out for all of them. Nothing is kept for that: whoever calls again goes on from what there is then.

VMs that xapi cannot move leave first, while their host still takes VMs: one that fails stays, or comes back.
"""

import time
from typing import Any, Dict, List, NamedTuple, Sequence

from sriovlib.safetext import plural

from . import tasks, undone
from .errors import Failed
from .pool import Host, Pool
from .rollout import pinned_vms, steps
from .rollout import plan as plans
from .rollout.foresee import nowhere, of_guest
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
    others = steps.targets(pool.hosts, host)
    if not others:
        seen = nowhere(pool, host.ref)
        return Leaving(guest, "", "", seen.why, f"{seen.hint} Or {shut_down}.".strip())
    if not row.get("requests"):
        adopt = f" `sriovctl adopt {guest.uuid}`, while it is halted, makes requests of its entries by hand."
        hint = f"{plans.way(guest)}, or {shut_down}.{adopt if row.get('others') else ''}"
        return Leaving(guest, "", "", plans.reason(guest.blocked), hint)
    tell(f"where VM {guest.name} can go")
    seen, started = of_guest(pool, guest, plans.MIGRATE, others, allowed, tell), ""
    if not seen.how:
        down = of_guest(pool, guest, plans.RELOCATE, others, allowed, tell)
        if relocate:
            seen = down
        elif down.how:
            started = f", or add --relocate, which starts it on host {down.to}"
    if seen.how:
        return Leaving(guest, seen.how, seen.to, seen.why, note=_one_way(host, guest, seen.how))
    return Leaving(guest, "", "", seen.why, f"{seen.hint or 'Put that right.'} Or {shut_down}{started}.")


def _one_way(host: Host, guest: Guest, how: str) -> str:
    """Of a host that is disabled already."""
    if host.enabled or how != plans.RELOCATE:
        return ""
    return (
        f"VM {guest.name} stays halted if it does not start elsewhere: host {host.name} is disabled already, "
        f"and takes none back. `xe host-enable uuid={host.uuid}` before this lets it come back."
    )


def _left(pool: Pool, host: Host) -> List[Leaving]:
    """VMs that are down, as a program was ended in the midst of their relocation from this host."""
    found = []
    for one in undone.halted(pool, host.uuid):
        target = pool.host(one.to)
        guest = Guest(one.uuid, one.name, (), True, False)
        why = f"it was shut down by {one.who} to leave host {host.name}"
        found.append(Leaving(guest, START, target.name if target else "", why))
    return found


def leave(pool: Pool, host: Host, one: Leaving, allowed: Dict[str, str], tell: Tell) -> None:
    """One that xapi does not move. Raises Failed, which says where it is then."""
    others = steps.targets(pool.hosts, host, lambda other: other.name == one.to)
    try:
        pinned_vms.leave(pool, one.guest.uuid, one.how, host, others, allowed, tell)
    except Failed as failed:
        if failed.code != "VM_NOT_RELOCATED":
            raise
        raise Failed(failed.code, failed.message, "Put that right, and call again.") from failed


def service(pool: Pool, host: Host) -> str:
    """Whether it takes VMs now, in words that follow its name."""
    try:
        enabled = pool.call("host.get_enabled", host.ref)
    except Failed:
        return "may take VMs or not: xapi does not answer"
    return "takes VMs as before" if enabled else out_of_service(host)


def out_of_service(host: Host) -> str:
    """Such words. That its boot and a restart of its toolstack enable it: see steps.disable."""
    return (
        f"takes no VMs until `xe host-enable uuid={host.uuid}`, its next boot or a restart of its toolstack"
    )


def rest(pool: Pool, host: Host, leaving: Sequence[Leaving], tell: Tell) -> None:
    """The host takes no VM any more, and xapi moves those that are left. Raises Failed."""
    try:
        steps.disable(pool, host)
        settled(pool, host, tell)  # for those that were on their way there
        _check_newcomers(pool, host, leaving)
        steps.evacuate(pool, host, 0, tell)
        _check_end(pool, host)
    except Failed as failed:
        about = f"Host {host.name}"
        named = about in failed.message
        message = failed.message if named else f"{about} is not empty. {failed.message}"
        again = f"{failed.hint} Then call again." if failed.hint else "Call again."
        raise Failed(failed.code, message, f"{again} {about} {service(pool, host)}.") from failed


def _check_end(pool: Pool, host: Host) -> None:
    left = steps.guests(pool, host)
    if left:
        names = ", ".join(guest.name for guest in left)
        raise Failed("HOST_NOT_EMPTY", f"Host {host.name} has VMs again: {names}.")
    if pool.call("host.get_enabled", host.ref):
        raise Failed(
            "HOST_ENABLED",
            f"Host {host.name} is empty, but was enabled meanwhile: by somebody, or as its toolstack was "
            "restarted.",
        )


def _check_newcomers(pool: Pool, host: Host, leaving: Sequence[Leaving]) -> None:
    """VMs that have come after the plan and cannot be moved by xapi were shown to nobody."""
    known = {one.guest.uuid for one in leaving}
    new = [guest for guest in steps.guests(pool, host) if guest.blocked and guest.uuid not in known]
    if new:
        names = ", ".join(f"VM {guest.name} ({plans.reason(guest.blocked)})" for guest in new)
        raise Failed(
            "VM_CANNOT_LEAVE",
            f"Host {host.name} has got since the plan what xapi cannot move: {names}.",
        )


def settled(pool: Pool, host: Host, tell: Tell) -> None:
    """Returns when xapi does nothing with VMs of the host: what a program that was ended had begun. Unlike a
    setup it ends where xapi does not answer: somebody is there, who can call again."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        busy = ", ".join(steps.busy(pool, host))
        if not busy:
            return
        tell(f"waiting for what xapi does with {busy}")
        if time.monotonic() > deadline:
            raise Failed(
                "TIMED_OUT",
                f"Host {host.name} is not settled: xapi has been at something with {busy} for "
                f"{plural(round(WAIT_SECONDS / 60), 'minute')}.",
                "Wait until that is over.",
            )
        time.sleep(tasks.POLL_SECONDS)


def counted(leaving: Sequence[Leaving], how: str) -> int:
    return sum(1 for one in leaving if one.how == how)
