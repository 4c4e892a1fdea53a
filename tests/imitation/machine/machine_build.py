"""Making a machine from its description: the files on its disk, and what a boot makes of them."""

import json
import os
import uuid
from typing import Any, Dict

import commands
import kernel_modprobe
import kernel_modules
import kernel_net
import machine_boot
import machine_disks
from kernel_sysfs import Sysfs
from machine import LOG, OWN_FOLDER, Machine
from machine_description import Card, Description
from machine_devices import BUS, NET, interface, parsed, physical_function, root_port, surroundings
from machine_pci_ids import pci_ids
from machine_tree import Tree, plant
from sriovlib.machine.xenstored import SOCKET as XENSTORED

FIRST_PORT = 3  # device number of the first root port, as in the recordings


def install(machine: Machine, description: Description) -> None:
    """What is on the disk before the first boot."""
    plant(machine.root, disk(description))
    absent = machine_boot.XEN_CMDLINE if description.bootloader == "extlinux" else "/sbin/extlinux"
    for command in commands.PLACES:
        if command != absent:
            plant(machine.root, {command: "#!/bin/false\nThe machine answers this command itself.\n"})
            os.chmod(machine.path(command), 0o755)


def disk(description: Description) -> Tree:
    own = {
        "description.json": json.dumps(description),
        "state.json": json.dumps({"extlinux": "/boot"}),
        "lock": "",
    }
    tree: Tree = {f"{OWN_FOLDER}/{name}": text for name, text in own.items()}
    tree.update(machine_boot.files(description))
    modules = f"/lib/modules/{description.kernel}"
    drivers = {card.driver for card in description.cards}
    drivers |= {card.sriov.driver for card in description.cards if card.sriov}
    loadable = sorted(f"kernel/drivers/{name}.ko:\n" for name in drivers if name)
    pciback = "kernel/drivers/xen/xen-pciback/{}.ko"
    built_in = pciback.format("xen-pciback") + "\n" if description.pciback == "built-in" else ""
    if description.pciback not in ("built-in", "missing"):
        loadable.append(pciback.format(description.pciback) + ":\n")
    tree.update(
        {
            LOG: "",
            "/etc/xensource-inventory": _inventory(description),
            "/etc/xensource/network.conf": backend(description) + "\n",
            "/var/lib/xcp/networkd.db": _networkd(description),
            "/etc/modprobe.d/blacklist-vfunc-drivers.conf": "".join(
                f"blacklist {name}\n" for name in description.blacklist
            ),
            "/etc/modprobe.d/sriov.conf": description.modprobe,
            kernel_modprobe.image(description): kernel_modprobe.image_text(
                description, {"/etc/modprobe.d/sriov.conf": description.modprobe}
            ),
            "/etc/modules-load.d": {},
            "/usr/share/hwdata/pci.ids": pci_ids(description),
            modules + "/modules.builtin": built_in,
            modules + "/modules.dep": "".join(loadable),
            "/run": {},
            "/tmp": {},
        }
    )
    return tree


def _inventory(description: Description) -> str:
    values = {
        "PRODUCT_BRAND": description.brand,
        "PRODUCT_VERSION": description.version,
        "BUILD_NUMBER": "cloud",
        "INSTALLATION_UUID": description.host_uuid,
        "CONTROL_DOMAIN_UUID": str(uuid.uuid5(uuid.UUID(description.host_uuid), "dom0")),
        "MANAGEMENT_INTERFACE": description.management_interface,
    }
    return "".join(f"{key}='{value}'\n" for key, value in values.items() if value)


def backend(description: Description) -> str:
    """Which kind of bridge this dom0 has."""
    kinds = {interface.kind for interface in description.interfaces}
    return "openvswitch" if "openvswitch" in kinds else "bridge"


def _networkd(description: Description) -> str:
    """networkd's own note of its bridges (xen-api: ocaml/networkd/lib/network_config.ml): ports with
    their interfaces; a VLAN's bridge has none, but the bridge that it stands on and its tag."""
    made = {described.name: described for described in description.interfaces}
    bridges: Dict[str, Any] = {}
    for described in description.interfaces:
        if described.kind not in ("bridge", "openvswitch"):
            continue
        entry: Dict[str, Any] = {"ports": {}, "persistent_b": True}
        for below in described.over:
            if below in made and made[below].kind == "vlan":
                vlan = made[below]
                parents = [
                    other.name
                    for other in description.interfaces
                    if (other.kind, other.over) == (described.kind, vlan.over)
                ]
                entry["vlan"] = [parents[0], vlan.tag]
            else:
                bonded = list(made[below].over) if below in made else [below]
                entry["ports"][below] = {"interfaces": bonded}
        bridges[described.name] = entry
    return json.dumps({"interface_config": {}, "bridge_config": bridges})


# -- a boot --------------------------------------------------------------------------------------


def boot(sysfs: Sysfs) -> None:
    """From the boot loader to udev: nothing of the last boot is left but what is on the disk."""
    description = sysfs.description
    options = machine_boot.next_boot(sysfs)
    for folder in ("/sys", "/proc", "/run"):
        for entry in sysfs.names(folder):
            sysfs.remove(f"{folder}/{entry}")
    new: Dict[str, Any] = {
        "extlinux": sysfs.state["extlinux"],
        "xen_options": options.xen,
        "kernel_log": [f"Linux version {description.kernel} ({description.kernel_build})"],
        "last_interface": 0,
        "last_domain": 0,
        "domains": {},
        "vfs": {},
    }
    sysfs.state.clear()
    sysfs.state.update(new)
    for line in (f"Command line: {options.dom0}", *description.kernel_log):
        sysfs.say(line)
    _hardware(sysfs, options.dom0)
    if description.pciback == "built-in":
        kernel_modules.start_driver(sysfs, "xen-pciback")
    sysfs.state["early"] = True  # from the initrd, and with what it has
    kernel_modules.settle(sysfs)
    sysfs.state["early"] = False
    for name in sysfs.names("/etc/modules-load.d"):
        for module in sysfs.text(f"/etc/modules-load.d/{name}").split():
            kernel_modules.load(sysfs, module)
    _interfaces(sysfs)
    machine_disks.make(sysfs)


def _hardware(sysfs: Sysfs, dom0_options: str) -> None:
    description = sysfs.description
    tree = surroundings()
    major, minor, extra = description.xen_version.split(".", 2)
    for part, text in (("major", major), ("minor", minor), ("extra", "." + extra)):
        tree[f"/sys/hypervisor/version/{part}"] = text + "\n"
    tree.update(
        {
            NET: {},
            "/sys/module": {},
            "/proc/cmdline": dom0_options + "\n",
            "/proc/modules": "",
            XENSTORED: "",  # in the place of its socket, see Machine.xenstore
        }
    )
    sysfs.plant(tree)
    sysfs.state["last_interface"] = 1
    add_loopback(sysfs)
    ports: Dict[str, str] = {}
    for card in description.cards:
        for address in card.addresses:
            _add_device(sysfs, card, address, ports)


def add_loopback(sysfs: Sysfs) -> None:
    folder = "/sys/devices/virtual/net/lo"
    sysfs.plant(interface(folder, "", kernel_net.NO_MAC, 1, False))
    for name, text in (("flags", "0x9"), ("operstate", "unknown"), ("type", "772"), ("mtu", "65536")):
        sysfs.put(f"{folder}/{name}", text + "\n")
    sysfs.link(NET + "/lo", folder)


def _add_device(sysfs: Sysfs, card: Card, address: str, ports: Dict[str, str]) -> None:
    """A PF in its place: on its domain's first bus, or behind a root port of its bus's own."""
    place = parsed(address)
    parent = f"/sys/devices/pci{place.domain:04x}:00"
    if place.bus:
        bus = f"{place.domain:04x}:{place.bus:02x}"
        if bus not in ports:
            port = f"{place.domain:04x}:00:{FIRST_PORT + len(ports):02x}.0"
            ports[bus] = f"{parent}/{port}"
            sysfs.plant(root_port(ports[bus], place.bus))
            sysfs.link(f"{BUS}/devices/{port}", ports[bus])
            sysfs.link(f"{BUS}/drivers/pcieport/{port}", ports[bus])
        parent = ports[bus]
    sysfs.plant(physical_function(card, f"{parent}/{address}"))
    sysfs.link(f"{BUS}/devices/{address}", f"{parent}/{address}")


def _interfaces(sysfs: Sysfs) -> None:
    for card in sysfs.description.cards:
        for title in card.interfaces:
            if card.up and sysfs.exists(f"{NET}/{title}"):
                kernel_net.set_up(sysfs, title, True)
    openvswitch = backend(sysfs.description) == "openvswitch"
    for described in sysfs.description.interfaces:
        if described.kind in ("bridge", "openvswitch") or not openvswitch:
            kernel_net.add_over(sysfs, described)
