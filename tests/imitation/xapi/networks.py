"""Networks, and PIFs that stand on others: bonds, VLANs, xapi's own SR-IOV. All are up from the first; what
may not stand on what nobody asks.

Facts from xen-api: ocaml/xapi/xapi_bond.ml, xapi_vlan.ml, xapi_network_sriov.ml, xapi_pif.ml, nm.ml.
"""

from typing import TYPE_CHECKING, Any, List

import pci_objects
from calls import Call, Calls, Context
from values import Failure

if TYPE_CHECKING:
    from xapi import Xapi

_NO_MAC = "fe:ff:ff:ff:ff:ff"  # of a PIF that only stands for something, as a VLAN's


def add_network(xapi: "Xapi", name: str) -> str:
    """With the next free bridge. Name-labels need not be unique."""
    database = xapi.database
    with database.lock:
        taken = {database.get("network", ref, "bridge") for ref in database.refs("network")}
        bridge = next(one for one in map("xapi{}".format, range(len(taken) + 1)) if one not in taken)
        return database.create("network", {"name_label": name, "bridge": bridge})


def _add_pif(xapi: "Xapi", below: str, network: str, **values: Any) -> str:
    record = xapi.database.record("PIF", below)
    shared = {field: record[field] for field in ("device", "host", "MTU", "metrics")}
    made = {"network": network, "MAC": _NO_MAC, "physical": False}
    return xapi.database.create("PIF", {**shared, **made, **values})


def add_bond(xapi: "Xapi", members: List[str], network: str) -> str:
    """The first member lends its MAC. The members of a bond that is up are themselves down, for xapi (nm.ml:
    bring_pif_up)."""
    database = xapi.database
    name, mac = f"bond{len(database.refs('Bond'))}", database.get("PIF", members[0], "MAC")
    metrics = database.create("PIF_metrics", {})
    master = _add_pif(xapi, members[0], network, device=name, MAC=mac, metrics=metrics)
    values = {"master": master, "primary_slave": members[0], "mode": "active-backup"}
    bond = database.create("Bond", values)
    for pif in members:
        database.set("PIF", pif, "bond_slave_of", bond)
        database.set("PIF", pif, "currently_attached", False)
    return bond


def add_vlan(xapi: "Xapi", tagged: str, tag: int, network: str) -> str:
    untagged = _add_pif(xapi, tagged, network, VLAN=tag)
    values = {"tagged_PIF": tagged, "untagged_PIF": untagged, "tag": tag}
    vlan = xapi.database.create("VLAN", values)
    xapi.database.set("PIF", untagged, "VLAN_master_of", vlan)
    return vlan


def destroy_vlan(context: Context, vlan: str) -> None:
    untagged = context.xapi.database.get("VLAN", vlan, "untagged_PIF")
    context.xapi.database.destroy("VLAN", vlan)
    context.xapi.database.destroy("PIF", untagged)


def add_sriov(xapi: "Xapi", physical: str, network: str) -> str:
    """All VFs that the device can have are made, whatever there was before; another number goes through none
    (ocaml/networkd: network_utils.ml)."""
    record = xapi.database.record("PIF", physical)
    machine = xapi.dom0s[record["host"]].machine
    folder = f"/sys/class/net/{record['device']}/device"
    total = machine.read(f"{folder}/sriov_totalvfs").strip()
    if machine.read(f"{folder}/sriov_numvfs").strip() != total:
        for number in ("0", total):
            machine.write_attribute(f"{folder}/sriov_numvfs", number)
    logical = _add_pif(xapi, physical, network)
    values = {"physical_PIF": physical, "logical_PIF": logical, "configuration_mode": "sysfs"}
    pci_objects.look(xapi, record["host"])
    return xapi.database.create("network_sriov", values)


def unplug(context: Context, pif: str) -> None:
    xapi = context.xapi
    record = xapi.database.record("PIF", pif)
    xapi.forward(record["host"])
    if record["management"]:
        raise Failure("PIF_IS_MANAGEMENT_INTERFACE", pif)
    xapi.database.set("PIF", pif, "currently_attached", False)


def destroy(context: Context, network: str) -> None:
    pifs = context.xapi.database.get("network", network, "PIFs")
    if pifs:
        raise Failure("NETWORK_CONTAINS_PIF", *pifs)
    context.xapi.database.destroy("network", network)


CALLS: Calls = {
    "PIF.unplug": Call(unplug, ["ref"], may_be_async=True),
    "VLAN.destroy": Call(destroy_vlan, ["ref"], may_be_async=True),
    "network.destroy": Call(destroy, ["ref"], may_be_async=True),
}
