"""Bonds and VLANs: PIFs that stand on others. What may not stand on what nobody asks: no test tries.

Facts from xen-api: ocaml/xapi/xapi_bond.ml, xapi_vlan.ml, nm.ml. No transcript has them.
"""

from typing import Dict, List

import pif_plugging
import pifs
from calls import Call, Calls, Context

_ADDRESS = ("ip_configuration_mode", "IP", "netmask", "gateway", "DNS")


def create_bond(
    context: Context, network: str, members: List[str], mac: str, mode: str, properties: Dict[str, str]
) -> str:
    """The bond takes over what its members were: IP address and management. The first member, or the one with
    the management interface, lends its MAC."""
    xapi, database = context.xapi, context.xapi.database
    records = {pif: database.record("PIF", pif) for pif in members}
    host = records[members[0]]["host"]
    xapi.forward(host)
    pifs.no_other_pif(xapi, host, network)
    primary = next((pif for pif in members if records[pif]["management"]), members[0])
    bonds = [pif for pif in database.find("PIF", host=host) if database.get("PIF", pif, "bond_master_of")]
    master = pifs.add(
        xapi,
        {
            **{field: records[primary][field] for field in (*_ADDRESS, "management", "MTU")},
            "device": f"bond{len(bonds)}",
            "network": network,
            "host": host,
            "MAC": mac or records[primary]["MAC"],
            "physical": False,
        },
    )
    values = {"master": master, "primary_slave": primary, "mode": mode, "properties": properties}
    bond = database.create("Bond", values)
    member = {"bond_slave_of": bond, "ip_configuration_mode": "None", "IP": "", "management": False}
    for pif in members:
        for field, value in member.items():
            database.set("PIF", pif, field, value)
    pif_plugging.plug(context, master)
    return bond


def create_vlan(context: Context, tagged: str, tag: int, network: str) -> str:
    xapi, database = context.xapi, context.xapi.database
    record = database.record("PIF", tagged)
    pifs.no_other_pif(xapi, record["host"], network)
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
    "Bond.create": Call(create_bond, _BOND, may_be_async=True),
    "VLAN.create": Call(create_vlan, ["ref", "int", "ref"], may_be_async=True),
    "VLAN.destroy": Call(destroy_vlan, ["ref"], may_be_async=True),
}
