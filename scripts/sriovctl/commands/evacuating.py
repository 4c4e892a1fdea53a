"""evacuate: a host is emptied of its VMs, those with VFs too, before somebody works on it."""

import argparse
from typing import Dict, List

from sriovlib.safetext import plural

from .. import evacuation, names
from ..client import Client
from ..command import Command, plan_option
from ..errors import DONE, FAILED, INTERRUPTED, PARTLY, Failed
from ..evacuation import BY_XAPI, START, Leaving
from ..output import Record, by_key
from ..pool import Host
from ..rollout import plan as plans
from ..rollout import state as states
from ..rollout import steps
from .migrating import allowed, allowing_arguments, guest_argument, guest_seconds

STAYS = "stays"
PLAN = (
    by_key("NAME", "vm_name"),
    by_key("ACTION", "action", style=lambda row: "bad" if row["action"] == STAYS else ""),
    by_key("BEFORE", "before"),
    by_key("AFTER", "after"),
    by_key("WHY", "why", wide=True),
    by_key("UUID", "vm_uuid", wide=True),
)


def evacuate(client: Client, args: argparse.Namespace) -> int:
    pool = client.pool
    host = names.host(pool, args.name)
    _no_setup(client)
    if not host.live:
        raise Failed("HOST_OFFLINE", f"Host {host.name} is offline.", "Check its power and network.")
    asked = {**guest_seconds(args), **allowed(args)}
    with client.progress(f"Evacuating host {host.name}") as progress:
        if not args.dry_run:
            evacuation.settled(pool, host, progress.say)
            host = steps.refreshed(pool, host)
        coming = steps.coming(pool, host)
        leaving = evacuation.plan(pool, host, args.relocate, asked, progress.say)
    client.show([_row(host, one) for one in leaving], PLAN)
    stay = [one for one in leaving if not one.how]
    for one in stay:
        client.error(_cannot(host, one))
    if stay:
        client.say(f"Nothing was changed: {plural(len(stay), 'VM stays', 'VMs stay')} on host {host.name}.")
        return FAILED
    for one in leaving:
        if one.note:
            client.warn(one.note)
    for name in coming:
        client.warn(f"VM {name} is on its way to host {host.name}, and is waited for before anything leaves.")
    if not leaving and not coming and not host.enabled:
        client.say(f"Host {host.name} is empty and disabled already.")
        return DONE
    told = _told(host, leaving)
    if args.dry_run:
        client.say(f"Would do this: {told}. Nothing was changed (--plan).")
        return DONE
    if not client.confirm(f"Do this: {told}?"):
        raise Failed("NOT_CONFIRMED", "Nothing was changed.")
    return _empty(client, host, leaving, asked)


def _no_setup(client: Client) -> None:
    """It takes hosts out of service by itself, and gives them back."""
    found = states.read(client.pool.other_config())
    if found is not None:
        raise states.under_way(client.pool, found[1])


def _row(host: Host, one: Leaving) -> Record:
    return {
        "vm_name": one.guest.name,
        "vm_uuid": one.guest.uuid,
        "action": one.how or STAYS,
        "before": None if one.how == START else host.name,
        "after": (one.to or "another") if one.how else host.name,
        "why": one.why or None,
    }


def _cannot(host: Host, one: Leaving) -> Failed:
    why = one.why.rstrip(".")
    return Failed(
        "VM_CANNOT_LEAVE",
        f"VM {one.guest.name} cannot leave host {host.name} as the pool is now: {why}.",
        one.hint,
    )


def _told(host: Host, leaving: List[Leaving]) -> str:
    ways = (
        (plans.MIGRATE, "moved with VFs by migrate_vm"),
        (plans.RELOCATE, "shut down and started on another host"),
        (START, "started elsewhere, as it was shut down to leave"),
        (BY_XAPI, "moved by xapi"),
    )
    counts = [(evacuation.counted(leaving, how), does) for how, does in ways]
    moves = [f"{plural(count, 'VM is', 'VMs are')} {does}" for count, does in counts if count]
    service = "takes no VMs any more" if host.enabled else "is disabled already"
    return "; ".join([*moves, f"host {host.name} {service}"])


def _empty(client: Client, host: Host, leaving: List[Leaving], asked: Dict[str, str]) -> int:
    pool = client.pool
    first = [one for one in leaving if one.how != BY_XAPI]
    again = f"`sriovctl evacuate {names.word(pool, host)}` goes on from what there is then."
    try:
        with client.progress(f"Evacuating host {host.name}") as progress:

            def act(one: Leaving) -> None:
                try:
                    evacuation.leave(pool, host, one, asked, progress.say)
                except Failed as failed:
                    if failed.code != INTERRUPTED:
                        raise
                    progress.clear()
                    client.error(failed)
                    raise KeyboardInterrupt from failed  # the others are left alone
                progress.clear()
                client.say(f"VM {one.guest.name} has left host {host.name}.")

            outcome = client.each(first, lambda one: f"VM {one.guest.name}", act)
            if outcome.status != DONE:
                progress.clear()
                client.say(f"Host {host.name} is not empty, and {evacuation.service(pool, host)}. {again}")
                return PARTLY if outcome.results else FAILED
            evacuation.rest(pool, host, leaving, progress.say)
    except KeyboardInterrupt:
        client.say(f"\nHost {host.name} is not empty, and {evacuation.service(pool, host)}. {again}")
        raise
    client.say(
        f"Host {host.name} is empty, and {evacuation.out_of_service(host)}. VMs that have left it stay where "
        "they are: docs/operations.md says how they come back."
    )
    return DONE


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="HOST", help="the host that is to be empty")
    plan_option(parser, "would become of each VM")
    parser.add_argument(
        "--relocate",
        action="store_true",
        help="VMs with VFs that cannot be moved while they run: shut them down, and start them on another "
        "host, as `sriovctl relocate` does",
    )
    allowing_arguments(parser)
    guest_argument(parser)


COMMANDS = [
    Command(
        "evacuate",
        "empty a host before maintenance: its VMs go to other hosts, with VFs there",
        _arguments,
        evacuate,
        changes=True,
        columns=PLAN,
    )
]
