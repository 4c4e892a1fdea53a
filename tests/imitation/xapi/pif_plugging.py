"""PIF.plug and PIF.unplug, of whatever kind a PIF is. Facts from xen-api: ocaml/xapi/xapi_pif.ml, nm.ml."""

import sriov_functions
from calls import Call, Calls, Context
from values import Failure


def plug(context: Context, pif: str) -> None:
    xapi = context.xapi
    record = xapi.database.record("PIF", pif)
    xapi.forward(record["host"])
    if record["sriov_logical_PIF_of"]:
        sriov_functions.bring_up(xapi, pif)
        return
    for bond in record["bond_master_of"]:
        # The members of a bond that is up are themselves down, for xapi (nm.ml: bring_pif_up).
        for member in xapi.database.find("PIF", bond_slave_of=bond):
            xapi.database.set("PIF", member, "currently_attached", False)
    xapi.database.set("PIF", pif, "currently_attached", True)


def unplug(context: Context, pif: str) -> None:
    xapi = context.xapi
    record = xapi.database.record("PIF", pif)
    xapi.forward(record["host"])
    if record["management"]:
        raise Failure("PIF_IS_MANAGEMENT_INTERFACE", pif)
    xapi.database.set("PIF", pif, "currently_attached", False)


CALLS: Calls = {
    "PIF.plug": Call(plug, ["ref"], may_be_async=True),
    "PIF.unplug": Call(unplug, ["ref"], may_be_async=True),
}
