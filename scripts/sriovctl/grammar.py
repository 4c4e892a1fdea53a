"""The one grammar of sriovctl: its commands, and the options that all have. Man page and completion are made
of it."""

import argparse
import sys
from typing import Any, Dict, Iterable, List, NoReturn, Optional, Sequence

from sriovlib import VERSION

from .command import Command, seconds
from .commands import (
    access,
    applying,
    assignments,
    changing,
    doctor,
    evacuating,
    explain,
    guest,
    installing,
    looking,
    map,
    metrics,
    migrating,
    moving,
    setup,
    waiting,
)
from .errors import USAGE
from .output import FORMATS

COMMANDS: List[Command] = [
    *looking.COMMANDS,
    *assignments.COMMANDS,
    *map.COMMANDS,
    *metrics.COMMANDS,
    *explain.COMMANDS,
    *guest.COMMANDS,
    *doctor.COMMANDS,
    *changing.COMMANDS,
    *moving.COMMANDS,
    *migrating.COMMANDS,
    *evacuating.COMMANDS,
    *applying.COMMANDS,
    *waiting.COMMANDS,
    *installing.COMMANDS,
    *setup.COMMANDS,
    *access.COMMANDS,
]
DEFAULTS: Dict[str, Any] = {
    "pool": None,
    "host": None,
    "user": None,
    "password_file": None,
    "fingerprint": None,
    "ca_file": None,
    "insecure": False,
    "timeout": None,
    "output": None,
    "columns": None,
    "no_headers": False,
    "no_input": False,
    "watch": False,
    "interval": 2.0,
    "dry_run": False,
    "yes": False,
}
DESCRIPTION = "SR-IOV of a XenServer or XCP-ng pool: see it, set it up, give its VFs to VMs."
EPILOG = (
    "Exit status: 0 done or already so, 1 failed, 2 not understood, 4 partly done. "
    "`sriovctl COMMAND --help` tells of one command."
)


class Formatter(argparse.HelpFormatter):
    """Its usage is what must be typed: options that may be are many, and --help lists them below."""

    def add_usage(
        self,
        usage: Optional[str],
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: Optional[str] = None,
    ) -> None:
        self._prog += " [OPTION]..."
        needed = [group for group in groups if group.required]
        either = [action for group in needed for action in group._group_actions]
        shown = [one for one in actions if one.required or not one.option_strings or one in either]
        super().add_usage(usage, shown, needed, prefix)


class Parser(argparse.ArgumentParser):
    """Refuses options that are cut short: a script would break when a longer one is added."""

    _typed: Sequence[str] = ()

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=Formatter, **settings)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._typed = args or ()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """A word that is mistyped is named before what is missing without it."""
        if message.endswith("is required") or "are required:" in message:
            message = not_understood(self, self._unknown("--")) or message
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"error: {message}\n  `{self.prog} --help` lists what there is.\n")

    def _unknown(self, end: str) -> List[str]:
        """The options that were typed before this word and are none."""
        typed = [*self._typed, end]
        words = [one for one in typed[: typed.index(end)] if one.startswith("--") and " " not in one]
        return [one for one in words if one.split("=")[0] not in self._option_string_actions]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            options = not_understood(self, self._unknown(value))
            no_command = f"There is no command `{value}`.{_meant(value, action.choices, 0.7)}"
            raise argparse.ArgumentError(None, options or no_command)
        super()._check_value(action, value)


def not_understood(own: argparse.ArgumentParser, words: Sequence[str]) -> str:
    """The sentence that says so of these words; empty where there are none."""
    if not words:
        return ""
    options = [word.split("=")[0] for word in words if word.startswith("--")]
    meant = [_meant(one, own._option_string_actions, 0.8) for one in options]
    return f"`{' '.join(words)}` is not understood here.{''.join(meant)}"


def _meant(word: str, known: Iterable[str], likeness: float) -> str:
    """Which of these may be meant, as one more sentence; empty where none is like the word."""
    import difflib  # hardly ever wanted

    return "".join(f" Is `{one}` meant?" for one in difflib.get_close_matches(word, known, 1, likeness))


class NoPassword(argparse.Action):
    """--password is tried by everybody once, and deserves an answer."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        parser.error(
            "a password is no argument: every user of this machine sees the arguments of all processes, and "
            "the shell keeps them. Use --password-file FILE, SRIOVCTL_PASSWORD, or the prompt."
        )


def parser(words: Optional[Sequence[str]] = None) -> Parser:
    """Of all commands. Of those that are not among `words`, if any are given, it has the name and the line of
    help alone, and a line of such words needs no more: their options take four times as long as the rest."""
    whole = Parser(prog="sriovctl", description=DESCRIPTION, epilog=EPILOG, parents=[_common()])
    whole.add_argument("--version", action="version", version=f"sriovctl {VERSION}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", prog="sriovctl")
    commands.required = True
    for command in COMMANDS:
        if words is not None and command.name not in words:
            commands.add_parser(command.name, help=command.help, add_help=False)
            continue
        parents = [
            _common(has_table=bool(command.columns)),
            *([_changes()] if command.changes else []),
            *([_looks()] if command.looks else []),
        ]
        one = commands.add_parser(
            command.name,
            help=command.help,
            description=_sentence(command),
            parents=parents,
            conflict_handler="resolve",  # a command may say more of an option that all have
        )
        common = list(one._action_groups)
        command.arguments(one)
        one._action_groups.sort(key=lambda group: group in common[2:])  # its own come first
    return whole


def read(argv: List[str]) -> argparse.Namespace:
    """What was typed; ends with exit status 2 where it is not understood. No word may be empty: it is a
    variable of a script that is not set, and would be taken for an option that was left out."""
    whole = parser(argv)
    if not argv:
        whole.print_help(sys.stderr)
        whole.exit(USAGE)
    args: argparse.Namespace
    args, unknown = whole.parse_known_args(argv, argparse.Namespace(**DEFAULTS))
    if unknown:
        own = own_parser(whole, args.command)
        own.error(not_understood(own, unknown))
    for name, value in vars(args).items():
        if "" in (value if isinstance(value, list) else [value]):
            own = own_parser(whole, args.command)
            own.error(f"{_as_typed(own, name)} is empty: is a variable not set?")
    return args


def _as_typed(own: argparse.ArgumentParser, name: str) -> str:
    """The argument that has this name in what was read, as usage and help show it."""
    one = next(action for action in own._actions if action.dest == name)
    return one.option_strings[-1] if one.option_strings else str(one.metavar or name)


def own_parser(whole: argparse.ArgumentParser, name: str) -> argparse.ArgumentParser:
    """That of a command."""
    (commands,) = (one for one in whole._actions if isinstance(one, argparse._SubParsersAction))
    found: argparse.ArgumentParser = commands.choices[name]
    return found


def command(name: str) -> Command:
    return next(one for one in COMMANDS if one.name == name)


def _sentence(command: Command) -> str:
    text = command.help[:1].upper() + command.help[1:] + "."
    return text + (" It runs on a workstation, not in dom0." if command.workstation else "")


def shared() -> List[argparse.Action]:
    """The options that commands have in common."""
    return [action for part in (_common(), _changes(), _looks()) for action in part._actions]


def _common(has_table: bool = True) -> Parser:
    """Before the command or behind it. Without defaults, as those of the command would undo what stands
    before it. `has_table`: of a command that shows none, help does not name what is about tables."""

    def of_table(text: str) -> str:
        return text if has_table else argparse.SUPPRESS

    part = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    reach = part.add_argument_group("the pool (in dom0: this host's)")
    reach.add_argument("--pool", metavar="NAME", help="a pool of the configuration file")
    reach.add_argument("--host", metavar="ADDRESS", help="the pool's master, or any of its hosts")
    reach.add_argument("--user", metavar="USER", help="who logs in (default: root)")
    reach.add_argument("--password-file", metavar="FILE", help="has the password; `-` is standard input")
    reach.add_argument("--password", nargs="?", action=NoPassword, help=argparse.SUPPRESS)
    reach.add_argument(
        "--fingerprint", action="append", metavar="SHA256", help="take only a certificate that has it"
    )
    reach.add_argument("--ca-file", metavar="FILE", help="certificates of the CAs to verify by, in PEM")
    reach.add_argument("--insecure", action="store_true", help="take any certificate for the pool's")
    reach.add_argument(
        "--timeout",
        type=seconds(0.1),
        metavar="SECONDS",
        help="that a host may take to answer (default: 30 for a question, 300 for a change)",
    )
    shown = part.add_argument_group("output")
    shown.add_argument("-o", "--output", choices=FORMATS, help=of_table("instead of a table"))
    shown.add_argument("--columns", metavar="A,B,...", help=of_table("these columns, in this order"))
    shown.add_argument("--no-headers", action="store_true", help=of_table("a table without its first line"))
    shown.add_argument(
        "--no-input", action="store_true", help="ask nothing: fail where something must be asked"
    )
    return part


def _changes() -> Parser:
    part = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = part.add_argument_group("care")
    group.add_argument("--dry-run", action="store_true", help="say what would be changed, and change nothing")
    group.add_argument("-y", "--yes", action="store_true", help="do not ask")
    return part


def _looks() -> Parser:
    part = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    part.add_argument("-w", "--watch", action="store_true", help="show it again and again, until Ctrl-C")
    part.add_argument(
        "--interval",
        type=seconds(0.1),
        metavar="SECONDS",
        help="from one look of --watch to the next (default: 2)",
    )
    return part
