"""A host's objects in the pool's database: host, control domain, PIFs and their networks."""

import os
import socket
from typing import Dict, List, NamedTuple, Sequence

from database import Database


class Nic(NamedTuple):
    """A network interface of dom0 that xapi manages: the PIF, and the network that its bridge is of."""

    device: str
    mac: str = ""
    bridge: str = ""
    management: bool = False
    ip: str = ""
    sriov: bool = False


class HostDescription(NamedTuple):
    name: str
    uuid: str
    control_domain_uuid: str
    nics: Sequence[Nic] = ()
    address: str = ""
    product_brand: str = "XCP-ng"
    product_version: str = "8.3.0"
    network_backend: str = "bridge"  # or openvswitch


def add_host(database: Database, host: HostDescription, ref: str) -> None:
    """Puts the host into the pool; the first one makes the pool, and is its master."""
    software = {
        "product_brand": host.product_brand,
        "product_version": host.product_version,
        "network_backend": host.network_backend,
    }
    with database.lock:
        control_domain = {
            "uuid": host.control_domain_uuid,
            "name_label": f"Control domain on host: {host.name}",
            "is_control_domain": True,
            "power_state": "Running",
            "resident_on": ref,
            "affinity": ref,
            "domid": 0,
            "domain_type": "pv",
        }
        values = {
            "uuid": host.uuid,
            "name_label": host.name,
            "hostname": host.name,
            "address": host.address,
            "software_version": software,
            "metrics": database.create("host_metrics", {}),
            "control_domain": database.create("VM", control_domain),
        }
        database.create("host", values, ref)
        if not database.refs("pool"):
            database.create("pool", {"master": ref})
        for nic in host.nics:
            _add_pif(database, nic, ref)


def _add_pif(database: Database, nic: Nic, host: str) -> None:
    """The PIF of a physical interface. Interfaces of one name share a network, pool-wide."""
    name = f"Pool-wide network associated with {nic.device}"
    networks = database.by_name_label("network", name)
    if not networks:
        networks = [database.create("network", {"name_label": name, "bridge": nic.bridge})]
    values = {
        "device": nic.device,
        "MAC": nic.mac,
        "host": host,
        "network": networks[0],
        "management": nic.management,
        "IP": nic.ip,
        "ip_configuration_mode": "Static" if nic.ip else "None",
        "capabilities": ["sriov"] if nic.sriov else [],
        "properties": {"gro": "on"},
        "metrics": database.create("PIF_metrics", {}),
    }
    database.create("PIF", values)


# -- the machine that we run on --------------------------------------------------------------------


def read_inventory(path: str) -> Dict[str, str]:
    """/etc/xensource-inventory: lines of KEY='value'."""
    values = {}
    with open(path) as file:
        for line in file:
            key, _, value = line.strip().partition("=")
            values[key] = value.strip("'\"")
    return values


def describe_this_machine(inventory: str) -> HostDescription:
    """The host whose dom0 this is, by its /etc/xensource-inventory and the interfaces in /sys."""
    values = read_inventory(inventory)
    return HostDescription(
        name=socket.gethostname(),
        uuid=values["INSTALLATION_UUID"],
        control_domain_uuid=values["CONTROL_DOMAIN_UUID"],
        nics=_nics_of_this_machine(values["MANAGEMENT_INTERFACE"]),
        product_brand=values.get("PRODUCT_BRAND", ""),
        product_version=values.get("PRODUCT_VERSION", ""),
    )


def _nics_of_this_machine(management: str) -> List[Nic]:
    """Every interface of a device that is no virtual function; the management one by itself or its bridge."""
    top = "/sys/class/net"
    nics: List[Nic] = []
    for name in sorted(os.listdir(top)):
        device = os.path.join(top, name, "device")
        if not os.path.exists(device) or os.path.exists(os.path.join(device, "physfn")):
            continue
        with open(os.path.join(top, name, "address")) as file:
            mac = file.read().strip()
        master = os.path.join(top, name, "master")
        bridge = os.path.basename(os.readlink(master)) if os.path.islink(master) else f"xenbr{len(nics)}"
        sriov = os.path.exists(os.path.join(device, "sriov_totalvfs"))
        nics.append(Nic(name, mac, bridge, management in (name, bridge), sriov=sriov))
    return nics
