"""The pool of a measured machine: one host, that machine, and so many VMs, with all that their records
hold in real pools. A program, so that it shares no interpreter with whoever asks it.

Its arguments are the socket, the number of VFs and that of VMs. It prints its url when it is ready, and ends
when its standard input does.
"""

import base64
import os
import sys
import uuid
from typing import Any, Dict, List

from bench import machines
from hosts import HostDescription, Nic
from plugin_calls import Dom0
from xapi import Xapi

# What records of VMs made from a template are full of, by number and length as in real pools.
LIMIT = '<restriction field="has-vendor-device" min="0" max="1649267441664" property="has-vendor-device"/>'
RECOMMENDATIONS = f"<restrictions>{12 * LIMIT}</restrictions>"
PLATFORM = {f"device-model-{number}": "qemu" for number in range(14)}
BIOS_STRINGS = {f"system-version-{number}": "HVM domU" for number in range(10)}
EFI_VARIABLES = base64.b64encode(bytes(range(256)) * 32).decode()  # every fourth VM boots by UEFI


def vm(number: int, given: List[str]) -> Dict[str, Any]:
    """A VM's record; the first ones were given these VFs."""
    running = number < len(given) // 2 or (number >= len(given) and number % 3 == 0)
    other_config = {
        "auto_poweron": "true",
        "base_template_name": "Debian Bookworm 12",
        "import_task": f"OpaqueRef:{uuid.UUID(int=number)}",
        "install-methods": "cdrom,nfs,http,ftp",
        "linux_template": "true",
        "mac_seed": str(uuid.UUID(int=number)),
        "xo:backup:schedule": str(uuid.UUID(int=0)),
    }
    if number < len(given):
        other_config["pci"] = f"0/{given[number]}"
    firmware = "uefi" if number % 4 == 0 else "bios"
    return {
        "uuid": machines.vm_uuid(number),
        "name_label": machines.vm_name(number),
        "name_description": "One of the machines of the accounting department",
        "power_state": "Running" if running else "Halted",
        "domid": number + 1 if running else -1,
        "other_config": other_config,
        "platform": PLATFORM,
        "recommendations": RECOMMENDATIONS,
        "bios_strings": BIOS_STRINGS,
        "HVM_boot_params": {"order": "cdn", "firmware": firmware},
        "NVRAM": {"EFI-variables": EFI_VARIABLES} if firmware == "uefi" else {},
        "xenstore_data": {"vm-data": "", "vm-data/mmio-hole-size": "268435456"},
        "tags": ["accounting"],
    }


def fill(xapi: Xapi, socket: str, vfs: int, vms: int) -> None:
    described = machines.description(vfs)
    nics = [
        Nic(device, mac, "xenbr0" if device == "eth0" else f"xapi-{device}", device == "eth0", sriov=True)
        for card in described.cards
        for device, mac in zip(card.interfaces, card.macs)
    ]
    host = HostDescription("host1", described.host_uuid, str(uuid.uuid4()), nics)
    ref = xapi.add_host(host, Dom0(os.devnull), socket)
    given = machines.given(vfs)
    for number in range(vms):
        record = xapi.database.create("VM", dict(vm(number, given), affinity=ref))
        for class_name, count in (("VIF", 1), ("VBD", 2)):
            for _ in range(count):
                xapi.database.create(class_name, {"VM": record})


if __name__ == "__main__":
    with Xapi() as served:
        fill(served, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
        print(served.listen(), flush=True)
        sys.stdin.read()
