"""Commands that move a VM with VFs to another host, and that take its VFs away for a while."""

import argparse
from typing import List

from .. import names, relocation
from ..client import Client
from ..command import Command
from ..errors import DONE, Failed
from ..output import Record, by_key
from .changing import PLACED, on_host, placed, show_placed
from .migrating import allowed, allowing_arguments

# -- relocate ----------------------------------------------------------------------------------------------


def relocate(client: Client, args: argparse.Namespace) -> int:
    pool = client.pool
    vm, target = names.vm(pool, args.vm), names.host(pool, args.to)
    move = relocation.planned(pool, vm, target, args.start, allowed(args))
    if move is None:
        runs = " and runs there" if vm.record["power_state"] == "Running" else ""
        client.say(f"VM {vm.name} has its VFs of host {target.name}{runs} already.")
        return DONE
    would = ", ".join(relocation.steps(move))
    if move.why:
        client.say(f"VM {vm.name} cannot be moved while it runs: {move.why}")
    if args.dry_run:
        show_placed(client, vm, move.rehearsed)
        client.did("", would)
        return DONE
    if move.ran and move.live is None and not client.confirm(f"{would[:1].upper()}{would[1:]}?"):
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
    allowing_arguments(parser)


# -- park, unpark ------------------------------------------------------------------------------------------

PARKED = (
    by_key("NAME", "vm_name"),
    by_key("REQUEST", "request"),
    by_key("HOST", "host"),
    by_key("VF", "vf"),
    by_key("UUID", "vm_uuid", wide=True),
)


def park(client: Client, args: argparse.Namespace) -> int:
    rows: List[Record] = []

    def act(vm: names.Vm) -> None:
        answer = client.pool.master("park_vm", vm_uuid=vm.uuid, **client.dry)
        rows.extend(placed(client, vm, answer["host_uuid"], answer["parked"]))
        if not any(one["vf"] for one in answer["parked"]):
            client.say(f"VM {vm.name} is parked already.")
        else:
            client.did(
                f"VM {vm.name} is parked and starts without VFs. `sriovctl unpark {vm.uuid}` "
                "gives it VFs for its requests again, with the same settings and MACs.",
                f"park VM {vm.name}",
            )

    status = client.each(_vms(client, args), lambda vm: f"VM {vm.name}", act).status
    client.show(rows, PARKED)
    return status


def unpark(client: Client, args: argparse.Namespace) -> int:
    rows: List[Record] = []
    where = on_host(client, args)

    def act(vm: names.Vm) -> None:
        gives = f"Only a parked VM gets VFs again; `sriovctl assign {vm.uuid} --network NET` gives it one."
        row = relocation.assignment(client.pool, vm, gives)
        if not row.get("parked"):
            client.say(f"VM {vm.name} is not parked: it has its VFs.")
            return
        if args.dry_run and vm.record["power_state"] != "Halted":
            state = vm.record["power_state"].lower()
            said = f"VM {vm.name} ({vm.uuid}) is {state}."
            raise Failed("SRIOV_VM_NOT_HALTED", said, "Shut it down first.")
        try:
            answer = client.pool.master("reinstate_vfs", vm_uuid=vm.uuid, **where, **client.dry)
        except Failed as failed:
            again = f"`sriovctl unpark {vm.uuid}`, with --on for another host"
            raise Failed(
                failed.code,
                f"{failed.message} The VM stays parked; its requests are kept.",
                f"{failed.hint} Then {again}.".strip(),
            ) from failed
        host = client.pool.host_name(answer["host_uuid"])
        rows.extend(placed(client, vm, answer["host_uuid"], answer["vfs"]))
        client.warnings(answer)
        client.did(
            f"VM {vm.name} has VFs of host {host} from its next start.",
            f"give VM {vm.name} VFs of host {host}",
        )

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
        "have a VM on another host, with VFs there: moved if that can be, else shut down and started",
        _relocate_arguments,
        relocate,
        changes=True,
        columns=PLACED,
    ),
    Command(
        "park",
        "take VMs' VFs away for a while, and keep their requests",
        _park_arguments,
        park,
        changes=True,
        columns=PARKED,
    ),
    Command(
        "unpark",
        "give parked VMs VFs again",
        _unpark_arguments,
        unpark,
        changes=True,
        columns=PLACED,
    ),
]
