"""What a machine is made of: cards, interfaces, boot files, hypervisor. Values only; the folder that
looks like the machine is made of them elsewhere."""

import json
from functools import lru_cache
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

# What XCP-ng keeps dom0 from loading by itself (its blacklist-vfunc-drivers.conf).
XCPNG_BLACKLIST = ("igbvf", "ixgbevf", "i40evf", "cxgb4vf")
SATA = "0000:00:1f.2"  # the chipset's own controller, on every machine
MMIO, BUSES = "mmio", "buses"  # what the firmware left too little of for a card's VFs


class Sriov(NamedTuple):
    """The SR-IOV capability of a card's functions."""

    total: int  # what sriov_totalvfs shows; 0: switched off in the card's firmware
    device: str  # of a VF, four hexadecimal digits
    name: str = "Virtual Function"  # of a VF, as pci.ids has it
    offset: int = 128
    stride: int = 2
    driver: Optional[str] = None  # dom0's module for these VFs
    parameter: Optional[str] = None  # the PF driver's option that creates VFs when it is loaded
    for_all: bool = False  # whether it is one number for all devices; else an array, one a device
    in_driver: bool = True  # whether the PF's driver can create VFs by sysfs
    makes: Optional[int] = None  # so many VFs, whatever the driver is asked for
    at_most: Optional[int] = None  # so many VFs, however many more the driver is asked for
    lacking: Optional[str] = None  # MMIO or BUSES


class Card(NamedTuple):
    """PCI functions of one kind: the ports of a network card, or a controller without ports."""

    addresses: Tuple[str, ...]
    device: str  # vendor:device
    name: str  # as pci.ids has it
    driver: Optional[str]
    subsystem: str = "8086:0003"
    pci_class: str = "020000"
    interfaces: Tuple[str, ...] = ()  # none: not a network card, or one without a driver
    macs: Tuple[str, ...] = ()
    speed: int = 10000  # Mbit/s
    cable: bool = True
    up: bool = True  # whether dom0 brings the interfaces up at boot
    numa_node: int = -1  # by ACPI, or none: Xen knows it, dom0's kernel does not
    sriov: Optional[Sriov] = None


class Interface(NamedTuple):
    """An interface that dom0 makes over others: `kind` is bridge, openvswitch, bond or vlan."""

    name: str
    kind: str
    over: Tuple[str, ...]
    tag: int = 0  # of a vlan
    ipv4: str = ""  # with its prefix length: 192.168.1.11/24


class Disk(NamedTuple):
    """A block device of dom0: a disk of a controller, or one made of others (device mapper, md)."""

    name: str
    over: Tuple[str, ...]  # the address of its controller, or the names of block devices
    use: str = ""  # where it is mounted, or `swap`
    parts: Tuple[Tuple[str, str], ...] = ()  # partitions: name and use
    links: Tuple[str, ...] = ()  # that udev makes: /dev/disk/by-id/...


class Description(NamedTuple):
    cards: Tuple[Card, ...]
    interfaces: Tuple[Interface, ...] = ()
    disks: Tuple[Disk, ...] = ()
    management_interface: str = "xenbr0"
    hostname: str = "host1"
    host_uuid: str = "8c2f7d8e-5d0b-4a43-9f0e-4a1b6a0c1a01"
    brand: str = "XCP-ng"
    version: str = "8.3.0"
    xen_version: str = "4.17.5"
    cpu_nodes: Tuple[int, ...] = (0, 0, 0, 0)  # the NUMA node of each physical CPU, -1: none
    kernel: str = "4.19.0+1"
    kernel_build: str = "#1 SMP Tue Jul 1 14:00:00 CEST 2025"
    iproute: Tuple[int, int] = (4, 11)  # its texts changed with 5.0
    bootloader: str = "grub"  # or grub-efi, extlinux
    extlinux: int = 6  # its major version
    xen_options: str = (
        "dom0_mem=7584M,max:7584M watchdog ucode=scan dom0_max_vcpus=1-16"
        " crashkernel=256M,below=4G console=vga vga=mode-0x0311"
    )
    iommu: str = "Intel VT-d"  # what the firmware offers: or AMD-Vi, or nothing
    iommu_by_default: bool = True  # whether this Xen turns it on without being told to
    pciback: str = "built-in"  # or the name of its module, or "missing"
    blacklist: Tuple[str, ...] = XCPNG_BLACKLIST
    modprobe: str = ""  # what the administrator wrote into /etc/modprobe.d/sriov.conf
    dracut_hostonly: bool = True  # else its images have nothing of /etc/modprobe.d
    initrd_drivers: bool = True  # whether its images have the network cards' drivers
    kernel_log: Tuple[str, ...] = ()  # lines of this machine in `dmesg`, at each boot


def members(interfaces: Sequence[Interface], top: Interface) -> List[str]:
    """The cards' interfaces that one of dom0's stands on, through bridge, bond and VLAN."""
    made = {described.name: described for described in interfaces}
    return [
        name
        for below in top.over
        for name in (members(interfaces, made[below]) if below in made else [below])
    ]


def intel_82599(addresses: Tuple[str, ...], interfaces: Tuple[str, ...], macs: Tuple[str, ...]) -> Card:
    """An Intel 82599: the driver leaves 63 of its 64 VFs a port to be used."""
    return Card(
        addresses=addresses,
        device="8086:10fb",
        name="82599ES 10-Gigabit SFI/SFP+ Network Connection",
        driver="ixgbe",
        interfaces=interfaces,
        macs=macs,
        numa_node=0,
        sriov=Sriov(
            total=63,
            device="10ed",
            name="82599 Ethernet Controller Virtual Function",
            driver="ixgbevf",
            parameter="max_vfs",
        ),
    )


def default_description(number: int = 1, **changes: Any) -> Description:
    """A usual host of a pool: a two-port Intel 82599 with 63 VFs a port and a management NIC.

    `number` tells the hosts of a pool apart (name, UUID, MACs, IP address); `changes` are fields of
    `Description`.
    """
    management = Card(
        addresses=("0000:02:00.0",),
        device="8086:1521",
        name="I350 Gigabit Network Connection",
        driver="igb",
        subsystem="8086:00a1",
        interfaces=("eth0",),
        macs=(f"00:16:3e:00:{number:02x}:00",),
        speed=1000,
        numa_node=0,
        sriov=Sriov(
            total=7,
            device="1520",
            name="I350 Ethernet Controller Virtual Function",
            stride=4,
            driver="igbvf",
            parameter="max_vfs",
        ),
    )
    fast = intel_82599(
        ("0000:07:00.0", "0000:07:00.1"),
        ("eth1", "eth2"),
        (f"00:1b:21:00:{number:02x}:00", f"00:1b:21:00:{number:02x}:01"),
    )
    described: Dict[str, Any] = {
        "cards": (management, fast),
        "interfaces": (Interface("xenbr0", "bridge", ("eth0",), ipv4=f"192.168.1.{10 + number}/24"),),
        "disks": (Disk("sda", (SATA,), parts=(("sda1", "/"), ("sda2", "swap"), ("sda3", ""))),),
        "hostname": f"host{number}",
        "host_uuid": f"8c2f7d8e-5d0b-4a43-9f0e-4a1b6a0c1a{number:02x}",
    }
    described.update(changes)
    return Description(**described)


def recorded_description(**changes: Any) -> Description:
    """The host of the recordings: two igb cards, down at boot, and a management NIC."""
    management = Card(
        addresses=("0000:00:02.0",),
        device="1af4:1000",
        name="Virtio network device",
        driver="virtio-pci",
        subsystem="1af4:0001",
        interfaces=("enp0s2",),
        macs=("52:54:00:12:34:56",),
    )
    cards = Card(
        addresses=("0000:01:00.0", "0000:02:00.0"),
        device="8086:10c9",
        name="82576 Gigabit Network Connection",
        driver="igb",
        subsystem="1af4:1100",
        interfaces=("enp1s0", "enp2s0"),
        macs=("02:00:00:34:00:00", "02:00:00:34:01:00"),
        speed=1000,
        up=False,
        sriov=Sriov(total=7, device="10ca", name="82576 Virtual Function", driver="igbvf"),
    )
    described: Dict[str, Any] = {
        "cards": (management, cards),
        "management_interface": "enp0s2",
        "hostname": "h1",
        "kernel": "6.1.0-50-amd64",
        "kernel_build": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-07-02)",
        "iproute": (6, 1),
        "pciback": "xen-pciback",
        "blacklist": (),
        "xen_options": "console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all"
        " dom0_mem=1024M,max:1024M dom0_max_vcpus=2 spec-ctrl=eager-fpu iommu=1",
    }
    described.update(changes)
    return Description(**described)


@lru_cache(maxsize=None)
def from_json(text: str) -> Description:
    """What `json.dumps` made of one: lists, in which a card's SR-IOV comes last."""

    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    plain: Any = Description(*frozen(json.loads(text)))
    made: Description = plain._replace(
        cards=tuple(Card(*own)._replace(sriov=sriov and Sriov(*sriov)) for *own, sriov in plain.cards),
        interfaces=tuple(Interface(*one) for one in plain.interfaces),
        disks=tuple(Disk(*one) for one in plain.disks),
    )
    return made
