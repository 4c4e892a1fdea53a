"""Bonds and VLANs: PIFs that stand on others.

Facts from xen-api: ocaml/xapi/xapi_bond.ml, xapi_vlan.ml, xapi_pif_helpers.ml (what may
stand on what), nm.ml. No transcript has them.
"""

from typing import TYPE_CHECKING, Dict, List

import pif_plugging
import pifs
from calls import Call, Calls, Context
from database import Record
from values import NULL, Failure

if TYPE_CHECKING:
    from xapi import Xapi

_ADDRESS = ("ip_configuration_mode", "IP", "netmask", "gateway", "DNS")


def create_bond(
    context: Context,
    network: str,
    members: List[str],
    mac: str,
    mode: str = "balance-slb",
    properties: Dict[str, str] = {},  # noqa: B006 - nobody changes it
) -> str:
    """The bond takes over what its members were: VIFs (of VMs that are not running), IP address and
    management. The first member, or the one with the management interface, lends its MAC."""
    xapi, database = context.xapi, context.xapi.database
    members = list(dict.fromkeys(members))
    if not members:
        raise Failure("PIF_BOND_NEEDS_MORE_MEMBERS")
    records = {pif: database.record("PIF", pif) for pif in members}
    host = records[members[0]]["host"]
    xapi.forward(host)
    pifs.no_other_pif(xapi, host, network)
    for pif, record in records.items():
        _may_be_bonded(pif, record)
    if len({record["host"] for record in records.values()}) > 1:
        raise Failure("PIF_CANNOT_BOND_CROSS_HOST")
    primary = next((pif for pif in members if records[pif]["management"]), members[0])
    master = pifs.add(
        xapi,
        {
            **{field: records[primary][field] for field in (*_ADDRESS, "management", "MTU")},
            "device": _free_name(xapi, host, "bond"),
            "network": network,
            "host": host,
            "MAC": mac or records[primary]["MAC"],
            "physical": False,
        },
    )
    values = {"master": master, "primary_slave": primary, "mode": mode, "properties": properties}
    bond = database.create("Bond", values)
    for pif, record in records.items():
        for vif in database.get("network", record["network"], "VIFs"):
            if not database.get("VIF", vif, "currently_attached"):
                database.set("VIF", vif, "network", network)
        database.set("PIF", pif, "bond_slave_of", bond)
        database.set("PIF", pif, "ip_configuration_mode", "None")
        database.set("PIF", pif, "IP", "")
        database.set("PIF", pif, "management", False)
    if any(record["currently_attached"] for record in records.values()):
        pif_plugging.plug(context, master)
    return bond


def _may_be_bonded(pif: str, record: Record) -> None:
    if record["bond_slave_of"] != NULL:
        raise Failure("PIF_ALREADY_BONDED", pif)
    if record["VLAN_master_of"] != NULL:
        raise Failure("PIF_VLAN_EXISTS", record["device"])
    if record["VLAN_slave_of"]:
        raise Failure("NOT_IMPLEMENTED", "Bond.create over a PIF with VLANs")
    if record["sriov_logical_PIF_of"]:
        raise Failure("PIF_IS_SRIOV_LOGICAL", pif)
    if record["tunnel_access_PIF_of"]:
        raise Failure("IS_TUNNEL_ACCESS_PIF", pif)


def _free_name(xapi: "Xapi", host: str, kind: str) -> str:
    taken = {xapi.database.get("PIF", pif, "device") for pif in pifs.find(xapi, host=host)}
    return next(name for name in map((kind + "{}").format, range(len(taken) + 1)) if name not in taken)


# -- VLANs -----------------------------------------------------------------------------------------


def create_vlan(context: Context, tagged: str, tag: int, network: str) -> str:
    xapi, database = context.xapi, context.xapi.database
    record = database.record("PIF", tagged)
    pifs.no_other_pif(xapi, record["host"], network)
    if record["bond_slave_of"] != NULL:
        raise Failure("CANNOT_ADD_VLAN_TO_BOND_SLAVE", tagged)
    if record["VLAN_master_of"] != NULL:
        raise Failure("PIF_IS_VLAN", tagged)
    if record["tunnel_access_PIF_of"]:
        raise Failure("IS_TUNNEL_ACCESS_PIF", tagged)
    if not 0 <= tag <= 4094:
        raise Failure("VLAN_TAG_INVALID", str(tag))
    if any(database.get("VLAN", vlan, "tag") == tag for vlan in record["VLAN_slave_of"]):
        raise Failure("PIF_VLAN_EXISTS", record["device"])
    xapi.forward(record["host"])
    values = {"network": network, "MAC": pifs.NO_MAC, "VLAN": tag, "physical": False}
    shared = {field: record[field] for field in ("device", "host", "MTU", "metrics")}
    untagged = pifs.add(xapi, {**shared, **values})
    vlan = database.create("VLAN", {"tagged_PIF": tagged, "untagged_PIF": untagged, "tag": tag})
    database.set("PIF", untagged, "VLAN_master_of", vlan)
    pif_plugging.plug(context, untagged)
    return vlan


def destroy_vlan(context: Context, vlan: str) -> None:
    untagged = context.xapi.database.get("VLAN", vlan, "untagged_PIF")
    pif_plugging.unplug(context, untagged)
    context.xapi.database.destroy("VLAN", vlan)
    context.xapi.database.destroy("PIF", untagged)


_BOND = ["ref", "ref set", "string", "string", "string map"]
CALLS: Calls = {
    "Bond.create": Call(create_bond, _BOND, optional=2, may_be_async=True),
    "VLAN.create": Call(create_vlan, ["ref", "int", "ref"], may_be_async=True),
    "VLAN.destroy": Call(destroy_vlan, ["ref"], may_be_async=True),
}
