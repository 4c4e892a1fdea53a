"""setup: from a bare pool to VFs everywhere, with rolling reboots; its status, pause, resume and stop."""

import argparse
import time
from typing import Any, List, Sequence

from sriovlib.safetext import plural

from .. import names, undone
from ..client import Client
from ..command import Command, number, plan_option
from ..errors import DONE, FAILED, Failed, Usage
from ..output import Column, Record, by_key
from ..pool import Host
from ..rollout import plan as plans
from ..rollout import plan_text, steps
from ..rollout import run as runs
from ..rollout import state as states
from ..rollout.foresee import foresee
from ..rollout.hosts import Voice
from ..rollout.plan import HostPlan, Wish
from ..terminal import Progress

WORDS = ("status", "pause", "resume", "stop")

PLAN = (
    by_key("NAME", "host"),
    by_key("STEP", "step"),
    by_key("ACTION", "action"),
    by_key("OBJECT", "object"),
    by_key("BEFORE", "before"),
    by_key("AFTER", "after"),
    by_key("WHY", "why", wide=True),
    by_key("UUID", "host_uuid", wide=True),
)
_STYLES = {states.DONE: "good", states.FAILED: "bad", states.WAITING: "dim"}
STATUS = (
    by_key("NAME", "host"),
    by_key("STATE", "state", style=lambda row: _STYLES.get(row["state"], "warn")),
    by_key("SINCE", "since"),
    by_key("REBOOTED", "rebooted"),
    by_key("NOTE", "note", wide=True),
    by_key("UUID", "host_uuid", wide=True),
)
_BALANCER = (
    "Xen Orchestra's load balancer cannot be turned off from here, and may move VMs back meanwhile: turn its "
    "plugin off (Settings, Plugins), or tag the VMs with one of its ignored tags."
)


def setup(client: Client, args: argparse.Namespace) -> int:
    word = _word(args)
    if args.watch and word != "status":
        raise Usage("Only a status is watched.", "`sriovctl setup status --watch` shows how far a setup is.")
    if word:
        if args.count is not None:
            raise Usage(
                "A setup that was begun keeps its number of VFs.",
                "Leave --count out; or end it by `sriovctl setup stop`, and begin another.",
            )
        if args.dry_run and word != "status":
            return _would(client, args)
        return {"status": status, "pause": pause, "resume": resume, "stop": stop}[word](client, args)
    if not (args.pf or args.network):
        if args.hosts and args.hosts[0] in WORDS:
            whole = f"`sriovctl setup {args.hosts[0]}`"
            raise Usage(f"{whole} is for all hosts of the setup.", "Leave the other words out.")
        raise Usage(
            "Which ports get VFs?",
            f"Name them by --pf or --network, with --count; or say one of {', '.join(WORDS)}.",
        )
    if args.count is None:
        raise Usage("How many VFs?", "Add --count N.")
    return _new(client, args)


def _word(args: argparse.Namespace) -> str:
    """What to do with a setup that was begun; empty: it is a new one."""
    named = len(args.hosts) == 1 and args.hosts[0] in WORDS and not (args.pf or args.network)
    return str(args.hosts[0]) if named else ""


def _columns(args: argparse.Namespace) -> Sequence[Column]:
    return {"status": STATUS, "": PLAN, "resume": PLAN if args.dry_run else ()}.get(_word(args), ())


def _new(client: Client, args: argparse.Namespace) -> int:
    pool = client.pool
    found = states.read(pool.other_config())
    if found is not None:
        raise states.under_way(pool, found[1])
    hosts = names.hosts(pool, args.hosts)
    networks = tuple(names.network(pool, text).uuid for text in args.network or ())
    wish = Wish(tuple(args.pf or ()), networks, args.count)
    _no_upgrade(client)
    options, ha = _options(args, states.Options()), steps.ha_of(pool) is not None
    with client.progress("setup") as progress:
        progress.say(f"looking at {plural(len(hosts), 'host')}")
        made = runs.look_at_all(pool, hosts, wish, options.pinned, ha, client.patience)
        if not any(one.blockers for one in made):
            made = foresee(pool, made, options.pinned, options.allowed, progress.say)
    client.show(_rows(client, made, options.pinned, ha), PLAN)
    blockers = [blocker for one in made for blocker in one.blockers]
    for blocker in blockers:
        client.error(blocker)
    if blockers:
        client.say(f"Nothing was changed: {plural(len(blockers), 'thing is', 'things are')} in the way.")
        return FAILED
    if all(one.nothing for one in made):
        client.say(
            f"Nothing is to be done: {plural(len(made), 'host has', 'hosts have')} "
            f"{wish.text(client.pool.network_name)} already."
        )
        return DONE
    _say_of_vms(client, made, options.pinned)
    reboots = [one.host for one in made if one.reboot]
    told = _told(made, reboots, options)
    if any(one.move for one in made):
        client.warn(_BALANCER)
    if args.dry_run:
        client.say(f"Would do this: {told}. Nothing was changed (--plan).")
        return DONE
    if not client.confirm(f"Do this: {told}?"):
        client.say("Nothing was changed.")
        return FAILED
    keeper = states.begin(pool, runs.asked_for(wish, made, options, undone.who(), time.time()))
    return _run(client, keeper)


def _options(args: argparse.Namespace, before: states.Options) -> states.Options:
    """What was typed; of what was not, what was there before."""

    def chosen(typed: Any, usual: Any) -> Any:
        return usual if typed is None else typed

    parallel = chosen(args.parallel, before.parallel)
    return states.Options(
        chosen(args.pinned, before.pinned),
        parallel,
        chosen(args.max_unavailable, before.unavailable if args.parallel is None else parallel),
        chosen(args.evacuate_batch_size, before.batch),
        chosen(args.reboot_minutes, before.minutes),
        args.unconfirmed or before.unconfirmed,
    )


def _told(made: List[HostPlan], reboots: List[Host], options: states.Options) -> str:
    count = sum(1 for one in made if not one.nothing)
    told = plural(count, "host")
    if reboots:
        many = min(options.parallel, options.unavailable)
        at_once = f"{many} at a time" if many > 1 else "one after the other"
        told += f", {plural(len(reboots), 'reboot')}"
        if len(reboots) > 1:
            told += f", {at_once}" + (", the master last" if any(host.master for host in reboots) else "")
    moved, stopped = plan_text.moved_and_stopped(made, options.pinned)
    for count, does in ((moved, "moved by migrate_vm"), (stopped, "shut down meanwhile")):
        told += f"; {plural(count, 'VM is', 'VMs are')} {does}" if count else ""
    return told


def _say_of_vms(client: Client, made: List[HostPlan], pinned: str) -> None:
    for one in made:
        for sentence in plan_text.sentences(one, pinned):
            client.say(sentence)


def _rows(client: Client, made: List[HostPlan], pinned: str, ha: bool) -> List[Record]:
    """The steps of all hosts, between those of the pool."""
    rows = [row for one in made for row in plan_text.rows(one, pinned)]
    if not any(one.reboot for one in made):
        return rows
    off, on = [], []
    if ha:
        off.append(_of_pool(client, "disable_ha", "ha", "on", "off"))
        on.append(_of_pool(client, "enable_ha", "ha", "off", "on"))
    if client.pool.other_config().get(steps.AUTO_POWERON) == "true":
        off.append(_of_pool(client, "set", steps.AUTO_POWERON, "true", "false"))
        on.append(_of_pool(client, "set", steps.AUTO_POWERON, "false", "true"))
    return [*off, *rows, *on]


def _of_pool(client: Client, action: str, thing: str, before: str, after: str) -> Record:
    row = {"host": client.pool.name, "host_uuid": None, "step": None, "action": action, "object": thing}
    return {**row, "before": before, "after": after, "why": "a host must not come back by itself meanwhile"}


def _no_upgrade(client: Client) -> None:
    """While hosts have different versions xapi moves VMs to newer ones only (xen-api: xapi_host.ml)."""
    if "rolling_upgrade_in_progress" in client.pool.other_config():
        raise Failed(
            "UPGRADE_UNDER_WAY",
            "A rolling pool upgrade is under way.",
            "Finish it first.",
        )


class _Voice(Voice):
    def __init__(self, client: Client, progress: Progress) -> None:
        self._client = client
        self._progress = progress

    def tell(self, text: str) -> None:
        self._progress.say(text)

    def say(self, text: str) -> None:
        self._progress.clear()
        self._client.say(text)

    def error(self, failed: Failed, what: str = "") -> None:
        self._progress.clear()
        self._client.error(failed, what)


def _run(client: Client, keeper: states.Keeper, halt: str = "") -> int:
    """`halt`: puts back only what was turned off, and leaves the record paused or ends it."""
    try:
        with client.progress("setup") as progress:
            run = runs.Run(client.pool, keeper, _Voice(client, progress), client.patience)
            return run.put_back(halt) if halt else run.go()
    except KeyboardInterrupt:
        client.say(f"\n{states.summary(keeper.state, client.pool.host_name)}")
        client.say("`sriovctl setup resume` goes on; `sriovctl setup stop` puts back what was turned off.")
        raise


# -- of one that is under way, or was left -----------------------------------------------------------------


def status(client: Client, _args: argparse.Namespace) -> int:
    keys = client.pool.other_config()
    found = states.read(keys)
    if found is None:
        client.show([], STATUS, "No setup is under way, and none was left.")
        return DONE
    state, name = found[1], client.pool.host_name
    rows = [
        {
            "host": name(uuid),
            "host_uuid": uuid,
            "state": host.phase,
            "since": states.when(host.since),
            "rebooted": host.rebooted,
            "disabled": host.disabled,
            "note": host.note or None,
        }
        for uuid, host in state.hosts.items()
    ]
    client.show(rows, STATUS)
    client.say(_summary(client, state))
    for row in rows:
        if row["note"]:
            client.say(f"Host {row['host']}: {row['note']}")
    if not states.is_alive(client.pool, keys):
        client.say("Nobody is at it: `sriovctl setup resume` goes on, `sriovctl setup stop` ends it.")
    return DONE


def _summary(client: Client, state: states.State) -> str:
    return f"{state.wish.text(client.pool.network_name)}. {states.summary(state, client.pool.host_name)}"


def _would(client: Client, args: argparse.Namespace) -> int:
    """What `resume`, `pause` or `stop` would do."""
    pool, word = client.pool, args.hosts[0]
    found = states.read(pool.other_config())
    if found is not None and word == "resume":
        state, options = found[1], _options(args, found[1].options)
        left = [host for host in pool.hosts if state.hosts.get(host.uuid, _DONE).phase != states.DONE]
        ha = steps.ha_of(pool) is not None
        ours = [uuid for uuid, host in state.hosts.items() if host.disabled]
        made = runs.look_at_all(pool, left, state.wish, options.pinned, ha, client.patience, ours)
        with client.progress("setup") as progress:
            made = foresee(pool, made, options.pinned, options.allowed, progress.say)
        client.show(_rows(client, made, options.pinned, ha), PLAN)
        _say_of_vms(client, made, options.pinned)
        for blocker in [blocker for one in made for blocker in one.blockers]:
            client.error(blocker)
    about = _summary(client, found[1]) if found else "No setup is under way, and none was left."
    client.say(f"{about} Nothing was changed (--dry-run).")
    return DONE


_DONE = states.HostState(states.DONE)


def resume(client: Client, args: argparse.Namespace) -> int:
    """Options that are typed take the place of those that it was begun with."""

    def changed(state: states.State) -> states.State:
        return runs.to_resume(state)._replace(options=_options(args, state.options))

    keeper = states.go_on(client.pool, undone.who(), changed)
    client.say(_summary(client, keeper.state))
    return _run(client, keeper)


def pause(client: Client, _args: argparse.Namespace) -> int:
    return _halt(client, states.PAUSE, "pauses")


def stop(client: Client, _args: argparse.Namespace) -> int:
    return _halt(client, states.END, "stops")


def _halt(client: Client, how: str, does: str) -> int:
    pool = client.pool
    keys = pool.other_config()
    found = states.read(keys)
    if found is None:
        client.say("No setup is under way, and none was left.")
        return DONE
    if states.is_alive(pool, keys):
        states.ask(pool, how)
        client.say(f"The setup by {found[1].who} {does} when the hosts that it is at are done.")
        return DONE
    status = _run(client, states.go_on(pool, undone.who(), lambda state: state), how)
    if status == DONE:
        client.say(f"The setup by {found[1].who} {does}; nothing is turned off by it any more.")
    return status


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-w",
        "--watch",
        action="store_true",
        default=argparse.SUPPRESS,
        help="with `status`: show it again and again, until Ctrl-C",
    )
    parser.add_argument(
        "hosts",
        nargs="*",
        metavar="|".join(("HOST", *WORDS)),
        help="these hosts (default: all of the pool); or what to do with a setup that was begun",
    )
    what = parser.add_argument_group("what the hosts get")
    what.add_argument("--pf", action="append", metavar="PORT", help="VFs on this port, such as eth1")
    what.add_argument("--network", action="append", metavar="NET", help="VFs on the ports of this network")
    what.add_argument("--count", type=number(0), metavar="N", help="so many VFs on each")
    how = parser.add_argument_group("how (also of resume)")
    plan_option(how, "would be done")
    how.add_argument(
        "--pinned",
        choices=plans.PINNED,
        help="VMs that cannot be moved: stop (the setup does not begin; the default), shutdown (and start "
        "them there again), relocate (to another host, as `sriovctl relocate` does), migrate (move those "
        "with VFs while they run)",
    )
    how.add_argument(
        "--unconfirmed",
        action="store_true",
        help="as of `sriovctl migrate`, for --pinned migrate and relocate",
    )
    how.add_argument("--parallel", type=number(1), metavar="N", help="hosts at a time (default: 1)")
    how.add_argument(
        "--max-unavailable",
        type=number(1),
        metavar="N",
        help="hosts that may be out of service at once, failed ones too (default: as --parallel)",
    )
    how.add_argument(
        "--evacuate-batch-size", type=number(0), metavar="N", help="VMs that a host moves at a time"
    )
    how.add_argument(
        "--reboot-minutes", type=number(0), metavar="N", help="that a host may take (default: 30)"
    )


COMMANDS: List[Command] = [
    Command(
        "setup",
        "make VFs on all hosts, with reboots",
        _arguments,
        setup,
        changes=True,
        workstation=True,
        looks=True,
        columns=_columns,
    )
]
