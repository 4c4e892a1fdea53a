"""The QEMU of the lab, a newer suite's packages unpacked into a folder, and the machine that a Xen host is.

What the machine needs, and why, is in README.md beside this file.
"""

import os
import shutil
import subprocess
import zlib
from typing import List, Mapping, NamedTuple, Optional, Tuple

from lab import debian

SUITE = "trixie"  # the first Debian whose QEMU has igb, a card with SR-IOV
PACKAGES = ("qemu-system-x86", "qemu-utils", "seabios", "ipxe-qemu")
LIBRARIES = "usr/lib/x86_64-linux-gnu"


class Wire(NamedTuple):
    """A cable between two cards: each end sends to the socket of the other. Absolute paths: QEMU opens them
    when it needs them, from another folder."""

    near: str
    far: str


class Outside(NamedTuple):
    """A network behind a card: a guest there is reached by ports of this machine, on loopback."""

    network: str  # 198.51.100.0/24
    guest: str  # its address
    ports: Mapping[int, int]  # of this machine -> of the guest


class Hardware(NamedTuple):
    """What a lab host is made of. Each igb card is one PF of 7 VFs behind a root port of its own."""

    iommu: bool = True
    nvme: bool = False  # one more card with SR-IOV, an NVMe controller of 4 VFs, behind the next root port
    empty: int = 0  # root ports without a card before the first card's: they move its bus and its name
    wires: Tuple[Wire, ...] = ()  # what the first cards are plugged into; nothing answers the others
    outsides: Tuple[Outside, ...] = ()  # what is behind the first cards, where they have no wires
    pool: Optional[Wire] = None  # a network between dom0s: one more virtio card


USUAL = Hardware()
CARDS = 2
POOL_SLOT = "0x9"  # behind the management card, which is the first of its kind


def install(folder: str) -> None:
    """Unpacks QEMU; no maintainer script runs and nothing is installed on this machine."""
    new = folder + ".new"
    shutil.rmtree(new, ignore_errors=True)
    subprocess.check_call(debian.mmdebstrap(SUITE, new, PACKAGES, variant="extract"))
    os.rename(new, folder)


def command(folder: str, program: str, *arguments: str) -> List[str]:
    """Runs a program of the unpacked tree with the tree's own loader, so that paths mean what they say."""
    libraries = os.path.join(folder, LIBRARIES)
    return [
        "env",
        f"QEMU_MODULE_DIR={libraries}/qemu",
        f"{libraries}/ld-linux-x86-64.so.2",
        "--library-path",
        f"{libraries}:{libraries}/pulseaudio",
        "--argv0",
        program,
        f"{folder}/usr/bin/{program}",
        *arguments,
    ]


def emulator(folder: str, *arguments: str) -> List[str]:
    """QEMU itself, emulating (Xen needs what KVM seldom passes on), without any device of its own choice."""
    firmware = [f"{folder}/usr/share/qemu", f"{folder}/usr/share/seabios", f"{folder}/usr/lib/ipxe/qemu"]
    found = [word for path in firmware for word in ("-L", path)]
    machine = ["-M", "q35,sata=off,smbus=off", "-accel", "tcg,thread=multi", "-cpu", "max,-la57,-x2apic"]
    bare = ["-nodefaults", "-display", "none", "-vga", "none"]
    return command(folder, "qemu-system-x86_64", *found, *machine, *bare, *arguments)


def host(folder: str, name: str, disk: str, hardware: Hardware, ssh_port: int, xapi_port: int) -> List[str]:
    """The machine of a Xen host: started in its folder, where it leaves its console, sockets and number."""
    number_of_name = zlib.crc32(name.encode()) & 0xFFFF
    own = f"{number_of_name >> 8:02x}:{number_of_name & 0xFF:02x}"  # what tells its MACs from other hosts'
    arguments = [
        # with two CPUs, an emulated local APIC loses the end of an interrupt in one boot of twenty
        *("-name", name, "-smp", "1", "-m", "2048"),  # MiB, of which dom0 gets 1024
        *("-pidfile", "pid", "-daemonize", "-monitor", "unix:monitor,server=on,wait=off"),
        *("-chardev", "socket,id=serial,path=serial,server=on,wait=off,logfile=console,logappend=on"),
        *("-serial", "chardev:serial"),
    ]
    if hardware.iommu:
        arguments += ["-device", "intel-iommu,intremap=on"]
    arguments += [
        *("-drive", f"file={disk},format=qcow2,if=none,id=disk"),
        *("-device", "virtio-blk-pci,drive=disk,bootindex=0"),
        "-netdev",
        f"user,id=management,restrict=on,hostfwd=tcp:127.0.0.1:{ssh_port}-:22,"
        f"hostfwd=tcp:127.0.0.1:{xapi_port}-:80",
        *("-device", f"virtio-net-pci,netdev=management,mac=52:54:00:{own}:00,romfile="),
    ]
    if hardware.pool:
        arguments += [
            *("-netdev", f"{_plugged(hardware.pool)},id=pool"),
            *("-device", f"virtio-net-pci,netdev=pool,mac=52:54:01:{own}:00,addr={POOL_SLOT},romfile="),
        ]
    for number in range(hardware.empty):
        arguments += _root_port(f"empty{number}", number + 101)
    for number in range(CARDS):
        behind = [_plugged(wire) for wire in hardware.wires] or [_outside(net) for net in hardware.outsides]
        network = behind[number] if number < len(behind) else f"hubport,hubid={number}"
        mac = f"02:00:{own}:{number:02x}:00"
        arguments += [
            *("-netdev", f"{network},id=net{number}"),
            *_root_port(f"port{number}", number + 1),
            *("-device", f"igb,bus=port{number},netdev=net{number},mac={mac}"),
        ]
    if hardware.nvme:
        arguments += [
            *_root_port("nvme", CARDS + 1),
            *("-device", "nvme-subsys,id=subsystem"),
            # each VF needs an interrupt and two queues that the controller can lend it
            "-device",
            "nvme,bus=nvme,serial=lab,subsys=subsystem,"
            "sriov_max_vfs=4,sriov_vi_flexible=4,sriov_vq_flexible=8",
        ]
    return emulator(folder, *arguments)


def _root_port(name: str, slot: int) -> List[str]:
    return ["-device", f"pcie-root-port,id={name},chassis={slot},slot={slot}"]


def _plugged(wire: Wire) -> str:
    return f"dgram,local.type=unix,local.path={wire.near},remote.type=unix,remote.path={wire.far}"


def _outside(net: Outside) -> str:
    forwards = [f"hostfwd=tcp:127.0.0.1:{here}-{net.guest}:{there}" for here, there in net.ports.items()]
    return ",".join(["user", f"net={net.network}", "restrict=on", *forwards])
