"""Commands that show the pool's hosts, ports and VFs, as the plugin of each host tells them."""

import argparse
from functools import partial
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from sriovlib.safetext import listed

from .. import names, readiness
from ..client import Client
from ..command import Command, hosts
from ..errors import DONE, FAILED, PARTLY, Failed, Usage
from ..output import Column, Record, by_key
from ..pool import Answer, Host

VF_STATES = ("free", "assigned", "in-use", "dom0", "reserved", "unknown")
_STYLES = {"free": "good", "assigned": "warn", "in-use": "warn", "dom0": "dim", "reserved": "dim"}


def status_of(answers: Sequence[Answer]) -> int:
    failed = sum(1 for answer in answers if answer.error)
    return DONE if not failed else FAILED if failed == len(answers) else PARTLY


def _nothing(text: str, answers: Sequence[Answer]) -> str:
    """What is said of no rows, by the hosts that answered: of the others nothing is known."""
    told = [answer.host.name for answer in answers if answer.error is None]
    return f"{text} on {listed(told)}." if told else ""


def say_failures(client: Client, answers: Sequence[Answer]) -> int:
    """Says which hosts did not answer and why; the exit status."""
    for answer in answers:
        if answer.error:
            client.error(answer.error, answer.host.name)
    return status_of(answers)


def once(answers: Sequence[Answer]) -> List[Answer]:
    """One answer a host: two that failed did so for the same reason."""
    found = {answer.host.uuid: answer for answer in reversed(answers) if answer.error is None}
    found.update({answer.host.uuid: answer for answer in reversed(answers) if answer.error})
    return [found.pop(answer.host.uuid) for answer in answers if answer.host.uuid in found]


class Asked(NamedTuple):
    """What the pool answered, all of which was asked at once."""

    of_hosts: List[Tuple[Host, Dict[str, Answer]]]  # by function
    assignments: Answer  # the master's, to list_assignments

    @property
    def answers(self) -> List[Answer]:
        return [
            *(answer for _, by_function in self.of_hosts for answer in by_function.values()),
            self.assignments,
        ]


def ask_pool(client: Client, hosts_asked: Sequence[Host], functions: Sequence[str]) -> Asked:
    """These functions of each of these hosts, and `list_assignments`."""
    pool = client.pool
    questions = [(host, function) for host in hosts_asked for function in functions]
    questions.append((pool.master_host, "list_assignments"))
    calls = [(host, partial(pool.plugin, host, function)) for host, function in questions]
    *of_hosts, assignments = pool.together(calls, client.patience)
    coming = iter(of_hosts)
    return Asked([(host, {one: next(coming) for one in functions}) for host in hosts_asked], assignments)


# -- status ------------------------------------------------------------------------------------------------


def _state_style(record: Record) -> str:
    return "good" if record["state"] == readiness.READY else "bad" if record["error"] else "warn"


def _shown_vfs(record: Record) -> Optional[str]:
    vfs = record.get("vfs")
    return None if not vfs else f"{vfs.get('free')}/{vfs.get('total')}"


def _shown_ports(record: Record) -> Optional[str]:
    pfs = record.get("pfs")
    return None if pfs is None else f"{sum(1 for pf in pfs if pf.get('actual'))}/{len(pfs)}"


STATUS = (
    by_key("NAME", "host"),
    by_key("STATE", "state", style=_state_style),
    Column("IOMMU", lambda record: None if record["error"] else readiness.iommu(record)),
    Column("PCIBACK", lambda record: (record.get("pciback") or {}).get("loaded")),
    Column("PORTS", _shown_ports),
    Column("VFS", _shown_vfs),
    Column("DRIFT", lambda record: None if record["error"] else readiness.drifted(record)),
    Column("PROBLEMS", lambda record: len(troubles(record)) if "problems" in record else None),
    by_key("MASTER", "master", wide=True),
    by_key("ENABLED", "enabled", wide=True),
    by_key("VERSION", "version", wide=True),
    Column("PLATFORM", lambda record: (record.get("platform") or {}).get("version"), wide=True),
    Column("CODES", lambda record: [one["code"] for one in troubles(record)], wide=True),
)


def troubles(record: Record) -> List[Record]:
    """The problems of a host or port that somebody should mend."""
    return [one for one in record.get("problems") or [] if one["code"] not in readiness.EXPECTED]


def host_record(answer: Answer) -> Record:
    """What `status` and `doctor` show of a host: the plugin's answer, with the host's name and state."""
    host, value = answer.host, answer.value if isinstance(answer.value, dict) else {}
    return {
        **host.row,
        "master": host.master,
        "enabled": host.enabled,
        "live": host.live,
        "state": no_answer(answer.error) if answer.error else readiness.state(value),
        "error": answer.error.message if answer.error else None,
        **value,
    }


def no_answer(failed: Failed) -> str:
    return "no-plugin" if failed.code == "XENAPI_MISSING_PLUGIN" else "no-answer"


def status(client: Client, args: argparse.Namespace) -> int:
    answers = client.ask(names.hosts(client.pool, args.hosts), "status")
    client.show([host_record(answer) for answer in answers], STATUS, "The pool has no host.")
    return say_failures(client, answers)


# -- pfs, vfs ----------------------------------------------------------------------------------------------


def port_name(host: Host, pf: Record) -> str:
    return f"{host.name}/{pf.get('interface') or pf.get('address')}"


def vf_name(host: Host, vf: Record) -> str:
    """`HOST/eth1:3`; where dom0 cannot tell the port, `HOST/ADDRESS`."""
    if vf.get("interface"):
        return f"{host.name}/{vf['interface']}:{vf['index']}"
    return f"{host.name}/{vf['address']}"


def _rows(client: Client, answers: Sequence[Answer], name: Callable[[Host, Record], str]) -> Iterator[Record]:
    """A row for each port or VF of the answers, with the names of its host and network."""
    for answer in answers:
        for one in answer.value or []:
            network = client.pool.by_uuid("network").get(one.get("network")) or {}
            yield {
                **answer.host.row,
                "name": name(answer.host, one),
                "network_name": network.get("name_label", one.get("network")),
                **one,
            }


def _link(pf: Record) -> Optional[str]:
    up = pf.get("link_up")
    return None if up is None else "up" if up else "down"


PFS = (
    by_key("NAME", "name"),
    by_key("NETWORK", "bridge"),
    by_key("DRIVER", "driver"),
    Column("VFS", lambda pf: f"{pf.get('num_vfs')}/{pf.get('total_vfs')}"),
    by_key("FREE", "free_vfs"),
    Column("LINK", _link),
    Column("USE", lambda pf: "management" if pf.get("management") else pf.get("managed_by")),
    Column("PROBLEMS", lambda pf: len(troubles(pf))),
    by_key("NETWORKNAME", "network_name", wide=True),
    by_key("ADDRESS", "address", wide=True),
    by_key("CONFIGURED", "configured_vfs", wide=True),
    by_key("SPEED", "speed", wide=True),
    by_key("NUMA", "numa_node", wide=True),
    by_key("MAC", "mac", wide=True),
    Column("DEVICE", lambda pf: f"{pf.get('vendor_id')}:{pf.get('device_id')}", wide=True),
    by_key("DESCRIPTION", "description", wide=True),
)


def pfs(client: Client, args: argparse.Namespace) -> int:
    answers = client.ask(names.hosts(client.pool, args.hosts), "list_pfs")
    networks = client.pool.by_uuid("network")
    records = [
        {"bridge": networks.get(row.get("network") or "", {}).get("bridge"), **row}
        for row in _rows(client, answers, port_name)
    ]
    client.show(records, PFS, _nothing("There is no SR-IOV capable device", answers))
    return say_failures(client, answers)


def _vf_style(record: Record) -> str:
    return _STYLES.get(record.get("state") or "", "bad")


VFS = (
    by_key("NAME", "name"),
    by_key("ADDRESS", "address"),
    Column("STATE", lambda vf: vf.get("state") or "unknown", style=_vf_style),
    Column("VM", lambda vf: (vf.get("assigned_to") or {}).get("vm_name")),
    by_key("MAC", "mac"),
    by_key("VLAN", "vlan"),
    by_key("NETWORK", "network_name", wide=True),
    by_key("DRIVER", "driver", wide=True),
    by_key("NUMA", "numa_node", wide=True),
    by_key("TRUST", "trust", wide=True),
    by_key("SPOOFCHK", "spoof_check", wide=True),
    by_key("LINK", "link_state", wide=True),
    by_key("MAXRATE", "max_tx_rate", wide=True),
    Column("DEVICE", lambda vf: f"{vf.get('vendor_id')}:{vf.get('device_id')}", wide=True),
)


def vfs(client: Client, args: argparse.Namespace) -> int:
    pool, filters = client.pool, {}
    asked = names.hosts(pool, args.hosts)
    if args.network:
        filters["network"] = names.network(pool, args.network).uuid
    if args.vm:
        filters["vm_uuid"] = names.vm(pool, args.vm).uuid
    if args.port:
        port = names.port(pool, args.port)
        if args.hosts and port.host not in asked:
            raise Usage(
                f"Port {port} is not on {', '.join(host.name for host in asked)}.", "Leave the hosts out."
            )
        asked, filters["pf"] = [port.host], port.pf
    wanted = "free" if args.free else args.state
    if wanted and wanted != "unknown":
        filters["state"] = wanted
    answers = client.ask(asked, "list_vfs", **filters)
    records = [
        row for row in _rows(client, answers, vf_name) if wanted != "unknown" or row.get("state") is None
    ]
    has_none = "There is no such VF" if filters or wanted else "There is no VF"
    client.show(records, VFS, _nothing(has_none, answers))
    return say_failures(client, answers)


def _vfs_arguments(parser: argparse.ArgumentParser) -> None:
    hosts(parser)
    parser.add_argument("--network", metavar="NET", help="VFs of ports in this network")
    parser.add_argument("--port", metavar="HOST/PORT", help="VFs of this port")
    parser.add_argument("--vm", metavar="VM", help="VFs of this VM")
    state = parser.add_mutually_exclusive_group()
    state.add_argument("--free", action="store_true", help="VFs that nobody has")
    state.add_argument("--state", choices=VF_STATES, help="VFs in this state")


COMMANDS = [
    Command(
        "status",
        "the pool at a glance: what each host has, and lacks",
        hosts,
        status,
        looks=True,
        columns=STATUS,
    ),
    Command("pfs", "SR-IOV capable ports (physical functions)", hosts, pfs, looks=True, columns=PFS),
    Command("vfs", "virtual functions and who has them", _vfs_arguments, vfs, looks=True, columns=VFS),
]
