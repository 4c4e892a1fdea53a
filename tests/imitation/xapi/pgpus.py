"""PGPU objects: the GPUs of a host, and what kinds of vGPUs xapi would give out of each.

As xapi does when it starts (xen-api: ocaml/xapi/xapi_pgpu.ml, update_gpus): one for each display device that
is no VF. Each supports the type `passthrough`; GPUs that NVIDIA's file lists with hostVgpuMode="sriov", and
those on AMD's list support types whose vGPUs are VFs too (xapi_vgpu_type.ml, Vendor_nvidia and Vendor_amd).
"""

import os
import re
from typing import TYPE_CHECKING, List, Set

import pci_objects

if TYPE_CHECKING:
    from xapi import Xapi

NVIDIA = "/usr/share/nvidia/vgpu/vgpuConfig.xml"
AMD = "/etc/mxgpu-whitelist"
_SRIOV = re.compile(r'<pgpu hostVgpuMode="sriov">\s*<devId [^>]*deviceId="0x([0-9A-Fa-f]{4})"')
_MXGPU = re.compile(r"^([0-9a-f]{4}) experimental=", re.MULTILINE)


def look(xapi: "Xapi", host: str) -> None:
    """Brings the host's PGPU objects in line with its PCI objects."""
    machine = xapi.dom0s[host].machine
    if machine is None:
        return
    database = xapi.database
    with database.lock:
        gpus = {
            ref: _types(xapi, machine.root, ref)
            for address, ref in pci_objects.of_host(xapi, host).items()
            if database.get("PCI", ref, "class_id").startswith("03")
            and not os.path.islink(f"{machine.root}{pci_objects.DEVICES}/{address}/physfn")
        }
        known = {database.get("PGPU", ref, "PCI"): ref for ref in database.find("PGPU", host=host)}
        for pci in set(known) - set(gpus):
            database.destroy("PGPU", known[pci])
        for pci, types in gpus.items():
            ref = known.get(pci) or database.create("PGPU", {"PCI": pci, "host": host})
            for field in ("supported_VGPU_types", "enabled_VGPU_types"):
                database.set("PGPU", ref, field, types)


def _types(xapi: "Xapi", root: str, pci: str) -> List[str]:
    record = xapi.database.record("PCI", pci)
    found = ["passthrough"]
    if record["vendor_id"] == "10de" and record["device_id"] in _listed(root + NVIDIA, _SRIOV):
        found.append("nvidia_sriov")
    if record["vendor_id"] == "1002" and record["device_id"] in _listed(root + AMD, _MXGPU):
        found.append("mxgpu")
    return [_type(xapi, implementation) for implementation in found]


def _listed(path: str, pattern: "re.Pattern[str]") -> Set[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return {found.lower() for found in pattern.findall(file.read())}
    except OSError:
        return set()


def _type(xapi: "Xapi", implementation: str) -> str:
    known = xapi.database.find("VGPU_type", implementation=implementation)
    return known[0] if known else xapi.database.create("VGPU_type", {"implementation": implementation})
