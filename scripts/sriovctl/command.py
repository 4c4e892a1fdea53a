"""What a command is, and the options that families of commands share."""

import argparse
from typing import Callable, NamedTuple

from .client import Client


class Command(NamedTuple):
    """`name` is typed, `help` is one line. `changes`: it takes --dry-run and --yes. `workstation`: it cannot
    run in dom0. `looks`: it takes --watch."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Client, argparse.Namespace], int]
    changes: bool = False
    workstation: bool = False
    looks: bool = False


def hosts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("hosts", nargs="*", metavar="HOST", help="these hosts (default: all of the pool)")
