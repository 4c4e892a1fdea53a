"""wait: for scripts, until a VM runs with its VFs or a host is ready."""

import argparse
import shlex
import time
from typing import Any, Callable, Dict, Tuple

from .. import names, readiness
from ..client import Client
from ..command import Command, seconds
from ..errors import DONE, Failed
from .looking import no_answer

LOOK_EACH = 2.0  # seconds from one look to the next
HELP = {
    "ready": "the host can give VFs to VMs",
    "running-with-vfs": "the VM runs, and its domain has a VF for each of its requests",
}


def running_with_vfs(client: Client, name: str) -> Tuple[bool, str]:
    """Whether it is so, and what is still missing."""
    vm = names.vm(client.pool, name)
    if vm.record["power_state"] != "Running":
        return False, f"VM {vm.name} is {vm.record['power_state'].lower()}"
    answer: Dict[str, Any] = client.pool.master("list_assignments", vm_uuid=vm.uuid)
    wanted = {request["vf"] for row in answer["vms"] for request in row["requests"]}
    if not wanted:
        raise Failed(
            "NO_REQUEST",
            f"VM {vm.name} asks for no VF.",
            f"`sriovctl assign {vm.uuid} --network NET` gives it one.",
        )
    host = client.pool.host(vm.record["resident_on"])
    if host is None:
        return False, f"VM {vm.name} is on its way to a host"
    has = client.pool.plugin(host, "list_vfs", vm_uuid=vm.uuid, state="in-use")
    missing = wanted - {vf["address"] for vf in has}
    return not missing, f"VM {vm.name} runs on {host.name} without {', '.join(sorted(map(str, missing)))}"


def ready(client: Client, name: str) -> Tuple[bool, str]:
    host = names.host(client.pool, name)
    (answer,) = client.ask([host], "status")
    state = no_answer(answer.error) if answer.error else readiness.state(answer.value)
    why = answer.error.message if answer.error else readiness.STATES[state]
    if state == readiness.READY and not host.enabled:
        return False, f"host {host.name} is disabled"
    return state == readiness.READY, f"host {host.name}: {why}"


CONDITIONS: Dict[str, Callable[[Client, str], Tuple[bool, str]]] = {
    "ready": ready,
    "running-with-vfs": running_with_vfs,
}


def wait(client: Client, args: argparse.Namespace) -> int:
    deadline = time.monotonic() + args.within
    with client.progress(f"waiting for {args.name}") as progress:
        while True:
            try:
                is_so, missing = CONDITIONS[args.condition](client, args.name)
            except Failed as failed:
                if failed.code in ("NOT_FOUND", "AMBIGUOUS", "NO_REQUEST"):
                    raise
                is_so, missing = False, failed.message  # a host that reboots, a master that changes
            if is_so:
                break
            progress.say(missing)
            if time.monotonic() >= deadline:
                raise Failed(
                    "TIMED_OUT",
                    f"Not in {args.within:.0f} s: {missing.rstrip('.')}.",
                    f"See `sriovctl {_look(args)}`.",
                )
            time.sleep(min(LOOK_EACH, args.within))
            client.pool.forget()
    client.say(f"{args.name}: {HELP[args.condition]}.")
    return DONE


def _look(args: argparse.Namespace) -> str:
    return f"{'status' if args.condition == 'ready' else 'explain'} {shlex.quote(args.name)}"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="VM|HOST", help="a VM, or for `ready` a host")
    said = "; ".join(f"{name}: {text}" for name, text in HELP.items())
    parser.add_argument("--for", dest="condition", required=True, choices=sorted(CONDITIONS), help=said)
    parser.add_argument(
        "--within",
        type=seconds(0),
        default=600.0,
        metavar="SECONDS",
        help="fail after so long (default: 600)",
    )


COMMANDS = [Command("wait", "until a VM runs with its VFs, or a host is ready", _arguments, wait)]
