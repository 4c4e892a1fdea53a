"""Networks of the pool in a box as a test asks for them: a bond, a VLAN, xapi's own SR-IOV.

What xapi is told is told the machine too, where its dom0 would show it.
"""

from typing import Sequence

import machine_network
import networks
from box_host import BoxHost
from machine_description import Interface
from xapi import Xapi


class Networks:
    """The part of a box that makes them. Networks are the pool's: one whose name is known is used again."""

    xapi: Xapi

    def pif(self, host: BoxHost, device: str) -> str:
        """The PIF of an interface or a bond, not that of a VLAN on it."""
        database = self.xapi.database
        for ref in database.refs("PIF"):
            record = database.record("PIF", ref)
            stands_for = record["VLAN"] != -1 or record["sriov_logical_PIF_of"]
            if (record["host"], record["device"]) == (host.ref, device) and not stands_for:
                return ref
        raise KeyError(device)

    def add_network(self, name: str) -> str:
        """A network more, whatever others there are of that name: duplicates are allowed."""
        return networks.add_network(self.xapi, name)

    def _network(self, name: str) -> str:
        found = self.xapi.database.by_name_label("network", name)
        return found[0] if found else self.add_network(name)

    def add_bond(self, host: BoxHost, devices: Sequence[str], network: str) -> str:
        """A bond over these interfaces; its reference."""
        members = [self.pif(host, device) for device in devices]
        bond = networks.add_bond(self.xapi, members, self._network(network))
        self._show(host, self.xapi.database.get("Bond", bond, "master"), "bond", devices)
        return bond

    def add_vlan(self, host: BoxHost, device: str, tag: int, network: str) -> str:
        """A VLAN on an interface or a bond; its reference."""
        vlan = networks.add_vlan(self.xapi, self.pif(host, device), tag, self._network(network))
        self._show(host, self.xapi.database.get("VLAN", vlan, "untagged_PIF"), "vlan", [device], tag)
        return vlan

    def _show(self, host: BoxHost, pif: str, kind: str, over: Sequence[str], tag: int = 0) -> None:
        """The interface in dom0, and the network's bridge over it; a VLAN wants one over its trunk too."""
        record = self.xapi.database.record("PIF", pif)
        if kind == "vlan":
            self._show_bridge(host, over[0])
        name = f"{record['device']}.{tag}" if kind == "vlan" else record["device"]
        machine_network.add(host.machine, Interface(name, kind, tuple(over), tag=tag))
        self._show_bridge(host, name, pif)

    def _show_bridge(self, host: BoxHost, interface: str, pif: str = "") -> None:
        network = self.xapi.database.get("PIF", pif or self.pif(host, interface), "network")
        bridge = self.xapi.database.get("network", network, "bridge")
        if bridge not in {one.name for one in machine_network.description(host.machine).interfaces}:
            kind = machine_network.bridge_kind(host.machine)
            machine_network.add(host.machine, Interface(bridge, kind, (interface,)))

    def add_sriov_network(self, host: BoxHost, device: str, network: str) -> str:
        """xapi's own SR-IOV on an interface, which makes all its VFs; the network_sriov."""
        return networks.add_sriov(self.xapi, self.pif(host, device), self._network(network))

    def unplug(self, host: BoxHost, device: str) -> None:
        self.xapi.call("PIF.unplug", self.pif(host, device))
