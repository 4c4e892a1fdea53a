"""Xen's calls for devices of domains, as libxenctrl makes them, and what a domain has of its devices beside
what xenstore notes: to whom Xen has assigned them, whose memory QEMU may map, what QEMU has.

The refusals are those of Xen 4.17 (xen/drivers/passthrough/iommu.c: iommu_do_domctl; pci.c:
iommu_do_pci_domctl, device_assigned, deassign_device; common/domctl.c: XEN_DOMCTL_memory_mapping), the first
also measured.
"""

import errno
from typing import Any, Dict, List, Optional, Sequence, Set

from kernel_sysfs import Sysfs, refuse
from sriovlib.machine.xen_control import memory_of, sbdf

QUARANTINE = 0x7FF1
Domain = Dict[str, Any]


def identifier(address: str) -> str:
    """QEMU's, as xenopsd and libxl name it: without the PCI domain."""
    _, bus, rest = address.split(":")
    return f"pci-pt-{bus}_{rest}"


def whole(sysfs: Sysfs, domain: Domain) -> Domain:
    """The domain, which began with all that its devices need."""
    devices = list(domain["devices"])
    domain.setdefault("noted", {address: number for number, address in enumerate(devices)})
    domain.setdefault("assigned", devices)
    domain.setdefault("qemu", {identifier(address): address for address in devices})
    domain.setdefault("memory", [list(one) for address in devices for one in _memory(sysfs, address)])
    return domain


def find(sysfs: Sysfs, domid: int) -> Optional[Domain]:
    found = sysfs.state["domains"].get(str(domid))
    return whole(sysfs, found) if found else None


def assigned(sysfs: Sysfs) -> Set[str]:
    """What any guest has, by Xen."""
    domains = [whole(sysfs, domain) for domain in sysfs.state["domains"].values()]
    return {address for domain in domains for address in domain["assigned"]}


def usable(sysfs: Sysfs, domid: int) -> List[str]:
    """What the guest can drive: QEMU has it, Xen has assigned it, and its memory can be mapped."""
    domain = find(sysfs, domid) or {"qemu": {}}
    return [
        address
        for address in domain["qemu"].values()
        if address in domain["assigned"]
        and all([*one] in domain["memory"] for one in _memory(sysfs, address))
    ]


def _memory(sysfs: Sysfs, address: str) -> Sequence[Sequence[int]]:
    from machine import Machine

    return memory_of(Machine(sysfs.root), address) if sysfs.device(address) else []


# -- the calls ---------------------------------------------------------------------------------------


def call(sysfs: Sysfs, function: str, numbers: Sequence[int]) -> None:
    """One of libxenctrl's; raises the OSError that Xen answers."""
    domid, *arguments = numbers
    domain = find(sysfs, domid)
    if domid == QUARANTINE and function == "xc_assign_device":
        _assign(sysfs, _address(sysfs, arguments[0]), sysfs.state.setdefault("quarantined", []))
        return
    if domain is None:
        refuse(errno.ESRCH, function)
    if function == "xc_domain_iomem_permission":
        first, count, allowed = arguments
        kept = [one for one in domain["memory"] if one != [first, count]]
        domain["memory"] = [*kept, [first, count]] if allowed else kept
        return
    if not domain.get("passthrough", True):
        refuse(errno.EOPNOTSUPP, function)
    address = _address(sysfs, arguments[0])
    if function == "xc_assign_device":
        _assign(sysfs, address, domain["assigned"])
    elif function == "xc_deassign_device":
        if address not in domain["assigned"]:
            refuse(errno.ENODEV, function)
        domain["assigned"].remove(address)
    elif function == "xc_test_assign_device":
        if address is None or address in assigned(sysfs):
            refuse(errno.EINVAL, function)
    else:
        raise NotImplementedError(function)


def _assign(sysfs: Sysfs, address: Optional[str], to: List[str]) -> None:
    if address is None:
        refuse(errno.ENODEV, "xc_assign_device")
    if address in assigned(sysfs):
        refuse(errno.EBUSY, "xc_assign_device")
    if address not in to:
        to.append(address)


def _address(sysfs: Sysfs, number: int) -> Optional[str]:
    return next((one for one in sysfs.names("/sys/bus/pci/devices") if sbdf(one) == number), None)
