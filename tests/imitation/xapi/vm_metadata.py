"""What xapi tells xenopsd of a VM: before a start, and again when the record of a running VM changes.

Imitates passthrough.json and xen-api v26.1.3, ocaml/xapi/xapi_xenops.ml (create_metadata, pcis_of_vm,
builder_of_vm, Xapi_cache, Xenopsd_metadata, events_from_xapi, string for string only in what is looked at
here). So a running VM's xenopsd is told again only if the text has changed that xapi itself would send, be it
told something else meanwhile or not; moments after the change, in the VM's queue; and nobody learns whether
it was of use. What xapi remembers of its texts is gone when it restarts.
"""

import json
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Deque, Dict, Iterator, List, Set, Tuple

import pci_list
import vif_functions
from database import EVENTS, Record
from xenopsd import XenopsdError

if TYPE_CHECKING:
    from xapi import Xapi


class Telling:
    """What the xapis of all hosts know of what they have told their xenopsds. Its methods need the lock of
    the database."""

    def __init__(self) -> None:
        self.texts: Dict[str, Dict[str, str]] = {}  # Xapi_cache: by host, then VM
        self.changed: Set[str] = set()  # VMs whose changes are still to be looked at
        self.queued: Dict[Tuple[str, str], Deque[Record]] = {}  # by host and VM
        self.held = False  # xapi is slow
        self.of_vifs: Dict[str, List[str]] = {}  # VFs that xapi has chosen itself, by VM

    def is_new(self, host: str, vm: str, text: str) -> bool:
        known = self.texts.setdefault(host, {})
        was, known[vm] = known.get(vm), text
        return was != text

    def forget(self, host: str) -> None:
        """The host has lost its power."""
        self.texts.pop(host, None)
        for queue in [key for key in self.queued if key[0] == host]:
            del self.queued[queue]


def push(xapi: "Xapi", vm: str, host: str) -> None:
    """xenopsd of that host is told of the VM as its record is now, and has understood. Every guest that is
    started gets a device model."""
    with xapi.database.lock:
        platform = xapi.database.get("VM", vm, "platform")
        xapi.database.set("VM", vm, "platform", {"device-model": "qemu-upstream-compat", **platform})
        xapi.life.telling.of_vifs[vm] = vif_functions.addresses(xapi, vm, host)
        metadata = create(xapi, vm)
        xapi.life.telling.texts.setdefault(host, {}).setdefault(vm, json.dumps(metadata))
    with xapi.life.queue(vm):
        xapi.life.xenopsd(xapi, host).import_metadata(metadata)


def create(xapi: "Xapi", vm: str) -> Record:
    """Metadata.t of the VM as its record is now."""
    database = xapi.database
    with database.lock:
        record = {field: database.get("VM", vm, field) for field in _FIELDS}
        uuid, pcis = record["uuid"], _pcis(xapi, vm, record)
        return {
            "vm": {
                "id": uuid,
                "name": record["name_label"],
                "xsdata": sorted(record["xenstore_data"].items()),
                "platformdata": sorted(record["platform"].items()),
                "ty": _builder(record, bool(pcis)),
                "memory_static_max": int(record["memory_static_max"]),
                "memory_dynamic_max": int(record["memory_dynamic_max"]),
                "memory_dynamic_min": int(record["memory_dynamic_min"]),
                "vcpu_max": int(record["VCPUs_max"]),
                "vcpus": int(record["VCPUs_at_startup"]),
            },
            "vbds": [{"id": [uuid, device]} for device in _attached(xapi, "VBD", record["VBDs"])],
            "vifs": [{"id": [uuid, device]} for device in _attached(xapi, "VIF", record["VIFs"])],
            "pcis": pcis,
            "vgpus": [],
            "vusbs": [],
            **({"domains": record["last_booted_record"]} if _was_suspended(record) else {}),
        }


_FIELDS = (
    *("uuid", "name_label", "xenstore_data", "platform", "domain_type", "other_config", "power_state"),
    *("memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "VCPUs_max", "VCPUs_at_startup"),
    *("VBDs", "VIFs", "last_booted_record"),
)


def _was_suspended(record: Record) -> bool:
    return bool(record["power_state"] == "Suspended" and record["last_booted_record"])


def _pcis(xapi: "Xapi", vm: str, record: Record) -> List[Record]:
    listed = pci_list.addresses(record["other_config"].get("pci", ""))
    of_vifs = [one for one in xapi.life.telling.of_vifs.get(vm, []) if one not in listed]
    return [_pci(record["uuid"], *item) for item in enumerate([*of_vifs, *listed])]


def _pci(uuid: str, position: int, address: str) -> Record:
    domain, bus, rest = address.split(":")
    device, function = rest.split(".")
    parts = {"domain": domain, "bus": bus, "dev": device, "fn": function}
    where = {name: int(digits, 16) for name, digits in parts.items()}
    return {"id": [uuid, address], "position": position, "address": where}


def _builder(record: Record, has_devices: bool) -> List[Any]:
    """Of a guest that is not HVM the key `pci` counts, be there anything in it or not."""
    if record["domain_type"] == "hvm":
        return ["HVM", {"pci_passthrough": has_devices}]
    kind = {"pv_in_pvh": "PVinPVH", "pvh": "PVH"}.get(record["domain_type"], "PV")
    return [kind, {"pci_passthrough": "pci" in record["other_config"]}]


def _attached(xapi: "Xapi", class_name: str, refs: List[str]) -> List[str]:
    get = xapi.database.get
    devices = [get(class_name, ref, "device") for ref in refs if get(class_name, ref, "currently_attached")]
    return sorted(map(str, devices))


# -- a running VM ----------------------------------------------------------------------------------


def noticed(xapi: "Xapi", vm: str) -> None:
    """A VM's record was written. The xapi of its host hears of that."""
    telling = xapi.life.telling
    with xapi.database.lock:
        if vm in telling.changed or xapi.life.over or not _is_known(xapi, vm):
            return
        telling.changed.add(vm)
        xapi.workers.start(EVENTS, tell, xapi, vm, False)


@contextmanager
def late(xapi: "Xapi") -> Iterator[None]:
    """Until the end of this the xapis of all hosts are slow to tell. Whoever waits for it does not wait, but
    makes it happen (`tell`)."""
    telling = xapi.life.telling
    with xapi.database.lock:
        telling.held = True
    try:
        yield
    finally:
        with xapi.database.lock:
            telling.held = False
            for vm in list(telling.changed):
                xapi.workers.start(EVENTS, tell, xapi, vm, False)


def _is_known(xapi: "Xapi", vm: str) -> bool:
    """Whether the xenopsd of the VM's host has something of it."""
    if not xapi.database.exists("VM", vm):
        return False
    host = xapi.database.get("VM", vm, "resident_on")
    return host in xapi.dom0s and xapi.life.xenopsd(xapi, host).exists(xapi.database.get("VM", vm, "uuid"))


def tell(xapi: "Xapi", vm: str, is_waited_for: bool = True) -> None:
    """Events_from_xapi.wait: its xenopsd knows the record as it was when this was called, if it took it."""
    telling = xapi.life.telling
    with xapi.database.lock:
        if telling.held and not is_waited_for:
            return
        telling.changed.discard(vm)
        if not _is_known(xapi, vm):
            return
        host = str(xapi.database.get("VM", vm, "resident_on"))
        metadata = create(xapi, vm)
        if telling.is_new(host, vm, json.dumps(metadata)):
            telling.queued.setdefault((host, vm), deque()).append(metadata)
    with xapi.life.queue(vm):
        import_queued(xapi, vm, host)


def import_queued(xapi: "Xapi", vm: str, host: str) -> None:
    queued = xapi.life.telling.queued.get((host, vm))
    while queued and xapi.reach.answers(host):
        try:
            xapi.life.xenopsd(xapi, host).import_metadata(queued.popleft())
        except XenopsdError:
            pass  # of its own task, which nobody looks at (import_metadata_async)


def forget(xapi: "Xapi", vm: str, host: str) -> None:
    """Of a VM that is not there any more. What xenopsd does not know, xapi keeps its text of
    (Xenopsd_metadata.delete)."""
    if host not in xapi.dom0s:
        return
    with xapi.database.lock:
        xenopsd, uuid = xapi.life.xenopsd(xapi, host), xapi.database.get("VM", vm, "uuid")
        if xenopsd.exists(uuid):
            xenopsd.remove(uuid)
            xapi.life.telling.texts.get(host, {}).pop(vm, None)


def forget_texts(xapi: "Xapi", host: str) -> None:
    """The host's xapi has restarted: it tells xenopsd everything again, be it changed or not (add_caches)."""
    with xapi.database.lock:
        xapi.life.telling.texts.pop(host, None)
        for vm in xapi.database.get("host", host, "resident_VMs"):
            noticed(xapi, vm)
