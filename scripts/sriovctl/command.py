"""What a command is, and the options that families of commands share."""

import argparse
import re
from typing import Callable, NamedTuple, Sequence, Union

from sriovlib.safetext import safe

from .client import Client
from .output import Column

_DAY = 86400.0


class Command(NamedTuple):
    """`name` is typed, `help` is one line. `changes`: it takes --dry-run and --yes. `workstation`: it cannot
    run in dom0. `looks`: it takes --watch. `columns`: of its table, or what tells them by the options; none:
    it shows no table."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Client, argparse.Namespace], int]
    changes: bool = False
    workstation: bool = False
    looks: bool = False
    columns: Union[Sequence[Column], Callable[[argparse.Namespace], Sequence[Column]]] = ()

    def table(self, args: argparse.Namespace) -> Sequence[Column]:
        return self.columns(args) if callable(self.columns) else self.columns


def hosts(parser: argparse.ArgumentParser) -> None:
    text = "these hosts (default: all of the pool)"
    parser.add_argument("hosts", nargs="*", default=[], metavar="HOST", help=text)


def output_file(parser: argparse.ArgumentParser, read: Callable[[str], str], text: str) -> None:
    """`-o` of a command that writes a file, in the place of the format's. `read` takes what was typed."""
    parser.add_argument("-o", "--output", type=read, default=argparse.SUPPRESS, metavar="FILE", help=text)


def plan_option(parser: argparse._ActionsContainer, shows: str) -> None:
    """`--plan`: the word for --dry-run of a command that makes one."""
    parser.add_argument(
        "--plan",
        dest="dry_run",
        action="store_true",
        default=argparse.SUPPRESS,
        help=f"show what {shows}, as --dry-run",
    )


def number(least: int) -> Callable[[str], int]:
    """Reads a number of an option: at least so much, at most 10000."""

    def read(text: str) -> int:
        if not re.fullmatch("[0-9]{1,5}", text) or not least <= int(text) <= 10000:
            raise argparse.ArgumentTypeError(f"`{safe(text)}` is not a number from {least} to 10000")
        return int(text)

    return read


def seconds(least: float, most: float = _DAY) -> Callable[[str], float]:
    """Reads a time of an option: at least so long, and at most."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not least <= value <= most:  # no number of a kind such as `nan` either
            raise argparse.ArgumentTypeError(f"`{safe(text)}` is not {least:g} to {most:g} seconds")
        return value

    return read
