"""What the host's management network stands on, through bridge, bond and VLAN, without asking xapi."""

import json
import re
from typing import List, Sequence, Set

from . import product
from .host import Host

CLASS = "/sys/class/net"
NETWORKD = "/var/lib/xcp/networkd.db"


def below(host: Host, interface: str) -> Set[str]:
    """The interface and all that it stands on: members of a bridge or bond, the device of a VLAN."""
    found: Set[str] = set()
    to_do = [interface]
    while to_do:
        name = to_do.pop()
        if name in found:
            continue
        found.add(name)
        lower = [entry[6:] for entry in host.names(f"{CLASS}/{name}") if entry.startswith("lower_")]
        to_do += lower + host.names(f"{CLASS}/{name}/brif") + _openvswitch(host, name)
    return found


def _openvswitch(host: Host, bridge: str) -> List[str]:
    """What networkd noted of a bridge. sysfs shows nothing below a bridge of Open vSwitch (the
    default of XenServer and XCP-ng), so the file counts in which networkd keeps its bridges over
    reboots (xen-api: ocaml/networkd/lib/network_config.ml): ports with their interfaces, and of a
    VLAN's bridge the bridge that it stands on.
    """
    if not host.exists(NETWORKD):
        return []
    try:
        entry = dict(json.loads(host.read(NETWORKD))["bridge_config"])[bridge]
        ports = entry.get("ports") or {}
        members = [port for _, port in ports] if isinstance(ports, list) else list(ports.values())
        interfaces = [name for port in members for name in port.get("interfaces", [])]
        parent = entry.get("vlan")
        return interfaces + ([parent[0]] if parent else [])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return []


def with_address(host: Host) -> Set[str]:
    """The interfaces that have an IP address, and all that those stand on. Link-local ones do not count:
    every interface that is up may have one."""
    addresses = host.run(["ip", "-oneline", "address", "show"]).stdout
    names = re.findall(r"^\d+: (\S+?)(?:@\S+)?\s+inet6? (?!fe80)", addresses, re.MULTILINE)
    return {name for interface in set(names) for name in below(host, interface)}


def may_carry_management(host: Host, interfaces: Sequence[str]) -> bool:
    """Where nobody says what the management network is: whether something on these interfaces has an
    IP address, be it a bridge, bond or VLAN above them."""
    if product.read(host).get("MANAGEMENT_INTERFACE"):
        return False
    return bool(with_address(host).intersection(interfaces))


def management(host: Host) -> Set[str]:
    """The interfaces that the management network stands on (MANAGEMENT_INTERFACE in
    /etc/xensource-inventory, written by the installer and by xapi); empty where it is unknown."""
    interface = product.read(host).get("MANAGEMENT_INTERFACE")
    return below(host, interface) if interface else set()
