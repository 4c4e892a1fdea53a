"""What a command is, and the options that families of commands share."""

import argparse
from typing import Callable, NamedTuple, Sequence

from sriovlib.safetext import safe

from .client import Client
from .output import Column

_DAY = 86400.0


class Command(NamedTuple):
    """`name` is typed, `help` is one line. `changes`: it takes --dry-run and --yes. `workstation`: it cannot
    run in dom0. `looks`: it takes --watch. `columns`: of the table that it shows with these options; none:
    it shows no table."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Client, argparse.Namespace], int]
    changes: bool = False
    workstation: bool = False
    looks: bool = False
    columns: Callable[[argparse.Namespace], Sequence[Column]] = lambda _: ()


def hosts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("hosts", nargs="*", metavar="HOST", help="these hosts (default: all of the pool)")


def seconds(least: float) -> Callable[[str], float]:
    """Reads a time of an option: at least so long, at most a day."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not least <= value <= _DAY:  # no number of a kind such as `nan` either
            raise argparse.ArgumentTypeError(f"`{safe(text)}` is not {least:g} to {_DAY:g} seconds")
        return value

    return read
