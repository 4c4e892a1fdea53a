"""`migrate_vm`, `detach_vfs`, `attach_vfs`: the VFs of a running VM, while it moves and otherwise."""

from typing import Any, Dict, Mapping

from ..errors import bad_argument
from ..machine.host import Host
from ..pool import moves
from ..pool.move_check import Wish
from . import arguments

TIMEOUT = 60  # seconds that a guest has to let its VFs go; it takes a few
LONGEST = 600


def migrate_vm(host: Host, session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    """On the master. `{vm_uuid, host_uuid, from_uuid, changed, vfs: [{request, vf, before}], seconds:
    {unplug, copy, plug, without_vf}, warnings}`; `seconds` is empty where nothing was done. A dry run has
    `would_change` too, and checks all that can be known."""
    wish = Wish(
        arguments.required_uuid(args, "vm_uuid"),
        arguments.required_uuid(args, "host_uuid"),
        _timeout(args),
        arguments.choice(args, "network_gap", ("no", "allowed")) == "allowed",
        arguments.boolean(args, "unconfirmed", False),
    )
    return moves.migrate(host, session, wish, arguments.boolean(args, "dry_run", False))


def detach_vfs(host: Host, session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    """On the master. `{vm_uuid, host_uuid, changed, detached: [{request, vf}]}`: the VM runs on without them,
    and xapi may suspend or move it, until `attach_vfs`."""
    return moves.detach(host, session, arguments.required_uuid(args, "vm_uuid"), _timeout(args))


def attach_vfs(host: Host, session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    """On the master. `{vm_uuid, host_uuid, changed, vfs: [{request, vf}]}`: VFs of the host where the VM
    runs, for one whose VFs are detached or whose move did not end; `host_uuid` is null where it does not."""
    return moves.attach(host, session, arguments.required_uuid(args, "vm_uuid"))


def _timeout(args: Mapping[str, str]) -> int:
    if "timeout" not in args:
        return TIMEOUT
    seconds = arguments.number(args, "timeout")
    if not 1 <= seconds <= LONGEST:
        raise bad_argument("timeout", args["timeout"], f"1 to {LONGEST} seconds")
    return seconds
