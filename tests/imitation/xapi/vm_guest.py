"""What a guest does by itself, in which xapi has no part: xenopsd sees that the domain has ended.

Facts from xen-api, ocaml/xenopsd/lib/xenops_server.ml (VM_check_state): a reboot is VM_reboot, with its hooks
and the devices that xenopsd was told of, the reason hard-reboot; the VM's record says Running all the time,
without a current operation. A shutdown is VM_shutdown, which runs no hook, not even vm-post-destroy.
"""

from typing import TYPE_CHECKING

import vm_metadata
import vm_notes
import vm_start
from vm_operations import Operation

if TYPE_CHECKING:
    from xapi import Xapi


def reboot(xapi: "Xapi", vm: str) -> None:
    """Raises the refusal of a hook, which nobody is told: the VM is halted then."""
    host = xapi.database.get("VM", vm, "resident_on")
    with xapi.life.queue(vm):
        try:
            if not xapi.life.telling.held:
                vm_metadata.tell(xapi, vm)  # moments have passed
            vm_start.power_cycle(Operation(xapi, vm, ""), host, "hard-reboot")
        finally:
            vm_start.note_end(xapi, vm, host)


def shut_down(xapi: "Xapi", vm: str) -> None:
    """HA starts a protected VM again, unless the pool says that it is not to (xapi_xenops.ml, update_vm)."""
    if not xapi.database.get("pool", xapi.pool, "ha_reboot_vm_on_internal_shutdown"):
        xapi.database.set("VM", vm, "ha_always_run", False)
    host = xapi.database.get("VM", vm, "resident_on")
    with xapi.life.queue(vm):
        vm_start.unplug(xapi, vm, host)
        vm_notes.note_stopped(xapi, vm)
