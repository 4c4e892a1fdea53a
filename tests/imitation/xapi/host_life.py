"""Hosts that take VMs or do not, and hosts that are declared dead.

As seen of a real xapi: a dead host's VMs are Halted by declaration, and the hooks
host-pre-declare-dead and host-post-declare-dead run on the master (xen-api: ocaml/xapi/xapi_hooks.ml).
"""

import time
from functools import partial
from typing import TYPE_CHECKING, List

import membership
import vm_hooks
import vm_placement
from calls import Call, Calls, Context
from values import Failure, Time
from vm_notes import note_stopped
from vm_operations import update_allowed

if TYPE_CHECKING:
    from xapi import Xapi


def set_enabled(context: Context, host: str, enabled: bool) -> None:
    context.xapi.database.get("host", host, "uuid")
    context.xapi.forward(host)
    context.xapi.database.set("host", host, "enabled", enabled)


def declare_dead(context: Context, host: str) -> None:
    """By an administrator, where there is no HA."""
    _bury_if_dead(context.xapi, host, "user")


def _bury_if_dead(xapi: "Xapi", host: str, reason: str) -> None:
    xapi.database.get("host", host, "uuid")
    if xapi.is_live(host) and xapi.reach.answers(host):
        raise Failure("HOST_IS_LIVE", host)
    bury(xapi, host, reason)


def bury(xapi: "Xapi", host: str, reason: str) -> List[str]:
    """The host is held for dead from now on; the VMs that were on it and are halted now."""
    run_hooks(xapi, host, "host-pre-declare-dead", reason)
    xapi.notice_dead(host)
    halted = halt_vms_of(xapi, host)
    run_hooks(xapi, host, "host-post-declare-dead", reason)
    return halted


def halt_vms_of(xapi: "Xapi", host: str) -> List[str]:
    """In the database: what the host itself does nobody knows (xapi_vm_lifecycle.ml, force_state_reset)."""
    database = xapi.database
    with database.lock:
        lost = vm_placement.guests(xapi, host)
        for vm in lost:
            note_stopped(xapi, vm)
            database.set("VM", vm, "current_operations", {})
            update_allowed(xapi, vm)
        return lost


def run_hooks(xapi: "Xapi", host: str, hook: str, reason: str) -> None:
    """On the master; what they fail with is of no consequence."""
    uuid = xapi.database.get("host", host, "uuid")
    try:
        vm_hooks.run(xapi, xapi.master, hook, reason, ["-hostuuid", uuid])
    except Failure:
        pass


def destroy(context: Context, host: str) -> None:
    """A dead host is forgotten, with what was its own (xen-api: ocaml/xapi/xapi_host.ml, destroy)."""
    _bury_if_dead(context.xapi, host, "dbdestroy")
    membership.forget(context.xapi, host)


def restart_agent(context: Context, host: str) -> None:
    """As `xe-toolstack-restart` there; the caller's session ends with it, where that is the master."""
    context.xapi.restart_toolstack(host)


def get_servertime(context: Context, host: str) -> Time:
    """Of the host itself, which is asked (xen-api: message_forwarding.ml); `reach.clocks` has by how
    many seconds a host's clock is ahead."""
    context.xapi.forward(host)
    ahead = context.xapi.reach.clocks.get(host, 0.0)
    return Time(time.strftime("%Y%m%dT%H:%M:%SZ", time.gmtime(context.xapi.life.clock.now() + ahead)))


CALLS: Calls = {
    "host.get_servertime": Call(get_servertime, ["ref"]),
    "host.restart_agent": Call(restart_agent, ["ref"]),
    "host.disable": Call(partial(set_enabled, enabled=False), ["ref"], may_be_async=True),
    "host.enable": Call(partial(set_enabled, enabled=True), ["ref"], may_be_async=True),
    "host.declare_dead": Call(declare_dead, ["ref"], may_be_async=True),
    "host.destroy": Call(destroy, ["ref"], may_be_async=True),
}
