"""What xapi tells xenopsd of a VM, and what it notes of it afterwards.

Imitates vm-life.json and passthrough.json.
"""

from typing import TYPE_CHECKING, Any, Dict, List, Sequence

import pci_list
import vif_functions
from database import Database
from hypervisor import Guest, Report
from values import NULL, now
from vm_operations import Pushed, update_allowed
from vm_rules import HALTED, RUNNING, is_true

if TYPE_CHECKING:
    from xapi import Xapi

PROTECTED = "restart"  # VM.ha_restart_priority of a VM that HA starts again


def push(xapi: "Xapi", vm: str, host: str) -> Pushed:
    """xenopsd of that host is told of the VM as its record is now. Every guest that is started gets a
    device model."""
    with xapi.database.lock:
        platform = xapi.database.get("VM", vm, "platform")
        other_config = xapi.database.get("VM", vm, "other_config")
        xapi.database.set("VM", vm, "platform", {"device-model": "qemu-upstream-compat", **platform})
    listed = pci_list.addresses(other_config.get("pci", ""))
    of_vifs = [one for one in vif_functions.addresses(xapi, vm, host) if one not in listed]
    return _told(xapi, vm, host, Pushed([*of_vifs, *listed], of_vifs, is_true(platform.get("nomigrate", ""))))


def push_again(xapi: "Xapi", vm: str, host: str) -> None:
    """xenopsd of that host is told what the entries of a running VM are by now, and a reboot plugs what it
    makes of them.

    xapi does that moments after each change of a VM that is resident (xen-api: ocaml/xapi/xapi_xenops.ml,
    Xenopsd_metadata.update). xenopsd first forgets what is not in the new list, one device after the other,
    and gives the whole list up at one that is plugged; then it adds what is new (ocaml/xenopsd/lib/
    xenops_server.ml: import_metadata, and PCI_DB.remove', which raises Device_is_connected). So a list with
    an entry more is plugged, and one in which an entry is replaced is not (passthrough.json). It does this
    between operations of the VM, not in the midst of one. A VIF keeps its VF.
    """
    with xapi.life.queue(vm):
        told = xapi.life.pushed[vm]
        plugged = xapi.life.hypervisor(xapi, host).plugged(xapi.database.get("VM", vm, "uuid"))
        listed = pci_list.addresses(xapi.database.get("VM", vm, "other_config").get("pci", ""))
        addresses = [*(one for one in told.of_vifs if one not in listed), *listed]
        for forgotten in [one for one in told.addresses if one not in addresses]:
            if forgotten in plugged:
                addresses = told.addresses
                break
            told = told._replace(addresses=[one for one in told.addresses if one != forgotten])
        _told(xapi, vm, host, told._replace(addresses=addresses))


def _told(xapi: "Xapi", vm: str, host: str, pushed: Pushed) -> Pushed:
    xapi.life.hypervisor(xapi, host).told(xapi.database.get("VM", vm, "uuid"), pushed.addresses)
    xapi.life.pushed[vm] = pushed
    return pushed


def note_running(xapi: "Xapi", vm: str, host: str, domain: int, power_state: str = RUNNING) -> None:
    database = xapi.database
    guest = guest_of(xapi, vm)
    hypervisor = xapi.life.hypervisor(xapi, host)
    report, plugged = hypervisor.report(guest), hypervisor.plugged(guest.uuid)
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
            "attached_PCIs": _known(database, host, plugged),
            "guest_metrics": database.create("VM_guest_metrics", {"other": dict(report.features)}),
        }
        _forget_guest(database, vm)
        _set(database, "VM", vm, values)
        vif_functions.note_plugged(xapi, vm, True)
        update_allowed(xapi, vm)


def _known(database: Database, host: str, plugged: Sequence[str]) -> List[str]:
    """Of devices that xapi has no object for nothing is known (passthrough.json)."""
    known = [pci for pci in database.refs("PCI") if database.get("PCI", pci, "host") == host]
    return [pci for pci in known if database.get("PCI", pci, "pci_id") in plugged]


def attach_known(xapi: "Xapi", host: str) -> None:
    """xapi has started, and xenopsd tells it again of all that the VMs there have (xen-api:
    ocaml/xapi/xapi_xenops.ml, update_pci)."""
    hypervisor = xapi.life.hypervisor(xapi, host)
    with xapi.database.lock:
        for vm in xapi.database.get("host", host, "resident_VMs"):
            plugged = hypervisor.plugged(xapi.database.get("VM", vm, "uuid"))
            xapi.database.set("VM", vm, "attached_PCIs", _known(xapi.database, host, plugged))
            update_allowed(xapi, vm)


def _metrics(report: Report) -> Dict[str, Any]:
    return {
        "nomigrate": report.nomigrate,
        "current_domain_type": report.domain_type,
        "hvm": report.domain_type == "hvm",
        "start_time": now(),
    }


def note_stopped(xapi: "Xapi", vm: str, power_state: str = HALTED) -> None:
    """The VM is nowhere."""
    with xapi.database.lock:
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


def guest_of(xapi: "Xapi", vm: str) -> Guest:
    uuid, name, kind = (xapi.database.get("VM", vm, field) for field in ("uuid", "name_label", "domain_type"))
    pushed = xapi.life.pushed.get(vm)
    return Guest(uuid, name, kind, pushed is not None and pushed.nomigrate)
