"""The VFs of xapi's own SR-IOV: made with a logical PIF, and which of them are in no VM.

Facts from xen-api: ocaml/xapi/xapi_network_sriov_helpers.ml, ocaml/networkd. All VFs that the device can
have are made, whatever there was before.
"""

import os
from typing import TYPE_CHECKING, List, Optional, Set

import pci_objects
from values import NULL, Failure

if TYPE_CHECKING:
    from xapi import Xapi


def bring_up(xapi: "Xapi", logical: str) -> None:
    database = xapi.database
    (sriov,) = database.get("PIF", logical, "sriov_logical_PIF_of")
    try:
        _write_number(xapi, logical, "sriov_totalvfs")
    except OSError as error:
        raise Failure("NETWORK_SRIOV_ENABLE_FAILED", logical, str(error)) from None
    database.set("network_sriov", sriov, "configuration_mode", "sysfs")
    database.set("PIF", logical, "currently_attached", True)
    pci_objects.look(xapi, database.get("PIF", logical, "host"))


def _write_number(xapi: "Xapi", logical: str, attribute: Optional[str]) -> None:
    """As many VFs as the attribute says, or none; a change goes through none (networkd: network_utils.ml)."""
    record = xapi.database.record("PIF", logical)
    machine = xapi.dom0s[record["host"]].machine
    if machine is None:
        return
    folder = f"/sys/class/net/{record['device']}/device"
    wanted = machine.read(f"{folder}/{attribute}").strip() if attribute else "0"
    if machine.read(f"{folder}/sriov_numvfs").strip() != wanted:
        for number in ("0", wanted) if attribute else ("0",):
            machine.write_attribute(f"{folder}/sriov_numvfs", number)


def free(xapi: "Xapi", physical: str) -> List[str]:
    """The VFs of a physical PIF that have a PCI object and are in no VM, lowest address first."""
    attached = _attached(xapi)
    return [vf for vf in _all(xapi, physical) if vf not in attached]


def _all(xapi: "Xapi", physical: str) -> List[str]:
    record = xapi.database.record("PIF", physical)
    machine = xapi.dom0s[record["host"]].machine
    if machine is None or record["PCI"] == NULL:
        return []
    address = xapi.database.get("PCI", record["PCI"], "pci_id")
    known = pci_objects.of_host(xapi, record["host"])
    return [
        known[one]
        for one in sorted(known)
        if os.path.basename(os.path.realpath(machine.path(f"{pci_objects.DEVICES}/{one}/physfn"))) == address
    ]


def _attached(xapi: "Xapi") -> Set[str]:
    database = xapi.database
    return {pci for vm in database.refs("VM") for pci in database.get("VM", vm, "attached_PCIs")}
