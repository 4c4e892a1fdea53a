"""explain: why a VM has its VFs, or cannot have them, on each host of the pool."""

import argparse
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from sriovlib.safetext import listed

from .. import names
from ..client import Client
from ..command import Command
from ..errors import DONE, Failed
from ..names import Vm
from ..output import Column, Record, by_key
from ..pool import Host


class Verdict(NamedTuple):
    """On one host: `can` start there with its VFs (None: not known), and the sentences that say why."""

    host: Host
    can: Optional[bool]
    why: Sequence[str]


EXPLAINED = (
    by_key("NAME", "host"),
    Column(
        "CAN", lambda row: row["can"], style=lambda row: {True: "good", False: "bad"}.get(row["can"], "warn")
    ),
    by_key("HAS", "vfs"),
)


def explain(client: Client, args: argparse.Namespace) -> int:
    vm = names.vm(client.pool, args.vm)
    answer: Dict[str, Any] = client.pool.master("list_assignments", vm_uuid=vm.uuid)
    (row,) = answer["vms"] or [None]
    requests = row["requests"] if row else []
    told = client.pool.at_once(
        client.pool.hosts, lambda host: verdict(client, vm, host, requests), client.patience
    )
    verdicts = [
        one.value or Verdict(one.host, None, [one.error.message if one.error else "?"]) for one in told
    ]
    has = {row["host_uuid"]: [request["vf"] for request in requests]} if row else {}
    records = [
        {
            "host": one.host.name,
            "host_uuid": one.host.uuid,
            "can": one.can,
            "vfs": has.get(one.host.uuid),
            "why": one.why,
        }
        for one in verdicts
    ]
    client.show(records, EXPLAINED)
    if client.explains:
        _say(client, vm, row, verdicts, answer["conflicts"])
    return DONE


def _say(
    client: Client, vm: Vm, row: Optional[Record], verdicts: Sequence[Verdict], conflicts: Sequence[Record]
) -> None:
    if not (row and row["requests"]):
        other = f" Its entries `{row['pci']}` are not ours." if row and row["pci"] else ""
        client.say(f"VM {vm.name} asks for no VF.{other} `sriovctl assign {vm.name}` gives it one.")
    for request in row["requests"] if row else []:
        shown = client.pool.called(request["by"], request["value"])
        client.say(f"Request {request['request']}: a VF by {request['by']} {shown}.")
    for one in verdicts:
        for sentence in one.why:
            client.say(f"{one.host.name}: {sentence}")
    for conflict in conflicts:
        client.say(f"{conflict['code']}: {conflict['message']}\n  {conflict['hint']}")
    client.warnings(row or {})


def verdict(client: Client, vm: Vm, host: Host, requests: Sequence[Record]) -> Verdict:
    """xapi says whether the VM can boot there, and the plugin which VFs it would get."""
    why: List[str] = []
    can: Optional[bool] = True
    if vm.record["power_state"] == "Halted":
        try:
            client.pool.call("VM.assert_can_boot_here", vm.ref, host.ref)
        except Failed as failed:
            can = False
            why.append(f"xapi does not start the VM here: {failed}")
    if not requests:
        return Verdict(host, can, why)
    try:
        answer = client.pool.master("reinstate_vfs", vm_uuid=vm.uuid, host_uuid=host.uuid, dry_run="true")
    except Failed as failed:
        unknown = failed.code in ("SRIOV_VM_NOT_HALTED", "SRIOV_BUSY")
        return Verdict(host, None if unknown and can else False, [*why, str(failed)])
    vfs = listed([f"{one['vf']} for request {one['request']}" for one in answer["vfs"]])
    return Verdict(host, can, [*why, f"It has the VFs: {vfs}.", *answer["warnings"]])


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vm", metavar="VM", help="the VM")


COMMANDS = [
    Command("explain", "why a VM has its VFs, or cannot have them, on each host", _arguments, explain)
]
