"""xapi's own SR-IOV: network_sriov objects, their physical and logical PIF, and what is left of their VFs.

Facts from xen-api: ocaml/xapi/xapi_network_sriov.ml, xapi_network_sriov_helpers.ml, xapi_pif_helpers.ml. All
VFs that the device can have are made, whatever there was before.
"""

import pif_plugging
import pifs
from calls import Call, Calls, Context
from values import Failure


def create(context: Context, pif: str, network: str) -> str:
    xapi, database = context.xapi, context.xapi.database
    record = database.record("PIF", pif)
    database.get("network", network, "uuid")
    if record["sriov_physical_PIF_of"]:
        raise Failure("NETWORK_SRIOV_ALREADY_ENABLED", pif)
    pifs.no_other_pif(xapi, record["host"], network)
    xapi.forward(record["host"])
    logical = pifs.add(
        xapi,
        {
            **{field: record[field] for field in ("device", "host", "MTU", "metrics")},
            "network": network,
            "MAC": pifs.NO_MAC,
            "physical": False,
        },
    )
    values = {"physical_PIF": pif, "logical_PIF": logical, "configuration_mode": "unknown"}
    sriov = database.create("network_sriov", values)
    pif_plugging.plug(context, logical)
    return sriov


CALLS: Calls = {
    "network_sriov.create": Call(create, ["ref", "ref"], may_be_async=True),
}
