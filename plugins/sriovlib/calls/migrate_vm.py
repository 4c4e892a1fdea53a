"""`migrate_vm`, `detach_vfs`, `attach_vfs`: the VFs of a running VM, while it moves and otherwise."""

from typing import Any, Callable, Dict, Mapping

from ..machine.host import Host
from ..pool import locked, moves
from ..pool.locked import Call
from ..pool.move_check import Wish
from ..xapi.own_session import OwnSession
from ..xapi.session import logged_in
from . import arguments


def migrate_vm(host: Host, _session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """On the master. `{vm_uuid, host_uuid, from_uuid, changed, vfs: [{request, vf, before}], seconds:
    {unplug, copy, plug, without_vf}, warnings}`; `seconds` is empty where nothing was done. A dry run has
    `would_change` too, and checks all that can be known."""
    wish = Wish(
        arguments.required_uuid(args, "vm_uuid"),
        arguments.required_uuid(args, "host_uuid"),
        arguments.guest_seconds(args),
        arguments.choice(args, "network_gap", ("no", "allowed")) == "allowed",
        arguments.boolean(args, "unconfirmed", False),
        arguments.boolean(args, "force", False),
    )
    dry_run = arguments.boolean(args, "dry_run", False)
    return _alone(host, "migrate_vm", wish.vm_uuid, lambda call: moves.migrate(call, wish, dry_run))


def detach_vfs(host: Host, _session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """On the master. `{vm_uuid, host_uuid, changed, detached: [{request, vf}], warnings}`: the VM runs on
    without them, and xapi may suspend or move it, until `attach_vfs`."""
    vm_uuid, timeout = arguments.required_uuid(args, "vm_uuid"), arguments.guest_seconds(args)
    return _alone(host, "detach_vfs", vm_uuid, lambda call: moves.detach(call, timeout))


def attach_vfs(host: Host, _session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """On the master. `{vm_uuid, host_uuid, changed, vfs: [{request, vf}], warnings}`: VFs of the host where
    the VM runs, for one whose VFs are detached or whose move did not end; `host_uuid` is null where it does
    not."""
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    return _alone(host, "attach_vfs", vm_uuid, moves.attach)


def _alone(host: Host, name: str, vm_uuid: str, act: Callable[[Call], Dict[str, Any]]) -> Dict[str, Any]:
    """One such call at a time for a VM, in a session of our own. A plugin has that of its caller (xen-api:
    ocaml/xapi/xapi_plugins.ml), who may log out before a long call has ended: a VM must not be left in the
    midst of a move for that."""
    with logged_in(host) as own:
        call = locked.call(host, own, name, vm_uuid, None)
        with locked.alone(call):
            return act(call)
