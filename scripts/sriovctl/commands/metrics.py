"""`metrics`: the pool's hosts, ports, VFs and conflicts for Prometheus."""

import argparse
from collections import Counter
from typing import Dict

from sriovlib.safetext import safe

from .. import exposition, files, names
from ..client import Client
from ..command import Command, hosts, output_file
from ..exposition import Told
from ..pool import Pool
from . import looking

SUFFIX = ".prom"
QUESTIONS = ("status", "list_pfs", "list_vfs")  # in the order of exposition.Told


def run(client: Client, args: argparse.Namespace) -> int:
    pool = client.pool
    seen = looking.ask_pool(client, names.hosts(pool, args.hosts), QUESTIONS)
    host_names = _host_names(pool)
    told = [
        Told(host_names[host.uuid], *(answers[function].value for function in QUESTIONS))
        for host, answers in seen.of_hosts
    ]
    networks = {one.uuid: one.name for one in names.networks(pool)}
    text = exposition.text(pool.name, told, seen.assignments.value, networks, host_names)
    if args.output is None:
        client.write(text)
    else:
        files.write_output(args.output, text)
    return looking.say_failures(client, looking.once(seen.answers))


def _host_names(pool: Pool) -> Dict[str, str]:
    """By UUID. Hosts may have one name, and of two samples with the same labels Prometheus takes none."""
    shared = Counter(host.name for host in pool.hosts)
    return {
        host.uuid: f"{host.name} ({host.uuid})" if shared[host.name] > 1 else host.name for host in pool.hosts
    }


def _output(typed: str) -> str:
    if typed.endswith(SUFFIX):
        return typed
    raise argparse.ArgumentTypeError(
        f"`{safe(typed)}` does not end with {SUFFIX}: node_exporter's textfile collector reads no other files"
    )


def _arguments(parser: argparse.ArgumentParser) -> None:
    hosts(parser)
    text = f"write them to this file, `{SUFFIX}`, for node_exporter's textfile collector"
    output_file(parser, _output, text)


COMMANDS = [Command("metrics", "the pool as gauges for Prometheus (OpenMetrics)", _arguments, run)]
