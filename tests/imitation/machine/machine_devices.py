"""The sysfs trees of devices, drivers and interfaces, made from those of the recorded igb card by
changing what tells one from another: identity, address, place. Devices come without a driver."""

import struct
from functools import lru_cache
from typing import Any, Dict, NamedTuple

from machine_description import Card, Sriov
from machine_tree import Tree, link_to, moved, recording, without

BUS = "/sys/bus/pci"
NET = "/sys/class/net"
NO_VFS = "xen-1-before-vfs"
VFS = "xen-2-seven-vfs-on-two-pfs"
ON_PCIBACK = "xen-3-one-vf-on-pciback"
IN_GUEST = "xen-4-that-vf-in-a-running-domu"
RECORDED_PORT = "/sys/devices/pci0000:00/0000:00:03.0"
RECORDED_PF = RECORDED_PORT + "/0000:01:00.0"
RECORDED_VF = RECORDED_PORT + "/0000:01:10.0"
VF_MEMORY = 0x40000  # bytes, more than from the begin of a recorded VF's first BAR to the end of its last
SRIOV_CAPABILITY = 0x160  # where the recorded card's configuration space has it
# These come with a driver, or belong to that machine's firmware.
LEFT_OUT = ("driver", "net", "ptp", "firmware_node")


class Address(NamedTuple):
    domain: int
    bus: int
    device: int
    function: int

    @property
    def routing(self) -> int:
        return (self.bus << 8) + (self.device << 3) + self.function

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.device:02x}.{self.function:x}"


def parsed(address: str) -> Address:
    domain, bus, rest = address.split(":")
    device, function = rest.split(".")
    return Address(int(domain, 16), int(bus, 16), int(device, 16), int(function, 16))


def virtual_address(physical: str, sriov: Sriov, number: int) -> str:
    """Routing ID of a VF: that of the PF + offset + number * stride (the SR-IOV specification)."""
    routing = parsed(physical).routing + sriov.offset + number * sriov.stride
    return str(Address(parsed(physical).domain, routing >> 8, routing >> 3 & 0x1F, routing & 7))


def virtual_number(physical: str, card: Card, virtual: str) -> int:
    """The other way round: which VF of its PF one is."""
    assert card.sriov is not None
    return (parsed(virtual).routing - parsed(physical).routing - card.sriov.offset) // card.sriov.stride


@lru_cache(maxsize=None)
def _template(source: str, top: str) -> Tree:
    return moved(without(recording(source).tree, top, LEFT_OUT), [(top, top)])


def physical_function(card: Card, folder: str) -> Tree:
    """A PF of that card in the sysfs folder `folder`, which ends with its address."""
    tree = moved(_template(NO_VFS, RECORDED_PF), [(RECORDED_PF, folder)])
    vendor, device = card.device.split(":")
    tree.update(_identity(folder, vendor, device, card))
    changes = {0: struct.pack("<HH", int(vendor, 16), int(device, 16))}
    if card.sriov is None:
        tree = {path: entry for path, entry in tree.items() if "/sriov_" not in path}
    else:
        total, offset, stride = card.sriov.total, card.sriov.offset, card.sriov.stride
        shown = {"totalvfs": total, "offset": offset, "stride": stride, "vf_device": card.sriov.device}
        tree.update({f"{folder}/sriov_{name}": f"{value}\n" for name, value in shown.items()})
        # The card itself has one more than igb and ixgbe use (recorded: 8 there, 7 in sriov_totalvfs).
        changes[SRIOV_CAPABILITY + 0x0C] = struct.pack("<HH", total + 1, total + 1)
        changes[SRIOV_CAPABILITY + 0x14] = struct.pack("<HH", offset, stride)
        changes[SRIOV_CAPABILITY + 0x1A] = struct.pack("<H", int(card.sriov.device, 16))
    tree[folder + "/config"] = _config(tree[folder + "/config"], card, changes)
    return tree


def virtual_function(card: Card, folder: str, physical: str) -> Tree:
    """A VF in the sysfs folder `folder`, of the PF in the folder `physical`."""
    assert card.sriov is not None
    tree = moved(_template(VFS, RECORDED_VF), [(RECORDED_VF, folder), (RECORDED_PF, physical)])
    tree.update(_identity(folder, card.device.split(":")[0], card.sriov.device, card))
    # Its configuration space keeps ffff:ffff: only the attributes tell a VF's identity.
    tree[folder + "/config"] = _config(tree[folder + "/config"], card, {})
    tree[folder + "/resource"] = _own_memory(tree[folder + "/resource"], folder.rsplit("/", 1)[-1])
    return tree


def _own_memory(resource: str, address: str) -> str:
    """The BARs of the recorded VF, at addresses that no other VF has."""
    further = (parsed(address).routing - parsed(RECORDED_VF.rsplit("/", 1)[-1]).routing) * VF_MEMORY
    lines = [[int(word, 16) for word in line.split()] for line in resource.splitlines()]
    moved_lines = [
        [start + further, end + further, flags] if flags else [0, 0, 0] for start, end, flags in lines
    ]
    return "".join(" ".join(f"0x{word:016x}" for word in line) + "\n" for line in moved_lines)


def root_port(folder: str, bus: int) -> Tree:
    """The port that leads to `bus`, with its driver: nobody takes that away."""
    behind = [path.rsplit("/", 1)[-1] for path in recording(NO_VFS).tree if path.startswith(RECORDED_PORT)]
    cards = [name for name in behind if name.count(":") == 2 and "pcie" not in name]
    recorded = without(recording(NO_VFS).tree, RECORDED_PORT, cards + ["firmware_node"])
    tree = moved(recorded, [(RECORDED_PORT, folder)])
    address = folder.rsplit("/", 1)[-1]
    tree[folder + "/uevent"] = tree[folder + "/uevent"].replace("0000:00:03.0", address)
    tree[folder + "/secondary_bus_number"] = tree[folder + "/subordinate_bus_number"] = f"{bus}\n"
    return tree


def driver(name: str, module: str) -> Tree:
    """The folder of a driver that holds no device yet; pciback's has its own files."""
    if name == "pciback":
        source, recorded = ON_PCIBACK, f"{BUS}/drivers/pciback"
    else:
        source, recorded = NO_VFS, f"{BUS}/drivers/igb"
    folder = f"{BUS}/drivers/{name}"
    found = moved(recording(source).tree, [(recorded, folder)])
    tree = {path: entry for path, entry in found.items() if ":" not in path}
    tree[folder + "/module"] = link_to(f"/sys/module/{module.replace('-', '_')}", folder + "/module")
    for name in ("irq_handlers", "slots", "quirks"):
        if f"{folder}/{name}" in tree:
            tree[f"{folder}/{name}"] = ""
    return tree


def interface(folder: str, device: str, mac: str, number: int, of_vf: bool) -> Tree:
    """A network interface that is down, in the sysfs folder `folder`; `device` is "" for one that
    only software makes, as bridges."""
    if of_vf:
        source, owner, recorded = VFS, RECORDED_VF, RECORDED_VF + "/net/enp1s0v0"
    else:
        source, owner, recorded = NO_VFS, RECORDED_PF, RECORDED_PF + "/net/enp1s0"
    tree = moved(_template(source, recorded), [(recorded, folder), (owner, device or "/none")])
    if not device:
        del tree[folder + "/device"]
    name = folder.rsplit("/", 1)[-1]
    shown = {"address": mac, "ifindex": number, "iflink": number}
    tree.update({f"{folder}/{key}": f"{value}\n" for key, value in shown.items()})
    tree[folder + "/uevent"] = f"INTERFACE={name}\nIFINDEX={number}\n"
    return tree


def backend(domain: int) -> Tree:
    """What a running guest's PCI back end adds to dom0's sysfs."""
    recorded, folder = "/sys/devices/pci-1-0", f"/sys/devices/pci-{domain}-0"
    tree = moved(recording(IN_GUEST).tree, [(recorded, folder)])
    for name in ("uevent", "nodename"):
        tree[f"{folder}/{name}"] = tree[f"{folder}/{name}"].replace("pci/1/0", f"pci/{domain}/0")
    return tree


def surroundings() -> Tree:
    """What every machine has: bus, hypervisor, the chipset's devices and the drivers of those."""
    tree = recording(NO_VFS).tree
    chipset = ("0000:00:00.0", "0000:00:1f.0", "0000:00:1f.2", "0000:00:1f.3")
    kept = [(f"{BUS}/devices/{name}", f"{BUS}/devices/{name}") for name in chipset]
    kept += [(f"/sys/devices/pci0000:00/{name}",) * 2 for name in chipset]
    result = moved(tree, [("/sys/hypervisor", "/sys/hypervisor")])
    for place in kept:
        result.update(moved(tree, [place]))
    for path, entry in moved(tree, [(BUS, BUS)]).items():
        of_card = path.startswith((f"{BUS}/drivers/igb", f"{BUS}/drivers/virtio-pci", f"{BUS}/slots/"))
        points_to_device = path.count(":") and not path.endswith(chipset)
        if not of_card and not points_to_device:
            result[path] = entry
    return result


def _identity(folder: str, vendor: str, device: str, card: Card) -> Tree:
    subsystem_vendor, subsystem_device = card.subsystem.split(":")
    numbers = [int(text, 16) for text in (vendor, device, subsystem_vendor, subsystem_device)]
    base, sub, interface_kind = card.pci_class[:2], card.pci_class[2:4], card.pci_class[4:]
    modalias = "pci:v{:08X}d{:08X}sv{:08X}sd{:08X}".format(*numbers)
    modalias += f"bc{base.upper()}sc{sub.upper()}i{interface_kind.upper()}"
    shown = {
        "vendor": f"0x{vendor}",
        "device": f"0x{device}",
        "subsystem_vendor": f"0x{subsystem_vendor}",
        "subsystem_device": f"0x{subsystem_device}",
        "class": f"0x{card.pci_class}",
        "modalias": modalias,
        "numa_node": "-1",  # whatever it is: Linux is booted without NUMA as dom0 (arch/x86/xen/setup.c)
        "enable": "0",
        "uevent": f"PCI_CLASS={int(card.pci_class, 16):04X}\n"
        f"PCI_ID={vendor.upper()}:{device.upper()}\n"
        f"PCI_SUBSYS_ID={card.subsystem.upper()}\n"
        f"PCI_SLOT_NAME={folder.rsplit('/', 1)[-1]}\n"
        f"MODALIAS={modalias}",
    }
    return {f"{folder}/{name}": text + "\n" for name, text in shown.items()}


def _config(entry: Dict[str, Any], card: Card, changes: Dict[int, bytes]) -> Dict[str, Any]:
    """The configuration space with those bytes, and with the card's class and subsystem."""
    subsystem = [int(text, 16) for text in card.subsystem.split(":")]
    fields = dict(changes)
    fields[0x09] = bytes.fromhex(card.pci_class)[::-1]
    fields[0x2C] = struct.pack("<HH", *subsystem)
    space = bytearray(bytes.fromhex(entry["hex"]))
    for offset, data in fields.items():
        space[offset : offset + len(data)] = data
    return {"hex": bytes(space).hex(), "len": entry["len"]}
