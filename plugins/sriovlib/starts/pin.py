"""Blocks the moves of a VM whose VFs xapi does not know, and lifts that when xapi does or when the VM ends.

/run/sriov/blocked-UUID says that a VM was blocked here, until that is lifted because it ended: without it
nobody asks xapi. Xen Orchestra writes the blocks of pool_migrate and migrate_send back at a backup's end as
they were at its beginning (@xen-orchestra/backups, _AbstractXapi.mjs): so ours may come again, and go with
the next toolstack restart, the VM's end, its next start or change. Where its own kept ours out,
hooks.pre_move stops a move.
"""

import time
from typing import Any, Iterable, List, Mapping, Sequence

from ..machine.host import RUN_FOLDER, Host
from ..pool import pci_entries, pinning
from ..pool.hosts import Member
from ..pool.state import Vm
from ..vf.start_notes import BLOCKED
from ..xapi.session import Xapi, XapiError, XapiFailure, logged_in

# There once xapi has done all that it does at its start, also the search for devices; gone when it ends
# (xen-api: scripts/xapi-init, xapi.service). It listens before, and systemd takes it for started at once.
INITIALISED = "/var/run/xapi_init_complete.cookie"
ATTACH_SECONDS = 300  # for xapi, once it has started, to say which VMs have the devices that it found
GONE = ("UUID_INVALID", "HANDLE_INVALID")  # xapi's codes for a VM that is not there


def pin(host: Host, xapi: Xapi, vm: Vm, devices: Sequence[str], here: Member) -> None:
    """For a VM that is about to start here with these devices, that reboots with more than it had, or into
    which they were plugged. What fails is logged: it is no reason against that. `here`: this host."""
    try:
        if not devices or xapi.call("PCI.get_all_records_where", pinning.known(here.ref, devices)):
            _lift(xapi, vm.ref, vm.blocks)
            return
        _note(host, vm.uuid)
        text = pinning.reason(vm.name, here.name, devices)
        _lift(xapi, vm.ref, vm.blocks)  # of a run on another host
        blocked = xapi.call("VM.get_blocked_operations", vm.ref)
        for operation in pinning.OPERATIONS:
            if operation not in blocked:
                xapi.call("VM.add_to_blocked_operations", vm.ref, operation, text)
    except XapiError as error:
        host.log(f"{vm.uuid}: its moves could not be blocked: {error}")


def _note(host: Host, vm_uuid: str) -> None:
    """First, so that no block is without. Where there can be none (/run is full, or read-only) a block that
    stays longer does less harm than a VM that is moved and loses its devices."""
    try:
        host.make_folder(RUN_FOLDER)
        host.replace_file(f"{BLOCKED}{vm_uuid}", b"")
    except OSError as error:
        host.log(f"{vm_uuid}: its moves are blocked until its next start or change: {error}")


def unpin(host: Host, vm_uuid: str) -> None:
    """The VM has ended here, so it may be moved. Where xapi does not answer (it is being restarted), its next
    start sees to it."""
    try:
        with logged_in(host) as session:
            xapi = Xapi(host, session)
            ref = xapi.call("VM.get_by_uuid", vm_uuid)
            _lift(xapi, ref, pinning.ours(xapi.call("VM.get_record", ref)))
        host.remove_file(f"{BLOCKED}{vm_uuid}")
    except (XapiError, OSError) as error:
        host.log(f"{vm_uuid}: its moves stay blocked: {error}")


def lift(host: Host, xapi: Xapi, ref: str, record: Mapping[str, Any]) -> None:
    """Of the VM with that record; what fails is logged."""
    try:
        _lift(xapi, ref, pinning.ours(record))
    except XapiError as error:
        host.log(f"{record['uuid']}: its moves stay blocked: {error}")


def lift_known(host: Host) -> None:
    """xapi is being started, and may know more devices then: waits for that, and lifts the blocks of the VMs
    that it keeps here itself, and of those that ended meanwhile. It says in VM.attached_PCIs which it keeps,
    a moment after it has the objects. Raises XapiError."""
    if not _blocked(host):
        return
    while not host.exists(INITIALISED):  # as long as it takes: a member may wait for its master
        time.sleep(1)
    blocked = _blocked(host)
    deadline = time.monotonic() + ATTACH_SECONDS
    while blocked:
        try:
            with logged_in(host) as session:
                blocked = [uuid for uuid in blocked if _waits(host, Xapi(host, session), uuid)]
        except XapiError:  # of a member whose master is being restarted too
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            return
        time.sleep(1 if blocked else 0)


def _blocked(host: Host) -> List[str]:
    folder, _, prefix = BLOCKED.rpartition("/")
    return [name[len(prefix) :] for name in host.names(folder) if name.startswith(prefix)]


def _waits(host: Host, xapi: Xapi, vm_uuid: str) -> bool:
    """Whether xapi has objects of the VM's devices and has not attached them yet."""
    try:
        ref = xapi.call("VM.get_by_uuid", vm_uuid)
        record = xapi.call("VM.get_record", ref)
        has_ended = record["power_state"] == "Halted" and not record["current_operations"]
        if has_ended or record["attached_PCIs"]:
            _lift(xapi, ref, pinning.ours(record))
            if has_ended:
                host.try_to_remove(f"{BLOCKED}{vm_uuid}")
            return False
    except XapiFailure as failure:
        if failure.details[0] not in GONE:
            raise
        host.try_to_remove(f"{BLOCKED}{vm_uuid}")
        return False
    named = pci_entries.plugging_order(pci_entries.readable(record["other_config"]))
    return bool(named and xapi.call("PCI.get_all_records_where", pinning.known(record["resident_on"], named)))


def _lift(xapi: Xapi, ref: str, blocks: Iterable[str]) -> None:
    for operation in blocks:
        xapi.call("VM.remove_from_blocked_operations", ref, operation)
