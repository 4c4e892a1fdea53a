"""What xapi notes of a VM, by what xenopsd tells it. Imitates vm-life.json and passthrough.json."""

from typing import TYPE_CHECKING, Any, Dict, List

import pci_objects
import vif_functions
import vm_metadata
from database import Database
from hypervisor import Guest, Report
from values import NULL, now
from vm_operations import update_allowed
from vm_rules import HALTED, RUNNING

if TYPE_CHECKING:
    from xapi import Xapi

PROTECTED = "restart"  # VM.ha_restart_priority of a VM that HA starts again


def note_running(xapi: "Xapi", vm: str, host: str, domain: int, power_state: str = RUNNING) -> None:
    database = xapi.database
    guest = guest_of(xapi, vm, host)
    report, devices = xapi.life.hypervisor(xapi, host).report(guest), attached(xapi, vm, host)
    with database.lock:
        metrics = database.get("VM", vm, "metrics")
        if not database.exists("VM_metrics", metrics):
            metrics = database.create("VM_metrics", {})
        _set(database, "VM_metrics", metrics, _metrics(report))
        values = {
            "power_state": power_state,
            "resident_on": host,
            "scheduled_to_be_resident_on": NULL,
            "domid": domain,
            "metrics": metrics,
            "attached_PCIs": devices,
            "guest_metrics": database.create("VM_guest_metrics", _guest_metrics(report)),
        }
        _forget_guest(database, vm)
        _set(database, "VM", vm, {**values, **_cpu(database, host)})
        vif_functions.note_plugged(xapi, vm, True)
        update_allowed(xapi, vm)


def attached(xapi: "Xapi", vm: str, host: str) -> List[str]:
    """The devices that xenopsd was told of, that the domain has, and that xapi has an object for; of others
    it knows nothing (passthrough.json; xen-api: ocaml/xapi/xapi_xenops.ml, update_pci)."""
    uuid = xapi.database.get("VM", vm, "uuid")
    told = xapi.life.xenopsd(xapi, host).find(uuid)
    plugged = xapi.life.hypervisor(xapi, host).plugged(uuid)
    addresses = set(plugged).intersection(told.addresses if told else ())
    return [ref for address, ref in pci_objects.of_host(xapi, host).items() if address in addresses]


def refresh_devices(xapi: "Xapi", vm: str, host: str) -> None:
    """xapi asks the xenopsd of the VM's host what it has by now (Events_from_xenopsd.with_suppressed)."""
    uuid = xapi.database.get("VM", vm, "uuid")
    if host == xapi.database.get("VM", vm, "resident_on") and xapi.life.xenopsd(xapi, host).exists(uuid):
        xapi.database.set("VM", vm, "attached_PCIs", attached(xapi, vm, host))


def note_moved(xapi: "Xapi", vm: str, host: str, domain: int) -> None:
    """VM.pool_migrate_complete: set_resident_on, then what xenopsd of that host tells. One that xapi took for
    halted meanwhile runs again (xapi_xenops.ml: add_caches, refresh_vm, update_vm)."""
    if xapi.database.get("VM", vm, "power_state") == HALTED:
        note_running(xapi, vm, host, domain)
        return
    devices = attached(xapi, vm, host)
    with xapi.database.lock:
        moved = {"resident_on": host, "scheduled_to_be_resident_on": NULL, "domid": domain}
        _set(xapi.database, "VM", vm, {**moved, "attached_PCIs": devices})


def forget_guidance(xapi: "Xapi", vm: str, guidance: str) -> None:
    """xapi_vm_lifecycle.ml, remove_pending_guidance; a xapi before 1.303.0 has none of the fields."""
    with xapi.database.lock:
        record = xapi.database.record("VM", vm)
        for field in ("pending_guidances", "pending_guidances_recommended", "pending_guidances_full"):
            if guidance in record.get(field, ()):
                left = [one for one in record[field] if one != guidance]
                xapi.database.set("VM", vm, field, left)


def _guest_metrics(report: Report) -> Dict[str, Any]:
    """With drivers that have connected, or none (xapi_xenops.ml: PV_drivers_detected, up_to_date)."""
    detected = report.pv_drivers
    return {
        "other": dict(report.features),
        "PV_drivers_detected": detected,
        "PV_drivers_up_to_date": detected,
    }


def _cpu(database: Database, host: str) -> Dict[str, Any]:
    """What the guest sees of the host's CPU, where that is known (xapi_xenops.ml, last_boot_CPU_flags)."""
    known = database.get("host", host, "cpu_info")
    if not known:
        return {}
    flags = {"vendor": known["vendor"], "features": known["features_hvm"]}
    return {"last_boot_CPU_flags": flags}


def _metrics(report: Report) -> Dict[str, Any]:
    return {
        "nomigrate": report.nomigrate,
        "current_domain_type": report.domain_type,
        "hvm": report.domain_type == "hvm",
        "start_time": now(),
    }


def note_stopped(xapi: "Xapi", vm: str, power_state: str = HALTED) -> None:
    """The VM is nowhere, and the xenopsd of its host does not know it any more."""
    with xapi.database.lock:
        vm_metadata.forget(xapi, vm, xapi.database.get("VM", vm, "resident_on"))
        _forget_guest(xapi.database, vm)
        values: Dict[str, Any] = {"power_state": power_state, "domid": -1, "attached_PCIs": []}
        nowhere = {"resident_on": NULL, "scheduled_to_be_resident_on": NULL, "guest_metrics": NULL}
        _set(xapi.database, "VM", vm, {**values, **nowhere})
        vif_functions.note_plugged(xapi, vm, False)
        update_allowed(xapi, vm)


def _forget_guest(database: Database, vm: str) -> None:
    guest = database.get("VM", vm, "guest_metrics")
    if database.exists("VM_guest_metrics", guest):
        database.destroy("VM_guest_metrics", guest)


def _set(database: Database, class_name: str, ref: str, values: Dict[str, Any]) -> None:
    for field, value in values.items():
        database.set(class_name, ref, field, value)


def note_wish(xapi: "Xapi", vm: str, wanted: bool) -> None:
    """Somebody starts the VM, or shuts it down: HA keeps a protected one like that (xapi_vm.ml)."""
    priority = xapi.database.get("VM", vm, "ha_restart_priority")
    xapi.database.set("VM", vm, "ha_always_run", wanted and priority == PROTECTED)


def guest_of(xapi: "Xapi", vm: str, host: str, known_as: str = "") -> Guest:
    """`known_as`: the UUID by which that host's xenopsd knows it, if that is another."""
    uuid, name, kind = (xapi.database.get("VM", vm, field) for field in ("uuid", "name_label", "domain_type"))
    known = xapi.life.xenopsd(xapi, host).find(known_as or uuid)
    if known is None:
        return Guest(uuid, name, kind)
    nomigrate = bool((known.state or {}).get("nomigrate"))
    vifs = vif_functions.of_netback(xapi, vm)
    order = xapi.database.get("VM", vm, "HVM_boot_params").get("order", "")
    return Guest(uuid, name, kind, nomigrate, known.passthrough, vifs, order)
