"""Hosts of a pool in a box that leave, come back, or are installed anew."""

import os
import uuid
from typing import Any, Dict, List, Optional

import machine
import machine_network
from box_host import PLUGIN, BoxHost, described, set_plugin
from machine_description import Description
from plugin_calls import Dom0
from xapi import Xapi


class Membership:
    """The part of a box in which hosts change their pool. An ejected host has a xapi of its own."""

    xapi: Xapi
    hosts: List[BoxHost]
    folder: str
    alone: Dict[str, Xapi]  # the xapi of each host that has left, by the host's folder

    def _join(self, made: machine.Machine, description: Description, plugin: Optional[str]) -> BoxHost:
        raise NotImplementedError

    def _dom0(self, made: machine.Machine) -> Dom0:
        raise NotImplementedError

    def eject(self, host: BoxHost) -> BoxHost:
        """The host leaves, boots and is a pool of its own: as such it is what is returned. Its disk
        keeps what is ours, /etc/sriov.conf too; its other_config is gone."""
        dom0 = self.xapi.dom0s[host.ref]
        self.xapi.call("pool.eject", host.ref)
        self.hosts.remove(host)
        host.machine.reboot()
        own = self.alone[host.machine.root] = Xapi(self.xapi.password)
        values = described(host.machine, machine_network.description(host.machine))
        return host._replace(ref=own.add_host(values, dom0, host.socket))

    def rejoin(self, host: BoxHost) -> BoxHost:
        """An ejected host joins again, with the other_config that it has by now."""
        own = self.alone.pop(host.machine.root)
        other_config = own.database.get("host", host.ref, "other_config")
        own.close()
        link = host.machine.path("/etc/xapi.d/plugins/sriov")
        plugin = os.readlink(link) if os.path.islink(link) else None
        joined = self._join(host.machine, machine_network.description(host.machine), plugin)
        self.xapi.database.set("host", joined.ref, "other_config", other_config)
        return joined

    def reinstall(self, host: BoxHost, plugin: Optional[str] = PLUGIN, **changes: Any) -> BoxHost:
        """A fresh disk in the same hardware, in the same place in the pool: host record and UUID stay, as
        when a host is restored. Where an installation gave it another UUID instead: `lose` the host, call
        host.destroy, and add one of the old description with that UUID."""
        description = machine_network.description(host.machine)._replace(**changes)
        self.xapi.lose_host(host.ref)
        root = os.path.join(self.folder, f"{host.name}-{uuid.uuid4().hex[:4]}")
        made = machine.create(root, description)
        dom0 = self._dom0(made)
        again = host._replace(machine=made, environment=dict(dom0.environment))
        self.xapi.replace_host(host.ref, dom0, again.socket)
        self.hosts[self.hosts.index(host)] = again
        set_plugin(again, plugin)
        return again

    def close_alone(self) -> None:
        for own in self.alone.values():
            own.close()
