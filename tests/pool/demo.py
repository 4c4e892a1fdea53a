#!/usr/bin/env python3
"""`make demo`: the original procedure, as calls of the plugin, on a pool in a box.

The pool's hosts are folders (machine.py) and its xapi is an imitation (xapi.py); the plugin is the real
one, started by that xapi as a real one starts it, and the client is the real XenAPI.
"""

import json
import os
import subprocess
import sys
import textwrap
import time
from typing import Any, Dict, List, Sequence

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../plugins"))

import XenAPI
from box import PoolInABox
from box_host import PLUGIN, BoxHost
from machine_description import default_description

BOOT_SERVICE = os.path.join(os.path.dirname(PLUGIN), "../hooks/boot/sriov-restore")
XEN_OPTIONS = "dom0_mem=7584M,max:7584M watchdog iommu=0"


def tell(text: str) -> None:
    print("\n" + textwrap.fill(" ".join(text.split()), 100))


def table(records: Sequence[Dict[str, Any]], columns: Sequence[str]) -> None:
    rows: List[List[str]] = [
        ["-" if record[name] is None else str(record[name]) for name in columns] for record in records
    ]
    widths = [max(map(len, column)) for column in zip(columns, *rows)]
    for row in [list(columns)] + rows:
        print("    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


class Administrator:
    """Somebody with a XenAPI session, who shows each call and its answer."""

    def __init__(self, session: Any, host: BoxHost) -> None:
        self.session = session
        self.host = host

    def call(self, function: str, **args: str) -> Any:
        shown = "".join(f" args:{key}={value}" for key, value in args.items())
        print(f"\n  $ xe host-call-plugin host-uuid={self.host.uuid} plugin=sriov fn={function}{shown}")
        return json.loads(self.session.xenapi.host.call_plugin(self.host.ref, "sriov", function, args))

    def show(self, answer: Dict[str, Any], *keys: str) -> None:
        for key in keys:
            print(f"    {key}: {json.dumps(answer[key])}")

    def problems(self, answer: Dict[str, Any]) -> None:
        for problem in answer["problems"]:
            print(f"    problem {problem['code']}: {problem['message']}\n        {problem['hint']}")


def play(box: PoolInABox, session: Any) -> None:
    host = box.hosts[0]
    admin = Administrator(session, host)

    tell(
        f"""A pool of two XCP-ng hosts, each with a two-port Intel 82599 and a management NIC. We talk to
        {host.name} through XenAPI. Its Xen was told to leave the IOMMU off, and without an IOMMU no device
        can be given to a VM. What does the plugin say of it?"""
    )
    status = admin.call("status")
    admin.show(status, "platform", "xen_version", "iommu", "pciback", "vfs")
    admin.problems(status)

    tell(
        """Step 1. On XenServer 5.6 one edited the boot configuration by hand to put `iommu=1` on Xen's
        command line, and ran the boot loader's tool. Now it is one call (dry_run=true shows what it would
        write)."""
    )
    admin.show(admin.call("enable_iommu"), "changed", "xen_option", "xen_option_after", "reboot_required")

    tell(
        """Step 2. pciback, the driver that holds devices for VMs, went into /etc/rc.local. The call loads it
        now, and has our boot service do it at each boot."""
    )
    admin.show(admin.call("load_pciback"), "loaded", "changed", "persistent", "module")

    tell("Step 3. The network driver is told to make 8 VFs a port, and the host is rebooted (simulated).")
    print("\n  # echo 'options ixgbe max_vfs=8,8' > /etc/modprobe.d/ixgbe.conf && reboot")
    host.machine.replace_file("/etc/modprobe.d/ixgbe.conf", b"options ixgbe max_vfs=8,8\n")
    host.machine.reboot()
    subprocess.run([sys.executable, BOOT_SERVICE], env=host.environment, check=True)
    status = admin.call("status")
    admin.show(status, "iommu", "pciback", "vfs", "reboot_required")
    admin.problems(status)

    tell(
        """Step 4. One read the addresses of the VFs off lspci, some 120 of them on a full card. list_vfs
        shows them by port and in order, with their state (here: of one port)."""
    )
    table(
        admin.call("list_vfs", pf="eth1"), ("address", "index", "pf", "interface", "mac", "driver", "state")
    )

    tell("Step 5. One VF goes to the VM `web`, in the way that xapi has always known.")
    vm = box.add_vm("web")
    vf = admin.call("list_vfs", pf="eth1", state="free")[0]
    print(f"\n  $ xe vm-param-set uuid={session.xenapi.VM.get_uuid(vm)} other-config:pci=0/{vf['address']}")
    session.xenapi.VM.add_to_other_config(vm, "pci", f"0/{vf['address']}")
    assigned = admin.call("list_vfs", state="assigned")
    for record in assigned:
        record["vm"] = record["assigned_to"]["vm_name"]
    table(assigned, ("address", "state", "vm"))

    tell("And what a wrong word gets: a code for scripts, a sentence, and what to do.")
    try:
        admin.call("list_vfs", state="busy")
    except XenAPI.Failure as failure:
        print("    " + "\n    ".join(failure.details))


def main() -> None:
    began = time.monotonic()
    descriptions = [
        default_description(number, xen_options=XEN_OPTIONS, pciback="xen-pciback") for number in (1, 2)
    ]
    with PoolInABox(descriptions, interpreter=sys.executable) as box, box.session() as session:
        play(box, session)
    print(f"\nDone in {time.monotonic() - began:.1f} seconds. `make lab` plays the same on a real Xen.")


if __name__ == "__main__":
    main()
