"""What xapi of a host does about VMs when it starts: database and xenopsd are brought in line.

Facts from xen-api v26.1.3, ocaml/xapi/xapi_xenops.ml (on_xapi_restart: resync_resident_on, resync_all_vms): a
VM that xenopsd has and the database not, or on another host, is ended, as two of it would ruin its disks; one
that is nowhere by the database is here; one that is here by the database alone is halted.
"""

from typing import TYPE_CHECKING

import vm_metadata
import vm_notes
import vm_placement
from values import NULL
from vm_operations import update_allowed
from vm_rules import PAUSED, RUNNING

if TYPE_CHECKING:
    from xapi import Xapi


def resync(xapi: "Xapi", host: str) -> None:
    database, xenopsd = xapi.database, xapi.life.xenopsd(xapi, host)
    vms = {database.get("VM", vm, "uuid"): vm for vm in database.refs("VM")}
    for uuid in xenopsd.uuids():
        resident = database.get("VM", vms[uuid], "resident_on") if uuid in vms else ""
        if resident == NULL:
            database.set("VM", vms[uuid], "resident_on", host)
        elif resident != host:
            xenopsd.hypervisor.stop(uuid)
            xenopsd.remove(uuid)
    for vm in vm_placement.guests(xapi, host):
        if not xenopsd.exists(database.get("VM", vm, "uuid")):
            vm_notes.note_stopped(xapi, vm)
            database.set("VM", vm, "current_operations", {})
            update_allowed(xapi, vm)
    vm_metadata.forget_texts(xapi, host)
    for vm in vm_placement.guests(xapi, host):
        _refresh(xapi, vm, host)


def _refresh(xapi: "Xapi", vm: str, host: str) -> None:
    uuid = xapi.database.get("VM", vm, "uuid")
    xenopsd = xapi.life.xenopsd(xapi, host)
    domain = xenopsd.hypervisor.domain(uuid)
    if domain is None:
        return  # in a start, a reboot, an end
    if xapi.database.get("VM", vm, "power_state") in (RUNNING, PAUSED):
        vm_notes.refresh_devices(xapi, vm, host)
        update_allowed(xapi, vm)
    else:
        vm_notes.note_running(xapi, vm, host, domain, PAUSED if uuid in xenopsd.paused else RUNNING)
