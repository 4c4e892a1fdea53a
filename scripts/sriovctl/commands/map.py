"""`map`: the pool as a picture, in the terminal or in one HTML or SVG file."""

import argparse
import sys
import time
from functools import partial
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
from ..pool import Answer, Host
from . import looking

WIDTH = 80  # where nobody looks at a terminal
_SUFFIXES = (".html", ".svg")


def seen(client: Client, asked: Sequence[Host]) -> Sequence[Answer]:
    """What `list_pfs` and `list_vfs` of each host answered, and at the end the master's `list_assignments`.
    All are asked at once."""
    pool = client.pool
    questions = [(host, function) for function in ("list_pfs", "list_vfs") for host in asked]
    questions.append((pool.master_host, "list_assignments"))
    calls = [(host, partial(pool.plugin, host, function)) for host, function in questions]
    return pool.together(calls, client.patience)


def picture(client: Client, answers: Sequence[Answer]) -> Picture:
    """`answers`: as `seen` has them."""
    *of_hosts, assignments = answers
    number = len(of_hosts) // 2
    heard = [
        Heard(
            pfs.host.uuid,
            pfs.host.name,
            pfs.host.master,
            pfs.host.enabled,
            pfs.value,
            vfs.value,
            _failure(pfs.error or vfs.error),
        )
        for pfs, vfs in zip(of_hosts[:number], of_hosts[number:])
    ]
    networks = {one.uuid: one.name for one in names.networks(client.pool)}
    return model.picture(client.pool.name, heard, assignments.value, networks, _failure(assignments.error))


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
    answers = seen(client, names.hosts(client.pool, args.hosts))
    whole = picture(client, answers)
    if args.output in FORMATS:
        client.show(model.records(whole), COLUMNS)
        return looking.say_failures(client, looking.once(answers))
    from ..picture import html, svg  # other commands have no use for them
    from ..picture import terminal as drawn

    if args.output is None:  # the picture says what did not answer
        width = terminal.width(sys.stdout) or WIDTH
        client.write(drawn.text(whole, width, terminal.has_colour(sys.stdout)))
        return looking.status_of(answers)
    draw = html.text if args.output.lower().endswith(".html") else svg.text
    made = time.strftime("Drawn on %Y-%m-%d at %H:%M UTC", time.gmtime())
    files.write_output(args.output, draw(whole, f"{made} by sriovctl {VERSION}."))
    client.say(f"{args.output}: {look.total(whole)}")
    return looking.say_failures(client, looking.once(answers))


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
