"""A host of the pool in a box: what it is to a test, which plugin of ours it has, how xapi notes it."""

import os
import re
import shutil
from typing import Dict, NamedTuple, Optional

import machine
import machine_network
from hosts import HostDescription, Nic, read_inventory
from machine_description import Description

HERE = os.path.dirname(os.path.abspath(__file__))
PLUGIN = os.path.join(os.path.dirname(os.path.dirname(HERE)), "plugins", "sriov")
BOOT_SERVICE = os.path.join(os.path.dirname(os.path.dirname(PLUGIN)), "hooks", "boot", "sriov-restore")
PLUGINS = "/etc/xapi.d/plugins"
SOCKET = "/var/lib/xcp/xapi"


class BoxHost(NamedTuple):
    """A host of the box: what XenAPI calls it, where its machine is, what its programs are started with."""

    ref: str
    uuid: str
    name: str
    machine: machine.Machine
    environment: Dict[str, str]

    @property
    def socket(self) -> str:
        """Where its dom0 reaches its xapi."""
        return str(self.machine.path(SOCKET))


def set_vfs(host: BoxHost, port: str, count: int) -> None:
    """VFs by the kernel's own means, not by ours."""
    host.machine.write_attribute(f"/sys/bus/pci/devices/{port}/sriov_numvfs", str(count))


def set_plugin(host: BoxHost, plugin: Optional[str]) -> None:
    """The plugin `sriov` of this host is that file from now on, linked to as the RPM does; or is missing."""
    link = host.machine.path(PLUGINS + "/sriov")
    if os.path.lexists(link):
        os.unlink(link)
    if plugin is not None:
        os.symlink(plugin, link)


def plugin_of_version(folder: str, version: str) -> str:
    """The plugin as it is, but of another version, in this empty folder."""
    shutil.copytree(os.path.dirname(PLUGIN), folder, ignore=shutil.ignore_patterns("__pycache__"))
    init = os.path.join(folder, "sriovlib", "__init__.py")
    with open(init) as file:
        text = file.read()
    with open(init, "w") as file:
        file.write(re.sub('VERSION = ".*"', f'VERSION = "{version}"', text))
    return os.path.join(folder, "sriov")


def described(made: machine.Machine, description: Description) -> HostDescription:
    """The machine as xapi notes it: its inventory, and a PIF for each network port."""
    inventory = read_inventory(made.path("/etc/xensource-inventory"))
    nics = [
        _nic(description, device, mac, card.sriov is not None)
        for card in description.cards
        for device, mac in zip(card.interfaces, card.macs)
    ]
    return HostDescription(
        name=description.hostname,
        uuid=description.host_uuid,
        control_domain_uuid=inventory["CONTROL_DOMAIN_UUID"],
        nics=nics,
        address=next((nic.ip for nic in nics if nic.management), ""),
        product_brand=description.brand,
        product_version=description.version,
        network_backend=machine_network.bridge_kind(made),
    )


def _nic(description: Description, device: str, mac: str, sriov: bool) -> Nic:
    """A port, with the bridge that dom0 has over it; xapi makes one named for the port when it needs it."""
    for interface in description.interfaces:
        if interface.kind in ("bridge", "openvswitch") and device in interface.over:
            bridge, address = interface.name, interface.ipv4.partition("/")[0]
            break
    else:
        bridge, address = "xenbr" + device.lstrip("eth"), ""
    management = description.management_interface in (device, bridge)
    return Nic(device, mac, bridge, management, address, sriov)
