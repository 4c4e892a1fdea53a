"""VIFs on networks of xapi's own SR-IOV: each takes a VF when its VM starts.

As seen of a real xapi: the lowest VF that is in no VM, whatever other_config:pci names; a VM with such a VIF
is not agile. Facts from xen-api: ocaml/xapi/xapi_network_sriov_helpers.ml, xapi_vm_helpers.ml.
"""

import os
from typing import TYPE_CHECKING, List, Optional

import pci_objects
from calls import Call, Calls, Context
from database import Record
from hypervisor import Vif
from values import Failure

if TYPE_CHECKING:
    from xapi import Xapi


def addresses(xapi: "Xapi", vm: str, host: str) -> List[str]:
    """The VFs of that host for the VM's VIFs, in the order of their devices."""
    database = xapi.database
    taken: List[str] = []
    for vif in sorted(database.get("VM", vm, "VIFs"), key=lambda one: database.get("VIF", one, "device")):
        network = database.get("VIF", vif, "network")
        if not is_sriov(xapi, network):
            continue
        physical = _physical(xapi, network, host)
        free = [vf for vf in _free(xapi, physical) if vf not in taken] if physical else []
        if not free:
            raise Failure("NETWORK_SRIOV_INSUFFICIENT_CAPACITY", network)
        taken.append(free[0])
    return [database.get("PCI", vf, "pci_id") for vf in taken]


def is_sriov(xapi: "Xapi", network: str) -> bool:
    database = xapi.database
    if not database.exists("network", network):
        return False
    return any(
        database.get("PIF", pif, "sriov_logical_PIF_of") for pif in database.find("PIF", network=network)
    )


def _physical(xapi: "Xapi", network: str, host: str) -> Optional[str]:
    database = xapi.database
    for pif in database.find("PIF", network=network, host=host, currently_attached=True):
        for sriov in database.get("PIF", pif, "sriov_logical_PIF_of"):
            return str(database.get("network_sriov", sriov, "physical_PIF"))
    return None


def _free(xapi: "Xapi", physical: str) -> List[str]:
    """The VFs of a physical PIF that have a PCI object and are in no VM, lowest address first."""
    database = xapi.database
    record = database.record("PIF", physical)
    machine = xapi.dom0s[record["host"]].machine
    address = database.get("PCI", record["PCI"], "pci_id")
    attached = {pci for vm in database.refs("VM") for pci in database.get("VM", vm, "attached_PCIs")}

    def is_of_port(vf: str) -> bool:
        link = machine.path(f"{pci_objects.DEVICES}/{vf}/physfn")
        return bool(os.path.basename(os.path.realpath(link)) == address)

    known = pci_objects.of_host(xapi, record["host"])
    return [known[vf] for vf in sorted(known) if known[vf] not in attached and is_of_port(vf)]


def of_netback(xapi: "Xapi", vm: str) -> List[Vif]:
    """The others, in the order of their devices."""
    get = xapi.database.get
    vifs = sorted(get("VM", vm, "VIFs"), key=lambda one: get("VIF", one, "device"))
    networks = {vif: get("VIF", vif, "network") for vif in vifs}
    known = [vif for vif in vifs if xapi.database.exists("network", networks[vif])]
    return [
        Vif(get("VIF", vif, "MAC"), get("network", networks[vif], "bridge"))
        for vif in known
        if not is_sriov(xapi, networks[vif])
    ]


def create(context: Context, record: Record) -> str:
    """A VIF of a halted VM, with the MAC that the client chooses (xen-api: ocaml/xapi/xapi_vif.ml)."""
    database = context.xapi.database
    database.get("VM", record["VM"], "uuid")
    database.get("network", record["network"], "uuid")
    fields = ("device", "network", "VM", "MAC", "MTU", "other_config")
    return database.create("VIF", {field: record[field] for field in fields if field in record})


def note_plugged(xapi: "Xapi", vm: str, plugged: bool) -> None:
    """Every VIF of a running VM is attached."""
    for vif in xapi.database.get("VM", vm, "VIFs"):
        xapi.database.set("VIF", vif, "currently_attached", plugged)
        xapi.database.set("VIF", vif, "allowed_operations", [] if plugged else ["attach"])


CALLS: Calls = {"VIF.create": Call(create, ["any record"])}
