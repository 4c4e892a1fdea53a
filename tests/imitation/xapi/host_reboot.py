"""host.reboot: a disabled host goes down, and comes up again as xapi has it then.

Facts from xen-api, ocaml/xapi: xapi_host.ml (shutdown_and_reboot_common: the call returns before the host
goes down, and leaves `shutdown` among its current operations; reboot), xapi_host_helpers.ml
(valid_operations: the host must be disabled, and not be going down already; consider_enabling_host_nolock:
xapi of a host that has just booted enables it), vm_evacuation.ml (ensure_no_vms: VMs that are still there are
shut down, hard at last), dbsync_slave.ml (refresh_localhost_info: boot_time and agent_start_time, as OCaml
writes a float), db_gc.ml (check_host_liveness: only after ten minutes without a heartbeat a host counts as
dead).
"""

from contextlib import suppress
from typing import TYPE_CHECKING

import vm_placement
from calls import Call, Calls, Context
from database import new_ref
from values import Failure

if TYPE_CHECKING:
    from xapi import Xapi

SECONDS = 100.0  # of the box's clock, that a boot takes


def reboot(context: Context, host: str) -> None:
    xapi, database = context.xapi, context.xapi.database
    with database.lock:
        if database.get("host", host, "enabled"):
            raise Failure("HOST_NOT_DISABLED")
        for task, operation in database.get("host", host, "current_operations").items():
            if operation == "shutdown":
                raise Failure("OTHER_OPERATION_IN_PROGRESS", "host", host, operation, task)
        xapi.forward(host)
        database.add_to("host", host, "current_operations", new_ref(), "shutdown")
    xapi.workers.start("reboot", _go_down, xapi, host)


def _go_down(xapi: "Xapi", host: str) -> None:
    for vm in vm_placement.guests(xapi, host):
        with suppress(Failure):
            xapi.call("VM.hard_shutdown", vm)
    xapi.power_cycle(host)


def note_boot(xapi: "Xapi", host: str) -> None:
    """What its xapi writes of itself at its first start after a boot."""
    xapi.life.clock.pass_seconds(SECONDS)
    noted = dict(xapi.database.get("host", host, "other_config"))
    noted["boot_time"] = noted["agent_start_time"] = f"{int(xapi.life.clock.now())}."
    xapi.database.set("host", host, "other_config", noted)
    xapi.database.set("host", host, "current_operations", {})
    xapi.database.set("host", host, "enabled", True)


def sync_database(_context: Context) -> None:
    """All that is in memory is on disk then."""


CALLS: Calls = {
    "host.reboot": Call(reboot, ["ref"], may_be_async=True),
    "pool.sync_database": Call(sync_database, may_be_async=True),
}
