"""`metrics`: the pool's hosts, ports, VFs and conflicts for Prometheus."""

import argparse
from functools import partial

from .. import exposition, names
from ..client import Client
from ..command import Command, hosts
from ..exposition import Told
from . import looking

QUESTIONS = ("status", "list_pfs", "list_vfs")


def run(client: Client, args: argparse.Namespace) -> int:
    """All that is asked is asked at once."""
    pool = client.pool
    asked = names.hosts(pool, args.hosts)
    questions = [(host, function) for function in QUESTIONS for host in asked]
    questions.append((pool.master_host, "list_assignments"))
    calls = [(host, partial(pool.plugin, host, function)) for host, function in questions]
    *of_hosts, assignments = pool.together(calls, client.patience)
    number = len(asked)
    told = [
        Told(
            host.name,
            of_hosts[place].value,
            of_hosts[place + number].value,
            of_hosts[place + 2 * number].value,
        )
        for place, host in enumerate(asked)
    ]
    networks = {one.uuid: one.name for one in names.networks(pool)}
    its_hosts = {host.uuid: host.name for host in pool.hosts}
    client.write(exposition.text(told, assignments.value, networks, its_hosts))
    return looking.say_failures(client, looking.once([*of_hosts, assignments]))


COMMANDS = [Command("metrics", "the pool as gauges for Prometheus (OpenMetrics)", hosts, run)]
