#!/usr/bin/env python3
"""`make demo`: a pool of two bare hosts gets VFs and gives them to VMs, on a pool in a box: by sriovctl, then
by the calls of the plugin that stand for the original procedure, step by step.

The pool's hosts are folders (machine.py) and its xapi is an imitation (xapi.py); the plugin is the real
one, started by that xapi as a real one starts it, and the clients are the real sriovctl and XenAPI.
"""

import json
import os
import subprocess
import sys
import textwrap
import time
from contextlib import redirect_stderr
from importlib import import_module
from typing import Any, Dict, List, Sequence

sys.path.append(os.path.abspath(f"{__file__}/../.."))
sys.path.extend(import_module("python_path").FOLDERS)

import XenAPI
from box import PoolInABox
from box_host import PLUGIN, BoxHost
from machine_description import default_description
from sriovctl import errors
from sriovctl import main as sriovctl

BOOT_SERVICE = os.path.join(os.path.dirname(PLUGIN), "../hooks/boot/sriov-restore")
HOOKS = ("vm-pre-start", "vm-post-destroy")
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
    """A XenAPI session that shows each call and its answer."""

    def __init__(self, box: PoolInABox, session: Any) -> None:
        self.api = session.xenapi
        self.names = {host.uuid: host.name for host in box.hosts}

    def call(self, host: BoxHost, function: str, **args: str) -> Any:
        shown = "".join(f" args:{key}={value}" for key, value in args.items())
        print(f"\n  $ xe host-call-plugin host-uuid={host.uuid} plugin=sriov fn={function}{shown}")
        return json.loads(self.api.host.call_plugin(host.ref, "sriov", function, args))

    def refused(self, host: BoxHost, function: str, **args: str) -> None:
        try:
            self.call(host, function, **args)
        except XenAPI.Failure as failure:
            code, *sentences = failure.details
            print(f"    {code}")
            for sentence in sentences:
                print(textwrap.fill(sentence, 96, initial_indent="    ", subsequent_indent="    "))
        else:
            sys.exit(f"{function} was not refused")

    def vm(self, name: str) -> str:
        (ref,) = self.api.VM.get_by_name_label(name)
        return str(self.api.VM.get_uuid(ref))

    def start(self, vm: str, host: BoxHost) -> None:
        """Shows what xe says of a start that a hook ends."""
        print(f"\n  $ xe vm-start uuid={vm} on={host.name}")
        try:
            self.api.VM.start_on(self.api.VM.get_by_uuid(vm), host.ref, False, False)
        except XenAPI.Failure as failure:
            _, hook, _, stdout, _ = failure.details
            print(f"    3rd party xapi hook failed: {hook}")
            for sentence in stdout.splitlines():
                print(textwrap.fill(sentence, 96, initial_indent="    ", subsequent_indent="    "))

    def show(self, answer: Dict[str, Any], *keys: str) -> None:
        for key in keys:
            print(f"    {key}: {json.dumps(answer[key])}")

    def problems(self, answer: Dict[str, Any]) -> None:
        for problem in answer["problems"]:
            print(f"    problem {problem['code']}: {problem['message']}\n        {problem['hint']}")

    def assignments(self, host: BoxHost) -> None:
        """`list_assignments` as a table, a line a request, and what does not fit together."""
        answer = self.call(host, "list_assignments")
        nothing: Dict[str, Any] = {"request": None, "by": None, "vf": None, "settings": {}, "portable": None}
        rows = [
            {
                **request,
                "vm": vm["vm_name"],
                "host": self.names.get(vm["host_uuid"]),
                "mac": request["settings"].get("mac"),
                "vlan": request["settings"].get("vlan"),
                "pci": vm["pci"],
            }
            for vm in answer["vms"]
            for request in vm["requests"] or [nothing]
        ]
        table(rows, ("vm", "request", "by", "host", "vf", "mac", "vlan", "portable", "pci"))
        for conflict in answer["conflicts"]:
            print(f"    conflict {conflict['code']}:")
            for text in (conflict["message"], conflict["hint"]):
                print(textwrap.fill(text, 96, initial_indent=" " * 8, subsequent_indent=" " * 8))


def host_gets_vfs(admin: Administrator, host: BoxHost) -> None:
    tell(
        f"""A pool of two XCP-ng hosts, each with a two-port Intel 82599 and a management NIC. We talk to
        {host.name} through XenAPI. Its Xen was told to leave the IOMMU off, and without an IOMMU no device
        can be given to a VM. What does the plugin say of it?"""
    )
    status = admin.call(host, "status")
    admin.show(status, "platform", "xen_version", "iommu", "pciback", "vfs")
    admin.problems(status)

    tell(
        """Step 1. On XenServer 5.6 an administrator edited the boot configuration to put `iommu=1` on Xen's
        command line, and ran the boot loader's tool. Now it is one call (dry_run=true shows the result)."""
    )
    answer = admin.call(host, "enable_iommu")
    admin.show(answer, "changed", "xen_option", "xen_option_after", "reboot_required")

    tell(
        """Step 2. pciback, the driver that holds devices for VMs, went into /etc/rc.local. The call loads it
        now, and has our boot service do it at each boot. Then the host is rebooted (simulated)."""
    )
    admin.show(admin.call(host, "load_pciback"), "loaded", "changed", "persistent", "module")
    print("\n  # reboot", flush=True)
    host.machine.reboot()
    subprocess.run([sys.executable, BOOT_SERVICE], env=host.environment, check=True)
    status = admin.call(host, "status")
    admin.show(status, "iommu", "pciback", "reboot_required")
    admin.problems(status)

    tell(
        """Step 3. VFs were made by an option of the network driver, and a reboot. Now one call makes them,
        and the boot service makes them again at each boot. Two, so that we soon run out of them."""
    )
    admin.show(admin.call(host, "set_vf_count", pf="eth1", count="2"), "before", "after", "changed")

    tell(
        """lspci shows only the addresses of the VFs, some 120 on a full card. list_vfs shows them by port and
        in order, with their state."""
    )
    vfs = admin.call(host, "list_vfs", pf="eth1")
    table(vfs, ("address", "index", "pf", "interface", "mac", "driver", "state"))


def vms_get_vfs(admin: Administrator, box: PoolInABox) -> None:
    master, other = box.hosts
    web, db, mail = (admin.api.VM.get_uuid(box.add_vm(name)) for name in ("web", "db", "mail"))

    tell(
        """Step 4. `other-config:pci` of each VM was written by hand, with a list of who has what. Now a call
        names the VM and the network: the pool finds a VF, records the lease, and writes the entry. MAC and
        VLAN belong to the VM; if no MAC is given, one is derived from the VM's UUID and never changes."""
    )
    admin.show(admin.call(master, "assign_vf", vm_uuid=web, network="xenbr1"), "request", "vf", "warnings")
    answer = admin.call(master, "assign_vf", vm_uuid=db, network="xenbr1", vlan="12")
    admin.show(answer, "request", "vf", "warnings")
    admin.assignments(master)

    tell("A third VM finds none left, and is told who has them.")
    admin.refused(master, "assign_vf", vm_uuid=mail, network="xenbr1")

    tell(
        """Step 5. A VM is cloned. xapi copies `other-config:pci` too, so two VMs name one VF. The copy is
        recognised by its mark."""
    )
    print(f"\n  $ xe vm-clone uuid={web} new-name-label='web copy'")
    clone = admin.api.VM.get_uuid(admin.api.VM.clone(admin.api.VM.get_by_uuid(web), "web copy"))
    admin.assignments(master)

    tell(
        f"""Step 6. {other.name} has the same card, and its IOMMU is on. With VFs there adopt_vm gives the
        clone the requests of its origin, with a VF and a MAC of its own, and the third VM gets a VF too;
        whichever host of the pool is asked, its master decides. (`portable` says whether the address would do
        on every host with that network; all of them are leased now, so none would.)"""
    )
    admin.show(admin.call(other, "set_vf_count", pf="eth1", count="2"), "before", "after", "changed")
    admin.show(admin.call(other, "adopt_vm", vm_uuid=clone), "origin_uuid", "vfs")
    answer = admin.call(other, "assign_vf", vm_uuid=mail, network="xenbr1")
    admin.show(answer, "request", "vf", "portable")
    admin.assignments(master)


def vms_start_anywhere(admin: Administrator, box: PoolInABox) -> None:
    master, other = box.hosts
    web, mail = (admin.vm(name) for name in ("web", "mail"))

    tell(
        f"""Step 7. A VM used to lose its VFs when it started on another host. Now web is started on
        {other.name}; mail gives up its VF there to make room. The address that web has belongs to another VM
        there, so the start hook has the master give web the free VF, and xapi starts it again. The client of
        the first start is told so."""
    )
    admin.call(other, "unassign_vf", vm_uuid=mail, all="true")
    admin.start(web, other)
    box.wait_for_calls()
    print(f"\n  $ xe vm-param-get uuid={web} param-name=power-state")
    print(f"    {admin.api.VM.get_power_state(admin.api.VM.get_by_uuid(web))}")
    vfs = admin.call(other, "list_vfs", vm_uuid=web)
    table(vfs, ("address", "interface", "mac", "driver", "state"))

    tell("A refused call returns a code for scripts, a sentence, and what to do.")
    admin.refused(master, "list_vfs", state="busy")


def by_sriovctl(box: PoolInABox) -> None:
    """What an administrator types on a workstation."""
    os.environ.update(SRIOVCTL_HOST=box.url, SRIOVCTL_PASSWORD=box.xapi.password)
    box.add_vm("web")
    box.add_vm("db")

    def run(*words: str) -> None:
        print(f"\n  $ sriovctl {' '.join(words)}", flush=True)
        with redirect_stderr(sys.stdout):
            status = sriovctl.run(list(words), local=False)
        box.wait_for_calls()
        if status not in (errors.DONE, errors.PARTLY):
            sys.exit(f"sriovctl {words[0]} ended with status {status}")

    tell(
        """A pool of two bare XCP-ng hosts, each with a two-port Intel 82599 and a management NIC. Xen's IOMMU
        is off, no VF exists. The package is installed; we sit at a workstation."""
    )
    run("status")
    tell(
        """One command makes it ready. It shows its plan (and would ask), changes each host, reboots one after
        the other (simulated here), looks at it again, and goes on."""
    )
    run("setup", "--pf", "eth1", "--count", "4", "--yes")
    run("status")
    tell("A VM gets a VF of a network, with a VLAN. MAC and VLAN belong to the VM from now on.")
    run("assign", "web", "--network", "xenbr1", "--vlan", "12")
    run("assign", "db", "--network", "xenbr1")
    tell("Who has what, as a picture; `--output pool.html` makes one for the browser.")
    run("map")
    tell("A VM goes to another host, with VFs of that host and the same MAC.")
    run("relocate", "web", "host2", "--start", "--yes")
    run("vms")


def main() -> None:
    began = time.monotonic()
    bare = [default_description(number, xen_options=XEN_OPTIONS, pciback="xen-pciback") for number in (1, 2)]
    with PoolInABox(bare, interpreter=sys.executable) as box:
        for host in box.hosts:
            for hook in HOOKS:
                box.link_hook(host, hook)
        by_sriovctl(box)
    print("\n" + "-" * 100)
    tell("The same by calls of the plugin, as programs make them, in the steps of the original procedure.")
    descriptions = [
        default_description(1, xen_options=XEN_OPTIONS, pciback="xen-pciback"),
        default_description(2),
    ]
    with PoolInABox(descriptions, interpreter=sys.executable) as box, box.session() as session:
        for host in box.hosts:
            for hook in HOOKS:
                box.link_hook(host, hook)
        admin = Administrator(box, session)
        host_gets_vfs(admin, box.hosts[0])
        vms_get_vfs(admin, box)
        vms_start_anywhere(admin, box)
    print(f"\nDone in {time.monotonic() - began:.1f} seconds. `make lab` plays the same on a real Xen.")


if __name__ == "__main__":
    main()
