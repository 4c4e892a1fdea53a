"""Physical PIFs: what xapi knows of the interfaces that dom0 has.

Facts from xen-api: ocaml/xapi/xapi_pif.ml; records.json.
"""

import os
from typing import TYPE_CHECKING, Any, Dict, List

import pci_objects
from values import NULL

if TYPE_CHECKING:
    from xapi import Xapi

INTERFACES = "/sys/class/net"


def physical_interfaces(root: str) -> Dict[str, str]:
    """dom0's interfaces that are a device's, and the address of the device; none of a VF."""
    found = {}
    top = root + INTERFACES
    for name in sorted(os.listdir(top)) if os.path.isdir(top) else ():
        device = f"{top}/{name}/device"
        if os.path.exists(device) and not os.path.exists(device + "/physfn"):
            found[name] = os.path.basename(os.path.realpath(device))
    return found


def refresh(xapi: "Xapi", host: str) -> None:
    """Notes of each physical PIF which device it is, and whether that can have VFs."""
    machine = xapi.dom0s[host].machine
    if machine is None:
        return
    devices = physical_interfaces(machine.root)
    known = pci_objects.of_host(xapi, host)
    for pif in xapi.database.find("PIF", host=host, physical=True):
        name = xapi.database.get("PIF", pif, "device")
        pci = known.get(pci_objects.written(devices[name])) if name in devices else None
        xapi.database.set("PIF", pif, "PCI", pci or NULL)
        if name in devices:
            xapi.database.set("PIF", pif, "capabilities", _capabilities(machine, name))


def _capabilities(machine: Any, name: str) -> List[str]:
    path = f"{INTERFACES}/{name}/device/sriov_totalvfs"
    return ["sriov"] if machine.exists(path) and int(machine.read(path)) > 0 else []
