"""Commands that move a VM with VFs to another host, and that take its VFs away for a while."""

import argparse
import shlex
from typing import List

from .. import names, relocation
from ..client import Client
from ..command import Command
from ..errors import DONE, Failed
from ..output import Column, Record
from .changing import PLACED, host_name, show_placed

# -- relocate ----------------------------------------------------------------------------------------------


def relocate(client: Client, args: argparse.Namespace) -> int:
    pool = client.pool
    vm, target = names.vm(pool, args.vm), names.host(pool, args.to)
    move = relocation.planned(pool, vm, target, args.start)
    if move is None:
        runs = " and runs there" if vm.record["power_state"] == "Running" else ""
        client.say(f"VM {vm.name} has its VFs of host {target.name}{runs} already.")
        return DONE
    would = ", ".join(relocation.steps(move))
    if args.dry_run:
        answer = pool.master("reinstate_vfs", vm_uuid=vm.uuid, host_uuid=target.uuid, dry_run="true")
        show_placed(client, vm, answer)
        client.say(f"Would {would}. Nothing was changed (--dry-run).")
        return DONE
    if move.ran and not client.confirm(f"{would[:1].upper()}{would[1:]}?"):
        raise Failed("NOT_CONFIRMED", "Nothing was changed.")
    with client.progress(f"Relocating VM {vm.name}") as progress:
        relocation.relocate(move, progress.say)
    pool.forget()
    row = relocation.assignment(pool, vm)
    vfs = [{**one, "before": move.had.get(one["request"])} for one in row["requests"]]
    show_placed(client, vm, {**row, "vfs": vfs})
    does = "runs on" if move.starts else "is halted, with VFs of"
    came = f", where it came from host {move.source.name}" if move.source else ""
    client.say(f"VM {vm.name} {does} host {target.name}{came}.")
    _warn_of_affinity(client, move)
    return DONE


def _warn_of_affinity(client: Client, move: relocation.Move) -> None:
    """xapi starts a VM on its affinity's host where nobody names one."""
    affinity = move.vm.record["affinity"]
    liked = [host.name for host in move.pool.hosts if host.ref == affinity and host != move.target]
    if liked:
        change = f"`xe vm-param-set uuid={move.vm.uuid} affinity={move.target.uuid}`"
        client.warn(f"Its home server is host {liked[0]}: a start that names no host goes there. {change}")


def _relocate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vm", metavar="VM", help="a running or halted VM with VFs")
    parser.add_argument("to", metavar="HOST", help="where it is to be")
    parser.add_argument("--start", action="store_true", help="start it there if it is halted")


# -- park, unpark ------------------------------------------------------------------------------------------

PARKED = (
    Column("NAME", lambda row: row["vm_name"]),
    Column("REQUEST", lambda row: row["request"]),
    Column("HOST", lambda row: row["host"]),
    Column("VF", lambda row: row["vf"]),
    Column("UUID", lambda row: row["vm_uuid"], wide=True),
)


def park(client: Client, args: argparse.Namespace) -> int:
    rows: List[Record] = []

    def act(vm: names.Vm) -> None:
        dry = {"dry_run": "true"} if args.dry_run else {}
        answer = client.pool.master("park_vm", vm_uuid=vm.uuid, **dry)
        host = host_name(client, answer["host_uuid"])
        rows.extend({"vm_name": vm.name, "vm_uuid": vm.uuid, "host": host, **one} for one in answer["parked"])
        if not any(one["vf"] for one in answer["parked"]):
            client.say(f"VM {vm.name} is parked already.")
        elif args.dry_run:
            client.say(f"Would park VM {vm.name}. Nothing was changed (--dry-run).")
        else:
            client.say(
                f"VM {vm.name} is parked and starts without VFs. `sriovctl unpark {shlex.quote(vm.name)}` "
                "gives it VFs for its requests again, with the same settings and MACs."
            )

    status = client.each(_vms(client, args), lambda vm: f"VM {vm.name}", act).status
    client.show(rows, PARKED)
    return status


def unpark(client: Client, args: argparse.Namespace) -> int:
    rows: List[Record] = []
    where = {"host_uuid": names.host(client.pool, args.on).uuid} if args.on else {}

    def act(vm: names.Vm) -> None:
        row = relocation.assignment(client.pool, vm)
        if not row.get("parked"):
            client.say(f"VM {vm.name} is not parked: it has its VFs.")
            return
        if args.dry_run and vm.record["power_state"] != "Halted":
            state = vm.record["power_state"].lower()
            raise Failed("SRIOV_VM_NOT_HALTED", f"VM {vm.name} is {state}.", "Shut it down first.")
        try:
            dry = {"dry_run": "true"} if args.dry_run else {}
            answer = client.pool.master("reinstate_vfs", vm_uuid=vm.uuid, **where, **dry)
        except Failed as failed:
            again = f"`sriovctl unpark {vm.uuid}`, with --on for another host"
            raise Failed(
                failed.code,
                f"{failed.message} The VM stays parked; its requests are kept.",
                f"{failed.hint} Then {again}.".strip(),
            ) from failed
        host = host_name(client, answer["host_uuid"])
        rows.extend({"vm_name": vm.name, "vm_uuid": vm.uuid, "host": host, **one} for one in answer["vfs"])
        for warning in answer["warnings"]:
            client.warn(warning)
        if args.dry_run:
            client.say(f"Would give VM {vm.name} VFs of host {host}. Nothing was changed (--dry-run).")
        else:
            client.say(f"VM {vm.name} has VFs of host {host} from its next start.")

    status = client.each(_vms(client, args), lambda vm: f"VM {vm.name}", act).status
    client.show(rows, PLACED)
    return status


def _vms(client: Client, args: argparse.Namespace) -> List[names.Vm]:
    """Those that were typed; all names are looked up before the first VM is changed."""
    return [names.vm(client.pool, typed) for typed in args.vms]


def _park_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vms", nargs="+", metavar="VM", help="halted VMs")


def _unpark_arguments(parser: argparse.ArgumentParser) -> None:
    _park_arguments(parser)
    parser.add_argument("--on", metavar="HOST", help="VFs of this host (default: where they were)")


COMMANDS = [
    Command(
        "relocate",
        "shut a VM down and start it on another host, with VFs there; back if that fails",
        _relocate_arguments,
        relocate,
        changes=True,
    ),
    Command(
        "park", "take VMs' VFs away for a while, and keep their requests", _park_arguments, park, changes=True
    ),
    Command("unpark", "give parked VMs VFs again", _unpark_arguments, unpark, changes=True),
]
