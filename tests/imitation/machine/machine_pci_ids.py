"""The names of PCI devices: the pci.ids file of a machine, with the chips that it has and a few more.

The chipset's names are those that lspci printed on the recorded host.
"""

import re
from typing import Dict, List, Tuple

from machine_description import Description
from machine_devices import VFS
from machine_tree import recording

VENDORS = {
    "8086": "Intel Corporation",
    "144d": "Samsung Electronics Co Ltd",
    "14e4": "Broadcom Inc. and subsidiaries",
    "15b3": "Mellanox Technologies",
    "1af4": "Red Hat, Inc.",
    "1b36": "Red Hat, Inc.",
}
_CLASSES = """
C 01  Mass storage controller
\t08  Non-Volatile memory controller
C 02  Network controller
\t00  Ethernet controller
"""


def pci_ids(description: Description) -> str:
    """Vendors and their devices in ascending order, then the classes, as the file is laid out."""
    names: Dict[str, Dict[str, str]] = {vendor: {} for vendor in VENDORS}
    for vendor, device, name in _recorded():
        names.setdefault(vendor, {})[device] = name
    for card in description.cards:
        vendor, device = card.device.split(":")
        devices = names.setdefault(vendor, {})
        devices[device] = card.name
        if card.sriov:
            devices[card.sriov.device] = card.sriov.name
    lines = ["#", "#\tList of PCI ID's", "#"]
    for vendor in sorted(names):
        lines.append(f"{vendor}  {VENDORS.get(vendor, 'Vendor ' + vendor)}")
        lines += [f"\t{device}  {name}" for device, name in sorted(names[vendor].items())]
    return "\n".join(lines) + "\n" + _CLASSES


def _recorded() -> List[Tuple[str, str, str]]:
    """Vendor, device and name of each chip that lspci listed: `... class [0200]: NAME [8086:10ca]`."""
    found = []
    for line in recording(VFS).meta["lspci_nn"].splitlines():
        match = re.search(r"\]: (.*) \[([0-9a-f]{4}):([0-9a-f]{4})\]", line)
        if match:
            name, vendor, device = match.groups()
            found.append((vendor, device, name[len(VENDORS[vendor]) + 1 :]))
    return found
