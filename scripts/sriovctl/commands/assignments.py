"""Commands that show VMs with VFs and what does not fit together, as the master of the pool tells it."""

import argparse
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .. import names, shown
from ..client import Client
from ..command import Command
from ..errors import DONE
from ..output import Column, Record, by_key
from ..pool import Host

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
