"""Commands that show the pool's hosts, ports, VFs, VMs and conflicts, as the plugin tells them."""

import argparse
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from sriovlib.safetext import listed

from .. import names, readiness, shown
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


# -- vms, conflicts ----------------------------------------------------------------------------------------

_STATE_STYLES = {"detached": "warn", "unknown": "warn"}


def _state(row: Record) -> str:
    """Of the VF of a request, as the plugin tells it; `-` where there is none."""
    has_vf = row.get("request") is not None and row.get("vf")
    return str(row.get("state") or "unknown") if has_vf else "-"


VMS = (
    by_key("NAME", "vm_name"),
    by_key("REQUEST", "request"),
    Column("POWER", lambda row: (row.get("power_state") or "").lower()),
    by_key("HOST", "host"),
    by_key("VF", "vf"),
    Column("STATE", lambda row: _state(row), style=lambda row: _STATE_STYLES.get(_state(row), "")),
    Column("MAC", lambda row: row["settings"].get("mac")),
    Column("VLAN", lambda row: row["settings"].get("vlan")),
    by_key("PORTABLE", "portable"),
    by_key("BY", "by", wide=True),
    by_key("VALUE", "value_name", wide=True),
    Column("SETTINGS", lambda row: [f"{name}={text}" for name, text in row["settings"].items()], wide=True),
    Column("DRIVER", lambda row: (row.get("guest") or {}).get("linux_driver"), wide=True),
    Column("WARNINGS", lambda row: len(row["warnings"]), wide=True),
    by_key("UUID", "vm_uuid", wide=True),
)
# of an entry that is not ours
_NO_REQUEST: Record = {
    "request": None,
    "by": None,
    "value": None,
    "settings": {},
    "vf": None,
    "state": None,
    "portable": None,
}


class Asking(NamedTuple):
    """Of which VM, and of VFs of which host; None is any."""

    vm: Optional[names.Vm]
    host: Optional[Host]

    @property
    def no_vfs(self) -> str:
        """Entries by hand are of no host."""
        who, none = (f"VM {self.vm.name}", "no ") if self.vm else ("No VM", "")
        if self.host is None:
            return f"{who} has {none}VFs."
        return f"{who} was given {none}VFs of host {self.host.name}."

    @property
    def no_conflict(self) -> str:
        of = f"Nothing of VM {self.vm.name}" if self.vm else "Nothing"
        return f"{of} is in conflict" + (f" on host {self.host.name}." if self.host else ".")


def _assignments(client: Client, args: argparse.Namespace) -> Tuple[Asking, Dict[str, Any]]:
    vm = names.vm(client.pool, args.vm) if args.vm else None
    host = names.host(client.pool, args.on) if args.on else None
    filters = {**({"vm_uuid": vm.uuid} if vm else {}), **({"host_uuid": host.uuid} if host else {})}
    return Asking(vm, host), client.pool.master("list_assignments", **filters)


def vm_rows(client: Client, vms: Sequence[Record]) -> List[Record]:
    """One a request; one without a request for each VM that has entries by hand only."""
    rows = []
    for vm in vms:
        its_host = vm.get("host_uuid")
        whole = {key: value for key, value in vm.items() if key != "requests"}
        for request in vm.get("requests") or [{**_NO_REQUEST, "vf": vm.get("others")}]:
            rows.append(
                {
                    "host": client.pool.host_name(its_host) if its_host else None,
                    **whole,
                    **request,
                    "value_name": client.pool.called(request.get("by"), request.get("value")),
                }
            )
    return rows


def vms(client: Client, args: argparse.Namespace) -> int:
    asking, answer = _assignments(client, args)
    found = answer.get("vms", [])
    client.show(vm_rows(client, found), VMS, asking.no_vfs)
    for vm in found:
        client.warnings(vm, shown.sentence(vm["vm_name"]))
    return DONE


CONFLICTS = (
    by_key("NAME", "vm_names"),
    by_key("CODE", "code", style=lambda _one: "warn"),
    by_key("HOST", "host"),
    by_key("ADDRESS", "address"),
    by_key("UUIDS", "vm_uuids", wide=True),
)


def conflicts(client: Client, args: argparse.Namespace) -> int:
    """The sentence and the hint of each stand below the table, where messages go."""
    asking, answer = _assignments(client, args)
    vm_names = {vm["vm_uuid"]: vm["vm_name"] for vm in answer.get("vms", [])}
    for uuid in {uuid for one in answer.get("conflicts", []) for uuid in one.get("vm_uuids") or []}:
        if uuid not in vm_names:  # it has no VF of the host that was asked for, or is not the VM
            vm = names.vm_of_uuid(client.pool, uuid)
            vm_names[uuid] = vm.record["name_label"] if vm else uuid
    records = [
        {
            "vm_names": [vm_names[uuid] for uuid in one.get("vm_uuids") or []],
            "host": client.pool.host_name(one["host_uuid"]) if one.get("host_uuid") else None,
            **one,
        }
        for one in answer.get("conflicts", [])
    ]
    client.show(records, CONFLICTS, asking.no_conflict)
    if client.explains:
        for one in records:
            client.say(f"\n{one['code']}: {one['message']}\n  {one['hint']}")
        client.translate(one["hint"] for one in records)
    return DONE


def _assignment_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vm", nargs="?", metavar="VM", help="of this VM (default: all)")
    parser.add_argument("--on", metavar="HOST", help="of VFs on this host")


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
    Command("vms", "VMs with VFs, a row a request", _assignment_filters, vms, looks=True, columns=VMS),
    Command(
        "conflicts",
        "what does not fit together, and what to do",
        _assignment_filters,
        conflicts,
        looks=True,
        columns=CONFLICTS,
    ),
]
