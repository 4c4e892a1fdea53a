"""PCI objects: which devices of a host xapi has objects for, and when it looks.

As seen of a real xapi: it looks when it starts and when it changes SR-IOV itself; it takes the classes 01,
02 and 03 (storage, network, display), writes a domain above ffff as ffff, and keeps the object of a device
that stays. What a device is called comes from dom0's pci.ids, in lspci's words.
"""

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Dict, List, Mapping, NamedTuple

from database import Record

if TYPE_CHECKING:
    from xapi import Xapi

DEVICES = "/sys/bus/pci/devices"
PCI_IDS = ("/usr/share/hwdata/pci.ids", "/usr/share/misc/pci.ids")
_CLASSES = ("01", "02", "03")


class Names(NamedTuple):
    """pci.ids: vendors, `vendor:device`, `vendor:device vendor:device` of subsystems, and classes."""

    known: Mapping[str, str]

    def device(self, key: str) -> str:
        return self.known.get(key) or f"Device {key[-4:]}"


def look(xapi: "Xapi", host: str) -> None:
    """Brings the host's PCI objects in line with what its /sys shows."""
    machine = xapi.dom0s[host].machine
    if machine is None:
        return
    seen = {record["pci_id"]: record for record in devices(machine.root)}
    database = xapi.database
    with database.lock:
        known = of_host(xapi, host)
        for address in set(known) - set(seen):
            database.destroy("PCI", known[address])
        for address, record in seen.items():
            if address not in known:
                database.create("PCI", dict(record, host=host))
                continue
            for field, value in record.items():
                database.set("PCI", known[address], field, value)


def of_host(xapi: "Xapi", host: str) -> Dict[str, str]:
    """The addresses, as xapi writes them, and objects of the host's devices."""
    database = xapi.database
    with database.lock:
        return {database.get("PCI", ref, "pci_id"): ref for ref in database.find("PCI", host=host)}


def written(address: str) -> str:
    """An address as xapi writes it; what is none (a device on another bus) stays as it is."""
    domain, _, rest = address.partition(":")
    return f"ffff:{rest}" if rest and int(domain, 16) > 0xFFFF else address


def devices(root: str) -> List[Record]:
    """The values of all devices that get an object."""
    found, known = [], names(root)
    for address in _listed(root + DEVICES):
        folder = f"{root}{DEVICES}/{address}"
        class_id = _text(folder, "class")[2:6]
        if class_id[:2] in _CLASSES:
            found.append(dict(_record(folder, class_id, known), pci_id=written(address)))
    return found


def _record(folder: str, class_id: str, known: Names) -> Record:
    vendor, device, vendor2, device2 = (
        _text(folder, name)[2:] for name in ("vendor", "device", "subsystem_vendor", "subsystem_device")
    )
    return {
        "class_id": class_id,
        "class_name": known.known.get(f"C {class_id}") or f"Class {class_id}",
        "vendor_id": vendor,
        "vendor_name": known.device(vendor),
        "device_id": device,
        "device_name": known.device(f"{vendor}:{device}"),
        "subsystem_vendor_id": vendor2,
        "subsystem_vendor_name": known.device(vendor2),
        "subsystem_device_id": device2,
        "subsystem_device_name": known.device(f"{vendor}:{device} {vendor2}:{device2}"),
        "driver_name": _driver(folder),
    }


def _driver(folder: str) -> str:
    try:
        return os.path.basename(os.readlink(folder + "/driver"))
    except OSError:
        return ""


def _listed(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _text(folder: str, name: str) -> str:
    try:
        with open(f"{folder}/{name}") as file:
            return file.read().strip()
    except OSError:
        return ""


def names(root: str) -> Names:
    """What pci.ids of this dom0 says."""
    for path in PCI_IDS:
        if os.path.exists(root + path):
            with open(root + path, encoding="utf-8", errors="replace") as file:
                return _parsed(file.read())
    return Names({})


@lru_cache(maxsize=8)
def _parsed(text: str) -> Names:
    """Lines `VVVV  vendor`, tab `DDDD  device`, two tabs a subsystem; `C CC  class`, tab `SS  name`."""
    known: Dict[str, str] = {}
    vendor = device = ""
    for depth, key, name in re.findall(r"^(\t*)((?:C )?[0-9a-f ]+?)  (.*)$", text, re.MULTILINE):
        if not depth:
            vendor = key
            known[vendor] = name
        elif len(depth) == 1:
            device = vendor + key if vendor.startswith("C ") else f"{vendor}:{key}"
            known[device] = name
        elif not vendor.startswith("C "):
            known[f"{device} {key.replace(' ', ':')}"] = name
    return Names(known)
