"""The interfaces below the management network and below each IP address of dom0, through bridge, bond and
VLAN, without asking xapi. None means unknown, which is not "none"."""

import json
from typing import Any, Dict, List, NamedTuple, Optional, Set

from . import netlink, sysfs, xensource_inventory
from .host import Host

NETWORKD = "/var/lib/xcp/networkd.db"
NETWORK_CONF = "/etc/xensource/network.conf"  # which kind of bridge networkd makes
_DATAPATH = sysfs.interface("ovs-system")  # that of Open vSwitch in the kernel
_ETHERNET = "1"  # what `type` says (linux: include/uapi/linux/if_arp.h)


class Address(NamedTuple):
    """An IP address of dom0, and the interface that it is on."""

    interface: str
    text: str  # without its prefix length

    @property
    def is_link_local(self) -> bool:
        """fe80::/10, which every interface that is up may have (RFC 4291, 2.5.6)."""
        return self.text.lower().startswith(("fe8", "fe9", "fea", "feb"))


class Standing(NamedTuple):
    """What of dom0 stands on which interfaces, each with all that is below it. None: on any of them, for all
    that dom0 tells."""

    management: Optional[Set[str]]  # MANAGEMENT_INTERFACE in /etc/xensource-inventory (installer and xapi)
    perhaps: Optional[Set[str]]  # where that is not known: what may carry it, for it has an IP address
    with_address: Optional[Set[str]]
    addresses: List[Address]  # all that are known


def below(host: Host, interface: str) -> Set[str]:
    """The interface and all that it stands on: members of a bridge, bond or team, the device of a VLAN or
    macvlan."""
    return _below(host, interface, _bridges(host) or {})


def _below(host: Host, interface: str, bridges: Dict[str, Any]) -> Set[str]:
    found: Set[str] = set()
    to_do = [interface]
    while to_do:
        name = to_do.pop()
        if name in found:
            continue
        found.add(name)
        lower = [entry[6:] for entry in host.names(sysfs.interface(name)) if entry.startswith("lower_")]
        to_do += lower + host.names(sysfs.interface(name, "brif")) + _openvswitch(bridges.get(name))
    return found


def _bridges(host: Host) -> Optional[Dict[str, Any]]:
    """networkd's bridges by name; None where its file is not there, or cut, or says something else.

    sysfs shows nothing below a bridge of Open vSwitch (the default of XenServer and XCP-ng), so the file
    counts in which networkd keeps its bridges over reboots (xen-api: ocaml/networkd/lib/
    network_config.ml)."""
    try:
        return dict(json.loads(host.read(NETWORKD))["bridge_config"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _openvswitch(entry: Any) -> List[str]:
    """What networkd noted of a bridge: ports with their interfaces, and of a VLAN's bridge the bridge that it
    stands on."""
    try:
        ports = entry.get("ports") or {}
        members = [port for _, port in ports] if isinstance(ports, list) else list(ports.values())
        interfaces = [str(name) for port in members for name in port.get("interfaces", [])]
        parent = entry.get("vlan")
        return interfaces + ([str(parent[0])] if parent else [])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return []


def is_of_a_device(host: Host, interface: str) -> bool:
    """Whether the interface is a NIC of this host, or a VF of one: not made by software, nor a guest's."""
    device = host.link(sysfs.interface(interface, "device"))
    return device is not None and not device.startswith("vif-")


def _addresses(host: Host) -> Optional[List[Address]]:
    """None where the kernel does not tell all of them: dom0 has 127.0.0.1 at least."""
    try:
        return [Address(*told) for told in netlink.addresses(host)] or None
    except OSError:
        return None


def _with_address(host: Host, known: Optional[List[Address]]) -> Optional[Set[str]]:
    """The interfaces that have one of these IP addresses, and all that those stand on. None where that cannot
    be told: of no address, or of a bridge of Open vSwitch that networkd's file does not explain. Link-local
    IPv6 ones do not count."""
    if known is None:
        return None
    bridges = _bridges(host)
    found: Set[str] = set()
    for interface in {address.interface for address in known if not address.is_link_local}:
        stands_on = _below(host, interface, bridges or {})
        lowest = [name for name in stands_on if _below(host, name, bridges or {}) == {name}]
        # networkd's file may name a NIC that is gone.
        there = [name for name in lowest if name == interface or host.exists(sysfs.interface(name))]
        is_certain = all(
            is_of_a_device(host, name) or _stands_on_nothing(host, name, bridges) for name in there
        )
        if not there or not is_certain:
            return None
        found |= stands_on
    return found


def _stands_on_nothing(host: Host, interface: str, bridges: Optional[Dict[str, Any]]) -> bool:
    """Whether an interface below which nothing is found is certain to stand on no NIC. Only bridges of Open
    vSwitch do not show in sysfs what they stand on, and networkd knows its own; it makes no others unless
    told so (xen-api: ocaml/networkd/bin/network_server.ml, determine_backend). They are Ethernet, one end
    only, and no DEVTYPE of their own (linux: net/openvswitch/vport-internal_dev.c), as bridges and bonds
    are; loopback and tunnels over IP are not Ethernet, and a veth is the other end of another."""
    folder = sysfs.interface(interface)
    if interface == "lo" or host.text(f"{folder}/type") not in (None, _ETHERNET):
        return True
    if host.text(f"{folder}/iflink") != host.text(f"{folder}/ifindex"):
        return True
    if host.link(f"{folder}/device") is not None:
        return True  # a guest's
    if any(host.exists(f"{folder}/{name}") for name in ("bridge", "bonding", "tun_flags")):
        return True
    if "DEVTYPE=" in (host.text(f"{folder}/uevent") or ""):
        return True
    if (host.text(NETWORK_CONF) or "").strip() == "bridge":
        return True
    if bridges is None:
        return False
    if interface in bridges:
        return not _openvswitch(bridges[interface])
    return not host.exists(_DATAPATH)


def look(host: Host) -> Standing:
    addresses = _addresses(host)
    with_address = _with_address(host, addresses)
    named = xensource_inventory.read(host).get("MANAGEMENT_INTERFACE")
    management: Optional[Set[str]] = below(host, named) if named else set()
    if not any(is_of_a_device(host, name) for name in management or ()):
        management = None
    return Standing(
        management=management,
        # One that is named and leads to no NIC shows that not all of the interfaces are seen.
        perhaps=set() if management is not None else None if named else with_address,
        with_address=with_address,
        addresses=addresses or [],
    )
