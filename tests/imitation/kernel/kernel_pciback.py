"""xen-pciback, the driver that holds devices for guests: its list of slots, and what it seizes.

Measured on the lab host (Linux 6.1): a slot needs no device, outlives its VF, and takes the next one
born with that address; `bind` takes nothing that has no slot.
"""

import errno
import re
from typing import Dict, List, Optional, Sequence

from kernel_sysfs import Sysfs, name, refuse
from machine_devices import BUS, ON_PCIBACK, Address
from machine_tree import recording

FOLDER = BUS + "/drivers/pciback"
NAME = "pciback"  # as a PCI driver: `xen-pciback` does not match in driver_override
_SLOT = re.compile(r"\s*(?:([0-9a-fA-F]+):)?([0-9a-fA-F]+):([0-9a-fA-F]+)\.([0-9a-fA-F]+)\s*")


def slots(sysfs: Sysfs) -> List[str]:
    return sysfs.text(FOLDER + "/slots").split()


def add_slot(sysfs: Sysfs, text: str) -> None:
    address = _slot(text)
    if address not in slots(sysfs):
        _keep(sysfs, slots(sysfs) + [address])


def new_slot(sysfs: Sysfs, _path: str, text: str) -> None:
    add_slot(sysfs, text)


def remove_slot(sysfs: Sysfs, path: str, text: str) -> None:
    address = _slot(text)
    if address not in slots(sysfs):
        refuse(errno.ENOENT, path)
    _keep(sysfs, [slot for slot in slots(sysfs) if slot != address])


def wants(sysfs: Sysfs, device: str) -> bool:
    """What its probe takes: a device with a slot, or one that is told to be its by driver_override."""
    return name(device) in slots(sysfs) or sysfs.text(device + "/driver_override").strip() == NAME


def seized(sysfs: Sysfs, device: str) -> None:
    """After it has got a device: it is a slot now if it was not, and the device is switched off."""
    add_slot(sysfs, name(device))
    sysfs.put(device + "/enable", "0\n")
    for file, text in _lists(sysfs, device).items():
        sysfs.put(file, sysfs.text(file) + text)


def released(sysfs: Sysfs, device: str) -> None:
    """After it has lost a device: the slot stays."""
    for file, text in _lists(sysfs, device).items():
        sysfs.put(file, sysfs.text(file).replace(text, ""))


def hidden(command_line: str) -> List[str]:
    """The addresses of `xen-pciback.hide=(...)(...)` on dom0's command line; ValueError where one
    cannot be read: then the driver does not register at all."""
    found: List[str] = []
    for option in command_line.split():
        if option.startswith("xen-pciback.hide="):
            value = option.partition("=")[2]
            if not re.fullmatch(r"(\([^()]*\))+", value):
                raise ValueError(value)
            matches = [_SLOT.fullmatch(part) for part in re.findall(r"\(([^()]*)\)", value)]
            found = [_address(match.groups()) for match in matches if match]
            if len(found) < len(matches):
                raise ValueError(value)
    return found


def _slot(text: str) -> str:
    match = _SLOT.fullmatch(text)
    # pcistub_device_id_add (drivers/xen/xen-pciback/pci_stub.c) holds domains of 16 bits.
    if not match or int(match.group(1) or "0", 16) > 0xFFFF:
        refuse(errno.EINVAL, FOLDER)
    return _address(match.groups())


def _address(parts: Sequence[Optional[str]]) -> str:
    return str(Address(*(int(part or "0", 16) for part in parts)))


def _keep(sysfs: Sysfs, kept: List[str]) -> None:
    sysfs.put(FOLDER + "/slots", "".join(slot + "\n" for slot in kept))


def _lists(sysfs: Sysfs, device: str) -> Dict[str, str]:
    """What its files say of a device that it holds, in the words of the recording."""
    recorded, address = recording(ON_PCIBACK).tree, name(device)
    parts = ("vendor", "device", "subsystem_vendor", "subsystem_device")
    identity = ":".join(sysfs.text(f"{device}/{part}").strip()[2:] for part in parts)
    handlers, quirks = FOLDER + "/irq_handlers", FOLDER + "/quirks"
    short = address.partition(":")[2]
    return {
        handlers: recorded[handlers].replace("0000:01:10.0", address),
        quirks: recorded[quirks].replace("01:10.0", short).replace("8086:10ca:1af4:1100", identity),
    }
