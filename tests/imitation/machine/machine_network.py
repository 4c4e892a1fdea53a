"""Interfaces that dom0 gets while it runs, and has from then on: a bond, a VLAN, a bridge over one."""

import json

import kernel_net
import machine_build
from machine import OWN_FOLDER, Machine
from machine_description import Description, Interface, from_json

NETWORKD = "/var/lib/xcp/networkd.db"


def add(machine: Machine, *interfaces: Interface) -> None:
    """Lower ones first. Of Open vSwitch only bridges are interfaces."""
    with machine.changed() as sysfs:
        described = sysfs.description._replace(interfaces=sysfs.description.interfaces + interfaces)
        sysfs.put(OWN_FOLDER + "/description.json", json.dumps(described))
        sysfs.put(NETWORKD, machine_build.disk(described)[NETWORKD])
        for interface in interfaces:
            if interface.kind in ("bridge", "openvswitch") or bridge_kind(machine) == "bridge":
                kernel_net.add_over(sysfs._replace(description=described), interface)


def description(machine: Machine) -> Description:
    with open(machine.path(OWN_FOLDER + "/description.json"), encoding="utf-8") as file:
        return from_json(file.read())


def bridge_kind(machine: Machine) -> str:
    """Which kind of bridge this dom0 has: bridge or openvswitch."""
    return machine_build.backend(description(machine))
