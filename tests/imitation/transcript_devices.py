"""Plays what devices.json has beside calls: devices that come and go in /sys, restarts of the toolstack.

The recorded /sys was made of plain files, and so is this one: it does what is written, and nothing more.
"""

import os
import shutil
from typing import Any, Dict, NamedTuple, Tuple

from sriovlib.machine.host import Host
from transcript_player import NotPlayable, Step
from transcript_vms import VmPlayer

DEVICES = "/sys/bus/pci/devices"
PCI_IDS = """\
8086  Intel Corporation
\t154c  Ethernet Virtual Function 700 Series
\t158b  Ethernet Controller XXV710 for 25GbE SFP28
\t\t8086 0001  Ethernet Network Adapter XXV710-2
C 02  Network controller
\t00  Ethernet controller
"""


class Device(NamedTuple):
    address: str
    kind: str  # vendor:device
    pci_class: str = "0200"
    driver: str = ""
    interface: str = ""
    mac: str = ""
    sriov: Tuple[int, int] = (0, 0)  # totalvfs, numvfs
    physical: str = ""  # of a virtual function: its physical one


PF = Device("0000:04:00.0", "8086:158b", "0200", "i40e", "eth4", "02:00:00:00:04:00", (64, 4))
VFS = [Device(f"0000:04:02.{number}", "8086:154c", physical=PF.address) for number in range(5)]
LATER = [
    VFS[4],
    Device("0000:05:00.0", "8086:0d58", "0b40"),
    Device("0000:06:00.0", "144d:a808", "0108"),
    Device("0000:07:00.0", "10de:1b38", "0300"),
    Device("10000:01:00.0", "8086:1572"),
    Device("0000:08:00.0", "ffff:fffe"),
]
WITH_INTERFACES = [
    VFS[0]._replace(driver="iavf", interface="eth5", mac="02:00:00:00:04:10"),
    LATER[2]._replace(driver="other", interface="eth6", mac="02:00:00:00:06:00"),
]


def make_machine(root: str) -> None:
    """What the recorded host showed at first."""
    _write(root + "/usr/share/hwdata/pci.ids", PCI_IDS)
    for device in [PF, *VFS[:4]]:
        put(root, device)


def put(root: str, device: Device) -> None:
    folder = f"{root}{DEVICES}/{device.address}"
    vendor, kind = device.kind.split(":")
    files: Dict[str, str] = {
        "vendor": f"0x{vendor}",
        "device": f"0x{kind}",
        "class": f"0x{device.pci_class}00",
        "subsystem_vendor": "0x8086",
        "subsystem_device": "0x0001",
    }
    if device.sriov[0]:
        files["sriov_totalvfs"], files["sriov_numvfs"] = map(str, device.sriov)
    for name, text in files.items():
        _write(f"{folder}/{name}", text + "\n")
    if device.driver:
        os.symlink(f"../../drivers/{device.driver}", folder + "/driver")
    if device.physical and not os.path.islink(folder + "/physfn"):
        os.symlink(f"../{device.physical}", folder + "/physfn")
    if device.interface:
        _write(f"{root}/sys/class/net/{device.interface}/address", device.mac + "\n")
        os.symlink(folder, f"{root}/sys/class/net/{device.interface}/device")


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


class PlainMachine(Host):
    def write_attribute(self, path: str, text: str) -> None:
        _write(self.path(path), text)


class DevicePlayer(VmPlayer):
    """As VmPlayer, and steps of machines."""

    def play(self, step: Step) -> None:
        if "machine" in step:
            self._change(step["machine"])
        elif "restart" in step:
            self.place.xapi.restart_toolstack(self.symbols.known["$host"])
            self.log_in()
        elif step.get("observe", "").startswith("sriov_numvfs of "):
            address = step["observe"].rpartition(" ")[2]
            shown = self._machine.read(f"{DEVICES}/{address}/sriov_numvfs").strip()
            self.symbols.expect(step["value"], shown)
        else:
            super().play(step)

    @property
    def _machine(self) -> Any:
        return self.place.xapi.dom0s[self.symbols.known["$host"]].machine

    def _change(self, text: str) -> None:
        if text.startswith("the host shows"):
            return  # it does from the first
        root = self._machine.root
        if text.startswith("there appear"):
            for device in LATER:
                put(root, device)
        elif text.endswith("vanish"):
            for device in (VFS[4], LATER[5]):
                shutil.rmtree(f"{root}{DEVICES}/{device.address}")
        elif "gets driver iavf" in text:
            for device in WITH_INTERFACES:
                put(root, device)
        else:
            raise NotPlayable(text)
