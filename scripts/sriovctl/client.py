"""What a command gets: what was typed, the pool that it is for, and ways to show data and to say things."""

import argparse
import re
import shlex
import sys
from contextlib import AbstractContextManager
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence

from sriovlib.safetext import safe

from . import output, plugin_words, shown, terminal
from .connection import CHANGE_SECONDS, Connection
from .errors import DONE, FAILED, PARTLY, Failed
from .output import Column
from .pool import LOOK_SECONDS, Answer, Host, Pool

Connect = Callable[["Client"], Connection]


class Client:
    """`connect` gives the connection that the options name, at the first use of `pool`."""

    def __init__(self, options: argparse.Namespace, connect: Connect, local: bool) -> None:
        self.options = options
        self.local = local  # in dom0, where nothing reboots a host
        self._connect = connect
        self._pool: Optional[Pool] = None
        self._reach = _reach(options)

    @property
    def pool(self) -> Pool:
        if self._pool is None:
            self._pool = Pool(self._connect(self))
        return self._pool

    @property
    def connected(self) -> bool:
        return self._pool is not None

    @property
    def patience(self) -> float:
        """Seconds that a host may take to answer a question."""
        return float(self.options.timeout or LOOK_SECONDS)

    @property
    def longest(self) -> float:
        """Seconds that any call may take."""
        return float(self.options.timeout or CHANGE_SECONDS)

    @property
    def columns(self) -> List[str]:
        """Those that were asked for; none: the usual ones."""
        return [name for name in (self.options.columns or "").split(",") if name]

    def ask(self, hosts: Iterable[Host], function: str, **args: str) -> List[Answer]:
        return self.pool.ask(hosts, function, self.patience, **args)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.connection.close()
            self._pool = None

    # -- data, on standard output --------------------------------------------------------------------------

    def show(self, records: List[Dict[str, Any]], columns: Sequence[Column], nothing: str = "") -> None:
        """The records as the options want them; `nothing` is said of none at all."""
        options = self.options
        colour = terminal.has_colour(sys.stdout) and self.explains
        form = output.Form(
            options.output,
            self.columns,
            not options.no_headers,
            terminal.width(sys.stdout),
            terminal.paint if colour else terminal.plain,
        )
        self.write(output.text(records, columns, form))
        if not records and nothing:
            self.say(nothing)

    def write(self, text: str) -> None:
        """Raises BrokenPipeError where the reader has enough, and Failed where it cannot be written."""
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:  # a full disk
            terminal.to_nowhere(sys.stdout)
            raise Failed(
                "NOT_WRITTEN",
                f"The output cannot be written: {error.strerror}.",
                "What the command changed is changed: only the output is missing.",
            ) from error

    # -- messages, on standard error -----------------------------------------------------------------------

    @property
    def explains(self) -> bool:
        """Whether a person reads the table, so that sentences follow it."""
        return self.options.output in (None, "wide")

    def say(self, text: str) -> None:
        self._tell("", "", text)

    def warn(self, text: str) -> None:
        self._tell("warning: ", "warn", text)

    def warnings(self, answer: Dict[str, Any], what: str = "") -> None:
        """Those of the plugin's answer; `what` names the object of many."""
        told = answer.get("warnings") or []
        for warning in told:
            self.warn(f"{what}: {warning}" if what else warning)
        self.translate(told, "  ")

    @property
    def dry(self) -> Dict[str, str]:
        """The argument of a call that changes nothing where --dry-run was given."""
        return {"dry_run": "true"} if self.options.dry_run else {}

    def did(self, done: str, would: str) -> None:
        """Says what was done, or with --dry-run what would be: `would` goes on behind that word."""
        self.say(f"Would {would}. Nothing was changed (--dry-run)." if self.options.dry_run else done)

    def error(self, failed: Failed, what: str = "") -> None:
        """Message, hint and code of a failure; `what` names the object of many that it is about."""
        named = not what or failed.message.startswith((f"{what} (", f"{what}:"))
        self._tell("error: ", "bad", failed.message if named else f"{what}: {failed.message}")
        if failed.hint:
            self.say(f"  {failed.hint}")
            self.translate([failed.hint], "  ")
        self._tell(f"  ({safe(failed.code)})", "dim", "")

    def translate(self, sentences: Iterable[str], indent: str = "\n") -> None:
        """Says what the calls that these sentences of the plugin name are in sriovctl."""
        text = plugin_words.legend(sentences)
        if text:
            self.say(indent + text)

    def _tell(self, label: str, style: str, text: str) -> None:
        """Only the label, which is ours, brings the terminal control characters."""
        label = terminal.paint(label, style) if terminal.has_colour(sys.stderr) else label
        terminal.tell(sys.stderr, f"{label}{shown.lines(self.for_pool(text))}\n")

    def for_pool(self, text: str) -> str:
        """The text, with what was typed to reach the pool in each command of ours but `trust ADDRESS`:
        without it, what is pasted would go to another pool."""
        return re.sub("`sriovctl (?!trust )", lambda _: f"`sriovctl {self._reach}", text)

    def confirm(self, question: str) -> bool:
        """Whether to go on: --yes says so, else the person does."""
        if self.options.yes:
            return True
        if self.options.no_input:
            raise Failed(
                "NO_INPUT", f"{question} --no-input forbids to ask.", "Add --yes if that is what you want."
            )
        return terminal.asked(question)

    def progress(self, title: str) -> "AbstractContextManager[terminal.Progress]":
        return terminal.progress(sys.stderr, title)

    # -- many objects --------------------------------------------------------------------------------------

    def each(
        self, objects: Sequence[Any], name: Callable[[Any], str], act: Callable[[Any], Any]
    ) -> "Outcome":
        """Does it for each, one after the other; a failure is said, and the next one is done. The exit status
        tells whether all, some or none went well."""
        done, failed = [], 0
        for one in objects:
            try:
                done.append(act(one))
            except Failed as error:
                self.error(error, name(one))
                failed += 1
        status = DONE if not failed else PARTLY if done else FAILED
        return Outcome(done, status)


def _reach(options: argparse.Namespace) -> str:
    """Its options that say which pool is meant, and how to log in there, with a blank behind each."""
    words: List[str] = []
    for name in ("pool", "host", "user", "password_file", "ca_file"):
        if getattr(options, name) not in (None, "-"):
            words += [f"--{name.replace('_', '-')}", getattr(options, name)]
    for one in options.fingerprint or []:
        words += ["--fingerprint", one]
    words += ["--insecure"] if options.insecure else []
    return "".join(f"{shlex.quote(word)} " for word in words)


class Outcome(NamedTuple):
    results: List[Any]
    status: int
