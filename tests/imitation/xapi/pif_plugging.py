"""PIF.plug and PIF.unplug, of whatever kind a PIF is. Facts from xen-api: ocaml/xapi/xapi_pif.ml, nm.ml."""

from typing import TYPE_CHECKING, Optional

import pifs
import sriov_functions
from calls import Call, Calls, Context
from database import Record
from values import NULL, Failure

if TYPE_CHECKING:
    from xapi import Xapi


def plug(context: Context, pif: str) -> None:
    xapi = context.xapi
    record = xapi.database.record("PIF", pif)
    xapi.forward(record["host"])
    if record["bond_slave_of"] != NULL:
        raise Failure("CANNOT_PLUG_BOND_SLAVE", pif)
    if record["sriov_logical_PIF_of"]:
        sriov_functions.bring_up(xapi, pif)
        return
    tagged = _below(xapi, record)
    if tagged is not None:
        below = xapi.database.record("PIF", tagged)
        if below["sriov_logical_PIF_of"]:  # a VLAN on it is up if it is
            xapi.database.set("PIF", pif, "currently_attached", below["currently_attached"])
            return
        if not below["currently_attached"]:
            plug(context, tagged)
    for member in (
        pifs.find(xapi, bond_slave_of=record["bond_master_of"][0]) if record["bond_master_of"] else ()
    ):
        # The members of a bond that is up are themselves down, for xapi (nm.ml: bring_pif_up).
        xapi.database.set("PIF", member, "currently_attached", False)
    xapi.database.set("PIF", pif, "currently_attached", True)


def _below(xapi: "Xapi", record: Record) -> Optional[str]:
    """What a VLAN's PIF stands on."""
    if record["VLAN_master_of"] != NULL:
        return str(xapi.database.get("VLAN", record["VLAN_master_of"], "tagged_PIF"))
    return None


def unplug(context: Context, pif: str) -> None:
    xapi = context.xapi
    record = xapi.database.record("PIF", pif)
    xapi.forward(record["host"])
    if record["management"] and record["currently_attached"]:
        raise Failure("PIF_IS_MANAGEMENT_INTERFACE", pif)
    if record["disallow_unplug"]:
        raise Failure("PIF_DOES_NOT_ALLOW_UNPLUG", pif)
    if record["sriov_logical_PIF_of"]:
        raise Failure("NOT_IMPLEMENTED", "PIF.unplug of xapi's own SR-IOV")
    xapi.database.set("PIF", pif, "currently_attached", False)


CALLS: Calls = {
    "PIF.plug": Call(plug, ["ref"], may_be_async=True),
    "PIF.unplug": Call(unplug, ["ref"], may_be_async=True),
}
