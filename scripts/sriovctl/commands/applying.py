"""`apply`: makes ports and VMs of a pool so as a file says, after a plan of what that changes."""

import argparse
import sys
from typing import Dict, List, Optional, Sequence, TextIO, Tuple

from sriovlib.safetext import plural

from .. import shown, terminal
from ..client import Client
from ..command import Command
from ..desired import act, diff, document, found
from ..desired.diff import Change
from ..desired.document import Document
from ..desired.found import Plan
from ..errors import DONE, FAILED, PARTLY, USAGE, Failed, Usage
from ..output import Record, by_key

Tried = Tuple[Change, Optional[Failed]]  # and why it was not made

_ROUNDS = 10  # of others who change the same VMs at the same time
DIFFERS = 4  # of --check: the pool is not as the file says
_STYLES = {diff.ADD: "good", diff.CHANGE: "warn", diff.REMOVE: "bad"}

CHANGES = (
    by_key("NAME", "name"),
    by_key("ACTION", "action", style=lambda row: _STYLES[row["action"]]),
    by_key("KIND", "kind"),
    by_key("REQUEST", "request"),
    by_key("RESULT", "result"),
    by_key("CHANGE", "change", wide=True),
    by_key("UUID", "vm_uuid", wide=True),
)


def apply(client: Client, args: argparse.Namespace) -> int:
    wanted = _read(client, args.file)
    if wanted is None:
        return USAGE
    plan = found.plan(client.pool, wanted, client.patience)
    for name, failed in plan.failures:
        client.error(failed, name)
    for note in plan.notes:
        client.say(note)
    looks_only = args.dry_run or args.check
    unknown = PARTLY if plan.failures else DONE
    if client.options.output is None:
        client.write(client.for_pool(_text(plan, sys.stdout)))
        client.translate([change.blocked for change in plan.changes], "")
    if looks_only or not plan.changes:
        _show_records(client, plan.changes, [])
        if plan.changes:
            client.say(f"Plan: {diff.summary(plan.changes)}. Nothing was changed.")
            return DIFFERS if args.check else unknown
        client.say(
            "What could be looked at is as the file says."
            if plan.failures
            else "The pool is as the file says."
        )
        return unknown
    return max(unknown, _make(client, wanted, plan))


def _as_it_was_shown(client: Client, wanted: Document, plan: Plan) -> None:
    """While a person reads a plan, somebody else may make it, and a VM would get its VFs twice."""
    client.pool.forget()
    now = found.plan(client.pool, wanted, client.patience)
    if [(one.uuid, diff.line(one)) for one in now.changes] != [
        (one.uuid, diff.line(one)) for one in plan.changes
    ]:
        raise Failed(
            "CHANGED_MEANWHILE",
            "The pool has changed since the plan was made. Nothing was changed.",
            "Call again, and look at the new plan.",
        )


def _make(client: Client, wanted: Document, plan: Plan) -> int:
    if client.options.output is not None and not client.options.yes:
        terminal.tell(sys.stderr, client.for_pool(_text(plan, sys.stderr)))
    if not client.confirm(f"Plan: {diff.summary(plan.changes)}. Go on?"):
        raise Failed("NOT_CONFIRMED", "Nothing was changed.")
    if not client.options.yes:
        _as_it_was_shown(client, wanted, plan)
    tried = _tried(client, plan.changes)
    for _ in range(_ROUNDS if client.options.yes else 0):
        overtaken = {change.uuid for change, failed in tried if failed and failed.code == act.OTHER_REQUESTS}
        if not overtaken:
            break
        client.say(f"{plural(len(overtaken), 'VM')} got other requests meanwhile: looking again.")
        now = _looked_again(client, wanted)
        if now is None:
            break
        tried = [one for one in tried if one[0].uuid not in overtaken or one[1] is None]
        tried += _tried(client, [change for change in now if change.uuid in overtaken])
    for change, failed in tried:
        if failed is not None:
            client.error(failed, diff.sentence(change))
    changes, results = [change for change, _ in tried], [failed for _, failed in tried]
    _show_records(client, changes, results)
    made = results.count(None)
    client.say(_made(made, len(results)) if tried else "The pool is as the file says.")
    return DONE if made == len(results) else PARTLY if made else FAILED


def _looked_again(client: Client, wanted: Document) -> Optional[Sequence[Change]]:
    """What is still to be changed; None: not all could be looked at, and it was said why."""
    client.pool.forget()
    try:
        now = found.plan(client.pool, wanted, client.patience)
    except Failed as failed:
        client.error(failed)
        return None
    for name, why in now.failures:
        client.error(why, name)
    return None if now.failures else now.changes


def _tried(client: Client, changes: Sequence[Change]) -> List[Tried]:
    tried: List[Tried] = []
    with client.progress("Applying") as progress:
        try:
            for change, warnings, failed in act.make(client.pool, changes, client.longest, progress.say):
                tried.append((change, failed))
                if warnings:
                    progress.clear()
                client.warnings({"warnings": warnings}, change.name)
        except KeyboardInterrupt:
            made = sum(failed is None for _, failed in tried)
            client.say(f"\nAt least {_made(made, len(changes))}")
            raise
    return tried


def _made(made: int, of: int) -> str:
    return f"{made} of {plural(of, 'change')} {'was' if made == 1 else 'were'} made."


def _text(plan: Plan, stream: TextIO) -> str:
    """The plan as lines of `+ ~ -`."""
    colour = terminal.paint if terminal.has_colour(stream) else terminal.plain
    lines = []
    for change in plan.changes:
        lines.append(colour(shown.sentence(diff.line(change)), _STYLES[change.action]))
        if change.blocked:
            lines.append(f"  ! {shown.sentence(change.blocked)}")
    return "".join(f"{line}\n" for line in lines)


def _show_records(client: Client, changes: Sequence[Change], results: Sequence[Optional[Failed]]) -> None:
    """For -o: one record a change, whose keys scripts rely on."""
    if client.options.output is None:
        return
    padded = [*results, *[None] * (len(changes) - len(results))]
    records = [_record(one, result, bool(results)) for one, result in zip(changes, padded)]
    client.show(records, CHANGES)


def _record(change: Change, failed: Optional[Failed], made: bool) -> Record:
    error: Optional[Dict[str, str]] = None
    if failed is not None:
        error = {"code": failed.code, "message": failed.message, "hint": failed.hint}
    return {
        "action": change.action,
        "kind": change.kind,
        "name": change.name,
        "vm_uuid": change.uuid,
        "request": change.request,
        "before": change.before,
        "after": change.after,
        "change": diff.line(change),
        "blocked": change.blocked or None,
        "result": None if not made else "failed" if failed else "done",
        "error": error,
    }


def _read(client: Client, file: str) -> Optional[Document]:
    """None where something is wrong with it, all of which is said."""
    try:
        if file == "-":
            name, text = "standard input", sys.stdin.read()
        else:
            with open(file, encoding="utf-8-sig") as opened:  # Windows' editors mark it
                name, text = file, opened.read()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Usage(f"{file} cannot be read: {why}.") from error
    wanted, wrong = document.read(name, text)
    for one in wrong:
        client.error(Failed("BAD_DOCUMENT", f"{one}.", ""))
    return None if wrong else wanted


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="YAML or JSON, see docs/apply.md; `-`: standard input")
    parser.add_argument(
        "--check", action="store_true", help="only tell: exit status 0 as the file says, 4 it is not"
    )


COMMANDS = [
    Command(
        "apply",
        "make ports and VMs so as a file says",
        _arguments,
        apply,
        changes=True,
        columns=CHANGES,
    ),
]
