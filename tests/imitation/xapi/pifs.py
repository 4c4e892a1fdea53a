"""PIFs of any kind: which there are, and how physical ones come from the interfaces that dom0 has.

Facts from xen-api: ocaml/xapi/xapi_pif.ml; records.json and devices.json.
"""

import os
from typing import TYPE_CHECKING, Any, Dict, List

import pci_objects
from calls import Call, Calls, Context
from database import Record
from values import NULL, Failure

if TYPE_CHECKING:
    from xapi import Xapi

NO_MAC = "fe:ff:ff:ff:ff:ff"  # of a PIF that only stands for something, as a VLAN's
INTERFACES = "/sys/class/net"


def add(xapi: "Xapi", values: Record) -> str:
    """A PIF that is not plugged yet. One that stands on another shares that one's PIF_metrics."""
    metrics = values.get("metrics") or xapi.database.create("PIF_metrics", {})
    return xapi.database.create("PIF", {"currently_attached": False, **values, "metrics": metrics})


def find(xapi: "Xapi", **wanted: Any) -> List[str]:
    """The PIFs with these values of stored fields."""
    return xapi.database.find("PIF", **wanted)


def no_other_pif(xapi: "Xapi", host: str, network: str) -> None:
    """A host has one PIF on a network."""
    xapi.database.get("network", network, "uuid")
    others = find(xapi, host=host, network=network)
    if others:
        raise Failure("NETWORK_ALREADY_CONNECTED", host, others[0])


def network_of_bridge(xapi: "Xapi", bridge: str, name_label: str) -> str:
    """The pool's network with that bridge, made where there is none."""
    with xapi.database.lock:
        for ref in xapi.database.find("network", bridge=bridge):
            return ref
        return xapi.database.create("network", {"name_label": name_label, "bridge": bridge})


# -- physical ones ---------------------------------------------------------------------------------


def physical_interfaces(root: str) -> Dict[str, str]:
    """dom0's interfaces that are a device's, and the address of the device; none of a VF (devices.json)."""
    found = {}
    top = root + INTERFACES
    for name in sorted(os.listdir(top)) if os.path.isdir(top) else ():
        device = f"{top}/{name}/device"
        if os.path.exists(device) and not os.path.exists(device + "/physfn"):
            found[name] = os.path.basename(os.path.realpath(device))
    return found


def refresh(xapi: "Xapi", host: str) -> None:
    """Notes of each physical PIF which device it is, and whether that can have VFs."""
    machine = xapi.dom0s[host].machine
    if machine is None:
        return
    devices = physical_interfaces(machine.root)
    known = pci_objects.of_host(xapi, host)
    for pif in find(xapi, host=host, physical=True):
        name = xapi.database.get("PIF", pif, "device")
        pci = known.get(pci_objects.written(devices[name])) if name in devices else None
        xapi.database.set("PIF", pif, "PCI", pci or NULL)
        if name in devices:
            xapi.database.set("PIF", pif, "capabilities", _capabilities(machine, name))


def _capabilities(machine: Any, name: str) -> List[str]:
    path = f"{INTERFACES}/{name}/device/sriov_totalvfs"
    return ["sriov"] if machine.exists(path) and int(machine.read(path)) > 0 else []


def scan(context: Context, host: str) -> None:
    """A PIF for each physical interface that has none; devices that xapi has no object for get none."""
    xapi = context.xapi
    xapi.forward(host)
    machine = xapi.dom0s[host].machine
    if machine is None:
        return
    have = {xapi.database.get("PIF", pif, "device") for pif in find(xapi, host=host, physical=True)}
    for name in physical_interfaces(machine.root):
        if name not in have:
            _introduce(xapi, host, name)
    refresh(xapi, host)


def introduce(context: Context, host: str, mac: str, device: str, managed: bool = True) -> str:
    xapi = context.xapi
    xapi.forward(host)
    machine = xapi.dom0s[host].machine
    if find(xapi, host=host, physical=True, device=device):
        raise Failure("DUPLICATE_PIF_DEVICE_NAME", device)
    present = machine is not None and device in physical_interfaces(machine.root)
    if not present or mac.lower() not in ("", _mac(machine, device)):
        code = "COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS"
        raise Failure(code, device, mac.lower())
    pif = _introduce(xapi, host, device)
    xapi.database.set("PIF", pif, "managed", managed)
    refresh(xapi, host)
    return pif


def _introduce(xapi: "Xapi", host: str, device: str) -> str:
    """Interfaces of one name share a network, pool-wide: that of the bridge named for them."""
    bridge = "xenbr" + device[3:] if device.startswith("eth") else "br" + device
    values = {
        "device": device,
        "MAC": _mac(xapi.dom0s[host].machine, device),
        "host": host,
        "network": network_of_bridge(xapi, bridge, f"Pool-wide network associated with {device}"),
        "properties": {"gro": "on"},
    }
    return add(xapi, values)


def _mac(machine: Any, device: str) -> str:
    return str(machine.read(f"{INTERFACES}/{device}/address")).strip()


def forget(context: Context, pif: str) -> None:
    xapi = context.xapi
    record = xapi.database.record("PIF", pif)
    xapi.forward(record["host"])
    if record["bond_slave_of"] != NULL or record["bond_master_of"]:
        raise Failure("PIF_ALREADY_BONDED", pif)
    if record["VLAN_slave_of"] or record["VLAN"] != -1:
        raise Failure("PIF_VLAN_STILL_EXISTS", pif)
    if record["tunnel_transport_PIF_of"] or record["tunnel_access_PIF_of"]:
        raise Failure("PIF_TUNNEL_STILL_EXISTS", pif)
    if record["sriov_physical_PIF_of"] or record["sriov_logical_PIF_of"]:
        raise Failure("PIF_SRIOV_STILL_EXISTS", pif)
    if record["management"] and record["currently_attached"]:
        raise Failure("PIF_IS_MANAGEMENT_INTERFACE", pif)
    xapi.database.destroy("PIF", pif)


CALLS: Calls = {
    "PIF.scan": Call(scan, ["ref"], may_be_async=True),
    "PIF.introduce": Call(introduce, ["ref", "string", "string", "bool"], optional=1, may_be_async=True),
    "PIF.forget": Call(forget, ["ref"], may_be_async=True),
}
