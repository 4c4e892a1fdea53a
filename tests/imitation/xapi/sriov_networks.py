"""xapi's own SR-IOV: network_sriov objects, their physical and logical PIF, and what is left of their VFs.

Imitates devices.json. Facts from xen-api: ocaml/xapi/xapi_network_sriov.ml, xapi_network_sriov_helpers.ml,
xapi_pif_helpers.ml. All VFs that the device can have are made, whatever there was before.
"""

from typing import TYPE_CHECKING, List

import pif_plugging
import pifs
from calls import Call, Calls, Context
from values import NULL, Failure

if TYPE_CHECKING:
    from xapi import Xapi


def create(context: Context, pif: str, network: str) -> str:
    xapi, database = context.xapi, context.xapi.database
    record = database.record("PIF", pif)
    database.get("network", network, "uuid")
    if not record["managed"]:
        raise Failure("PIF_UNMANAGED", pif)
    if not record["physical"]:
        raise Failure("PIF_IS_NOT_PHYSICAL", pif)
    if record["sriov_physical_PIF_of"]:
        raise Failure("NETWORK_SRIOV_ALREADY_ENABLED", pif)
    if "sriov" not in record["capabilities"]:
        raise Failure("PIF_IS_NOT_SRIOV_CAPABLE", pif)
    pifs.no_other_pif(xapi, record["host"], network)
    _same_devices(xapi, pif, network)
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


def _same_devices(xapi: "Xapi", pif: str, network: str) -> None:
    """A network for SR-IOV has devices of one kind only on it."""
    database = xapi.database

    def kind(of: str) -> List[str]:
        pci = database.get("PIF", of, "PCI")
        return (
            [database.get("PCI", pci, field) for field in ("vendor_id", "device_id")] if pci != NULL else []
        )

    for other in database.get("network", network, "PIFs"):
        sriovs = database.get("PIF", other, "sriov_logical_PIF_of")
        if not sriovs:
            raise Failure("NETWORK_INCOMPATIBLE_WITH_SRIOV", network)
        if kind(database.get("network_sriov", sriovs[0], "physical_PIF")) != kind(pif):
            raise Failure("NETWORK_SRIOV_PCI_VENDOR_NOT_COMPATIBLE", pif, network)


CALLS: Calls = {
    "network_sriov.create": Call(create, ["ref", "ref"], may_be_async=True),
}
