"""What xenopsd was told of a VM that it starts: all that can be known of its devices while xapi is silent.

xapi tells it before each start, so before the hooks. It keeps that below /var/run/nonpersistent/xenopsd, one
folder a backend (`classic`): a VM in VM/<vm uuid>/config, each device that it will plug in
PCI/<vm uuid>/pci.<address>, beside files `*.tmp` that are being written. A folder goes with its last file, so
a VM without devices has none in PCI, and where no VM has any there is no PCI (xen-api: ocaml/xenopsd/lib/
xenops_server.ml, VM_DB and PCI_DB; xenops_utils.ml, FileFS; ocaml/xapi/xapi_xenops.ml, pcis_of_vm, names
devices by their full addresses in lower case). dom0's /var/run is a link to /run.

A VM that is to have devices (`pci_passthrough` in its config) and has no file of one was detached
(plug_vfs.keep_passthrough), unless this xenopsd keeps devices in files or folders that we do not know.

What cannot be read, or looks otherwise, is unknown.
"""

import json
from typing import List, NamedTuple, Optional, Sequence, Tuple

from . import pci
from .host import XENOPSD, Host

FOLDERS = (XENOPSD, f"/var{XENOPSD}")
DEVICE, UNFINISHED = "pci.", ".tmp"
# All that a backend keeps, and of a VM besides its config (xen-api v26.1.3, ocaml/xenopsd: each `namespace`).
KNOWN_FOLDERS = ("VM", "PCI", "extra", "interface")
KNOWN_OF_VM = ("vbd.", "vif.", "vgpu.", "vusb.")


class _OtherLayout(Exception):
    """Something is not as the xenopsd that we know keeps it."""


def devices(host: Host, vm_uuid: str) -> Optional[List[str]]:
    """The addresses that a start of the VM plugs, xapi's own choices (GPUs, VFs of its own SR-IOV) too; None
    where that is not certain."""
    folders = {host.real_path(folder): folder for folder in FOLDERS}.values()
    try:
        backends = [f"{folder}/{backend}" for folder in folders for backend in host.listing(folder)]
        told = [_of_vm(host, backend, vm_uuid) for backend in backends]
    except (OSError, _OtherLayout) as error:
        host.log(f"{vm_uuid}: xenopsd's records do not tell its devices: {error}")
        return None
    if not any(is_known for is_known, _ in told):
        return None
    return sorted({address for _, found in told for address in found}, key=pci.address_order)


def takes_devices(host: Host, vm_uuid: str) -> Optional[bool]:
    """Whether a domain that xenopsd makes of the VM is one that takes devices; None where that is unknown."""
    for folder in FOLDERS:
        for backend in host.names(folder):
            builder = _builder(host, f"{folder}/{backend}/VM/{vm_uuid}/config")
            if builder is not None:
                return builder.passes_devices
    return None


def _of_vm(host: Host, backend: str, vm_uuid: str) -> Tuple[bool, List[str]]:
    """Whether the backend knows the VM, and the devices that it has of it; raises OSError, _OtherLayout."""
    of_vm = host.listing(f"{backend}/VM/{vm_uuid}")
    of_devices = host.listing(f"{backend}/PCI/{vm_uuid}")
    names = [name for name in of_devices if not name.endswith(UNFINISHED)]
    found = [_address(name) for name in (*names, *(name for name in of_vm if name.startswith(DEVICE)))]
    is_known = "config" in of_vm
    if is_known and not found and not _has_none(host, backend, vm_uuid, of_vm):
        raise _OtherLayout(f"{backend} has none of them, and does not say that there are none")
    return is_known, found


def _address(name: str) -> str:
    address = pci.parse_address(name[len(DEVICE) :]) if name.startswith(DEVICE) else None
    if address is None:
        raise _OtherLayout(f"`{name}` names no device")
    return address


def _has_none(host: Host, backend: str, vm_uuid: str, of_vm: Sequence[str]) -> bool:
    """Whether it is certain that a VM without files of devices has no devices; raises OSError. xapi sets the
    flag where there are any, but for a PV guest where there is the key `pci`, whatever is in it
    (ocaml/xapi/xapi_xenops.ml: create_metadata, builder_of_vm), so that says nothing."""
    builder, folders = _builder(host, f"{backend}/VM/{vm_uuid}/config"), host.listing(backend)
    if builder is None or (builder.kind != "HVM" and builder.passes_devices):
        return "PCI" in folders
    if not builder.passes_devices:
        return True
    left = [name for name in of_vm if name != "config" and not name.endswith(UNFINISHED)]
    return set(folders).issubset(KNOWN_FOLDERS) and all(name.startswith(KNOWN_OF_VM) for name in left)


class _Builder(NamedTuple):
    """Of a VM's config: what domain is made of it."""

    kind: str  # HVM, PV, PVH ...
    passes_devices: bool


def _builder(host: Host, config: str) -> Optional[_Builder]:
    """None where it is not there or looks otherwise."""
    try:
        kind, builder = json.loads(host.read(config))["ty"]
        passes_devices = builder["pci_passthrough"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return _Builder(str(kind), passes_devices) if isinstance(passes_devices, bool) else None
