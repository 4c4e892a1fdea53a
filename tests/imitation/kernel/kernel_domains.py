"""Running guests and the devices that they have: what xenopsd does to give them, and what dom0 and
xenstore show of it (recorded with one VF in one guest; keys of the back end as the lab saw them)."""

import re
from typing import Any, Dict, Mapping, Optional, Sequence

import kernel_drivers
import kernel_pciback
import kernel_sriov
import kernel_xen
from kernel_sysfs import Sysfs
from machine_devices import backend


class CannotStart(Exception):
    """The guest does not start, for the reason that xenopsd gives."""


def start(sysfs: Sysfs, uuid: str, name: str, addresses: Sequence[str], passthrough: bool = True) -> int:
    """A guest with these devices: each is taken from whatever driver holds it, whosesoever it is, and
    seized by pciback (xenopsd's Device.PCI). `passthrough` is the domain's CDF_iommu."""
    if any(domain["uuid"] == uuid for domain in sysfs.state["domains"].values()):
        raise CannotStart(f"{uuid} is running")
    held = kernel_xen.assigned(sysfs)
    if addresses and not sysfs.exists(kernel_pciback.FOLDER):
        raise CannotStart("PCIBack_not_loaded")
    for address in addresses:
        device = sysfs.device(address)
        if device is None or address in held:
            raise CannotStart(f"PCI device {address} is not assignable")
        if sysfs.driver(device) != kernel_pciback.NAME:
            if sysfs.driver(device) is not None:
                kernel_sriov.unbind(sysfs, device)
            kernel_pciback.add_slot(sysfs, address)
            kernel_drivers.attach(sysfs, kernel_pciback.NAME, device)
    if addresses and not iommu_active(sysfs):
        # The devices stay on pciback (measured: `failed to quarantine`, and yet listed).
        raise CannotStart("Device.PCI.Cannot_add: passthrough not supported on this platform")
    if addresses and not passthrough:
        raise CannotStart(f"Device.PCI.Cannot_add(_, Xenctrlext.Unix_error(EOPNOTSUPP, {addresses[0]}))")
    sysfs.state["last_domain"] += 1
    domain = sysfs.state["last_domain"]
    made = {"uuid": uuid, "name": name, "devices": list(addresses), "passthrough": passthrough}
    sysfs.state["domains"][str(domain)] = made
    if addresses:
        sysfs.plant(backend(domain))
    _switch(sysfs, addresses, True)
    return int(domain)


def stop(sysfs: Sysfs, uuid: str) -> int:
    """Its devices stay with pciback, for the next guest. The number that its domain had. What xenstore notes
    as its own is reset, be it another guest's by now (xen-api: ocaml/xenopsd/xc/domain.ml, destroy)."""
    for number, domain in list(sysfs.state["domains"].items()):
        if domain["uuid"] == uuid:
            del sysfs.state["domains"][number]
            others = kernel_xen.assigned(sysfs).intersection(domain["devices"])
            sysfs.state.setdefault("reset_under_a_guest", []).extend(sorted(others))
            sysfs.remove(f"/sys/devices/pci-{number}-0")
            _switch(sysfs, domain["devices"], False)
            return int(number)
    raise LookupError(uuid)


def _switch(sysfs: Sysfs, addresses: Sequence[str], on: bool) -> None:
    for address in addresses:
        device = sysfs.device(address)
        if device is not None:
            sysfs.put(device + "/enable", f"{on:d}\n")


def iommu_active(sysfs: Sysfs) -> bool:
    """Whether Xen, booted as it was, uses an IOMMU. Its option: `iommu=LIST` in which a boolean word
    alone switches, the last one counts; `no-iommu` is off (parse_iommu_param, xen/drivers/passthrough)."""
    active = sysfs.description.iommu_by_default
    for option in sysfs.state["xen_options"].split():
        key, _, value = option.partition("=")
        if option == "no-iommu":
            active = False
        for word in value.split(",") if key == "iommu" else ():
            if re.fullmatch("1|on|true|yes|enable", word):
                active = True
            elif re.fullmatch("0|off|false|no|disable", word):
                active = False
    return active and bool(sysfs.description.iommu)


def xenstore(sysfs: Sysfs) -> Dict[str, Any]:
    """The store's tree: a key's children in a dictionary, or its text. There is no folder of PCI back
    ends while there are none: libxl takes empty parents away (libxl__xs_path_cleanup)."""
    backends: Dict[str, Any] = {}
    domains: Dict[str, Any] = {"0": {"name": "Domain-0", "domid": "0"}}
    machines = {}
    for number, domain in sysfs.state["domains"].items():
        path = f"/vm/{domain['uuid']}"
        domains[number] = {"vm": path, "name": domain["name"], "domid": number}
        if "kind" in domain:
            domains[number]["domain-type"] = domain["kind"]
        machines[domain["uuid"]] = {"uuid": domain["uuid"], "name": domain["name"]}
        if domain["devices"]:
            backends[number] = {"0": _backend(number, kernel_xen.whole(sysfs, domain)["noted"])}
    if backends:
        domains["0"]["backend"] = {"pci": backends}
    return {"local": {"domain": domains}, "vm": machines}


def note(sysfs: Sysfs, domid: str, index: int, address: Optional[str]) -> None:
    """Key `dev-N` of a domain's back end is written, or removed. LookupError where none can be there."""
    domain = kernel_xen.whole(sysfs, sysfs.state["domains"][domid])
    there = {number: one for one, number in domain["noted"].items()}
    if address is None:
        del domain["noted"][there[index]]
    else:
        domain["noted"][address] = index
    domain["devices"] = list(domain["noted"])
    sysfs.remove(f"/sys/devices/pci-{domid}-0")
    if domain["devices"]:
        sysfs.plant(backend(int(domid)))


def _backend(number: str, noted: Mapping[str, int]) -> Dict[str, str]:
    keys = {
        "frontend": f"/local/domain/{number}/device/pci/0",
        "frontend-id": number,
        "online": "1",
        "state": "4",
        "domain": number,
        "num_devs": str(len(noted)),
    }
    for address, index in noted.items():
        keys[f"dev-{index}"] = address
        keys[f"vdev-{index}"] = f"0000:00:{index:02x}.00"
        keys[f"opts-{index}"] = "msitranslate=0,power_mgmt=0,permissive=0,rdm_policy=strict"
        keys[f"state-{index}"] = "3"
    return keys
