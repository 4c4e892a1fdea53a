"""`map`: the pool as a picture, in the terminal or in one HTML or SVG file."""

import argparse
import sys
import time
from typing import Optional, Sequence

from sriovlib import VERSION
from sriovlib.safetext import safe

from .. import files, names, terminal
from ..client import Client
from ..command import Command, hosts, output_file
from ..errors import Failed
from ..output import FORMATS, Column, Record, by_key
from ..picture import look, model
from ..picture.model import Failure, Heard, Picture
from . import looking
from .looking import Asked

WIDTH = 80  # where nobody looks at a terminal
QUESTIONS = ("list_pfs", "list_vfs")
_SUFFIXES = (".html", ".svg")


def picture(client: Client, seen: Asked) -> Picture:
    """`seen`: of these QUESTIONS."""
    heard = [
        Heard(
            host.uuid,
            host.name,
            host.master,
            host.enabled,
            told["list_pfs"].value,
            told["list_vfs"].value,
            _failure(told["list_pfs"].error or told["list_vfs"].error),
        )
        for host, told in seen.of_hosts
    ]
    networks = {one.uuid: one.name for one in names.networks(client.pool)}
    assignments, failure = seen.assignments.value, _failure(seen.assignments.error)
    return model.picture(client.pool.name, heard, assignments, networks, failure)


def _failure(error: Optional[Failed]) -> Optional[Failure]:
    return Failure(error.code, error.message, error.hint) if error else None


def _count(state: Optional[str]) -> Column:
    def cell(record: Record) -> Optional[int]:
        ports = [port for node in record["nodes"] for port in node["ports"]]
        if record["error"] or any(port["vfs"] is None for port in ports):
            return None
        return sum(1 for port in ports for vf in port["vfs"] if vf["state"] == state)

    return Column(look.LOOKS[state].words.upper().replace(" ", "-"), cell)


COLUMNS = (
    by_key("NAME", "host"),
    Column("NODES", lambda record: None if record["error"] else len(record["nodes"])),
    Column(
        "PORTS", lambda record: None if record["error"] else sum(len(one["ports"]) for one in record["nodes"])
    ),
    *map(_count, model.STATES),
    Column("VMS", lambda record: len(record["vms"])),
)


def _columns(args: argparse.Namespace) -> Sequence[Column]:
    return COLUMNS if args.output in FORMATS else ()


def run(client: Client, args: argparse.Namespace) -> int:
    seen = looking.ask_pool(client, names.hosts(client.pool, args.hosts), QUESTIONS)
    whole = picture(client, seen)
    if args.output in FORMATS:
        client.show(model.records(whole), COLUMNS)
        return looking.say_failures(client, looking.once(seen.answers))
    from ..picture import html, svg  # other commands have no use for them
    from ..picture import terminal as drawn

    if args.output is None:  # the picture says what did not answer
        width = terminal.width(sys.stdout) or WIDTH
        client.write(client.for_pool(drawn.text(whole, width, terminal.has_colour(sys.stdout))))
        return looking.status_of(seen.answers)
    draw = html.text if args.output.lower().endswith(".html") else svg.text
    made = time.strftime("Drawn on %Y-%m-%d at %H:%M UTC", time.gmtime())
    files.write_output(args.output, draw(whole, f"{made} by sriovctl {VERSION}."))
    client.say(f"{args.output}: {look.total(whole)}")
    return looking.say_failures(client, looking.once(seen.answers))


def _output(typed: str) -> str:
    if typed in FORMATS or typed.lower().endswith(_SUFFIXES):
        return typed
    files = " or ".join(_SUFFIXES)
    raise argparse.ArgumentTypeError(
        f"`{safe(typed)}` is neither a file that ends with {files} nor one of {', '.join(FORMATS)}"
    )


def _arguments(parser: argparse.ArgumentParser) -> None:
    hosts(parser)
    text = f"write the picture to this file, `.html` or `.svg`; or one of {', '.join(FORMATS)}"
    output_file(parser, _output, text)


COMMANDS = [
    Command(
        "map",
        "a picture of the pool: hosts, ports, VFs and who has them",
        _arguments,
        run,
        looks=True,
        columns=_columns,
    )
]
