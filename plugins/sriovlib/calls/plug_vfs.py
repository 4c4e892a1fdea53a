"""`unplug_vfs`, `plug_vfs` and `keep_passthrough`: a running VM's VFs out of it and into it, for the pool's
master while it moves the VM. Each may be called again at any time, and finishes what was cut off."""

import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import SriovError
from ..machine import pci, xen, xenstore
from ..machine.host import RUN_FOLDER, Host
from ..machine.xen_control import XenControl
from ..pool import hosts, master, state
from ..pool.hosts import Member
from ..pool.ledger import Entry
from ..pool.records import Records
from ..pool.state import Vm
from ..safetext import line, plural
from ..starts import pin, release, start
from ..vf import apply, hotplug, start_notes
from ..vf.start_notes import NO_NOTE, Note
from ..xapi import xenops_service
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi, XapiError, XapiSilent
from . import arguments

METADATA_SECONDS = 60  # for xenopsd to hear of entries that are gone
# xenopsd gives the devices of a guest in UEFI mode places of their own, by the numbers of their keys in
# xenstore, and leaves those of others to QEMU (xen-api: ocaml/xenopsd/xc/device.ml, assign_guest). Elsewhere
# the guest would see another device: another name, in Windows another adapter.
UEFI_MODEL, UEFI_FIRST_SLOT = "qemu-upstream-uefi", 8
LINK_SECONDS = 1  # for a bond in the guest to leave a VF without a link: it looks each 0.1 s (miimon)
PAUSE = 0.5

Settings = Mapping[str, str]


class Running(NamedTuple):
    """A VM whose domain runs here, and its VFs of this host by its lease."""

    vm_uuid: str
    name: str
    domid: int
    leased: Dict[str, Settings]  # VF -> what its request wants, in the order in which a start plugs them
    requests: Dict[str, int]  # VF -> the number of its request
    first_slot: Optional[int]  # of the guest's PCI bus, for devices that are passed through
    record: Vm
    here: Member


def unplug_vfs(host: Host, session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `unplug_vfs`: `{vm_uuid, unplugged, not_unplugged: [{vf, why}], passthrough, warnings}`.
    `passthrough` is whether the domain takes devices at all."""
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    seconds = arguments.guest_seconds(args, least=0)
    with _changing(host, session, vm_uuid, "unplug_vfs") as vm, host.xen_control() as control:
        takes = _takes_devices(control, vm)
        plugged = hotplug.present(host, vm.domid, list(vm.leased))
        _try_to_note(host, vm)
        _links(host, vm, plugged, up=False)
        kept = hotplug.unplug(host, control, vm.domid, plugged, seconds)
        _links(host, vm, list(kept), up=True)
        out = [address for address in vm.leased if address not in kept]
        warnings = _leave(host, vm, out)
    unplugged = [address for address in plugged if address not in kept]
    return {
        "vm_uuid": vm_uuid,
        "unplugged": unplugged,
        "not_unplugged": _reasons(kept),
        "passthrough": takes,
        "warnings": warnings,
    }


def plug_vfs(host: Host, session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `plug_vfs`: `{vm_uuid, plugged, already, not_plugged: [{vf, why}], warnings}`. What could
    not be plugged is as if it had not been tried, unless its sentence says otherwise."""
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    plugged: List[str] = []
    already: List[str] = []
    failed: Dict[str, str] = {}
    warnings: List[str] = []
    with _changing(host, session, vm_uuid, "plug_vfs") as vm, host.xen_control() as control:
        hotplug.present(host, vm.domid, list(vm.leased))  # whoever cannot tell has nothing changed
        for address in vm.leased:
            try:
                _arrive(host, vm, address)
                new = hotplug.plug(host, control, vm.domid, address, vm.first_slot)
                (plugged if new else already).append(address)
            except SriovError as error:
                failed[address] = error.message
            except hotplug.NotDone as error:
                failed[address] = str(error)
        if plugged or already:
            pin.pin(host, Xapi(host, session), vm.record, [*plugged, *already], vm.here)
        warnings = _leave(host, vm, _not_there(host, vm, list(failed)))
    return {
        "vm_uuid": vm_uuid,
        "plugged": plugged,
        "already": already,
        "not_plugged": _reasons(failed),
        "warnings": warnings,
    }


def _reasons(whys: Mapping[str, str]) -> List[Dict[str, str]]:
    return [{"vf": address, "why": whys[address]} for address in whys]


# -- the VM ------------------------------------------------------------------------------------------


@contextmanager
def _changing(host: Host, session: OwnSession, vm_uuid: str, function: str) -> Iterator[Running]:
    """The VM, which nobody else plugs or unplugs meanwhile; SriovError where that cannot be done."""
    with host.lock(f"plug-{vm_uuid}", f"{function} of {vm_uuid}"):
        try:
            yield _running(host, Xapi(host, session), vm_uuid)
        except hotplug.NotDone as error:
            raise SriovError(
                "SRIOV_XEN_SILENT",
                f"{function} has changed nothing in VM {vm_uuid}: {error}.",
                "Call again; where QEMU or xenstore goes on not answering, shut the VM down and start it.",
            ) from error
        except XapiError as error:
            raise master.silent(function, error) from error


def _running(host: Host, xapi: Xapi, vm_uuid: str) -> Running:
    ref, record = state.vm_record(xapi, vm_uuid)
    own = hosts.own_uuid(host)
    here = xapi.call("host.get_by_uuid", own)
    member = Member(here, own, line(xapi.call("host.get_name_label", here)), True, {})
    vm = state.vm_of(ref, record, {here: own})
    name = state.named(vm.name, vm_uuid)
    domids = xenstore.domains_of(host, vm_uuid)
    if domids is None:
        raise hotplug.NotDone("xenstore does not answer")
    is_ours = vm.power_state == "Running" and vm.resident_on == own
    is_at = vm.resident_on if vm.is_running else vm.starting_on or vm.resident_on
    if domids and (vm.is_idle or is_at != own):
        raise SriovError(
            "SRIOV_UNKNOWN_TO_XAPI",
            f"{name} has a domain on this host, and xapi does not know: it says {vm.power_state}, not here.",
            "It was moved here, and xapi did not hear of it. See what `attach_vfs` says.",
        )
    if not is_ours or len(domids) != 1:
        raise SriovError(
            "SRIOV_VM_NOT_HERE",
            f"{name} does not run on this host (xapi says {vm.power_state}; it has "
            f"{plural(len(domids), 'domain')} here).",
            f"`xe vm-param-get uuid={vm_uuid} param-name=resident-on` tells where it runs; if it is "
            "paused, unpause it.",
        )
    kind = xenstore.kind(host, domids[0])
    if kind not in (None, "hvm"):
        raise SriovError(
            "SRIOV_NOT_HVM",
            f"{name} is a guest of type {kind}, and only HVM guests can have VFs unplugged and plugged.",
            "Shut it down and start it: a start gives it VFs of its host.",
        )
    _must_run(host, name, domids[0])
    entry = state.read_ledger(Records(host, xapi)).entry(vm_uuid)
    slot = UEFI_FIRST_SLOT if record["platform"].get("device-model") == UEFI_MODEL else None
    leased, requests = _leased(entry, own), start.requests_of(entry)
    return Running(vm_uuid, name, domids[0], leased, requests, slot, vm, member)


def _leased(entry: Entry, own: str) -> Dict[str, Settings]:
    is_here = entry.lease is not None and entry.lease.host == own
    return dict(start.settings_of(entry)) if is_here else {}


def _takes_devices(control: XenControl, vm: Running) -> bool:
    return any(hotplug.takes_devices(control, vm.domid, address) for address in vm.leased)


def _must_run(host: Host, name: str, domid: int) -> None:
    """Refuses a domain that is paused, as it is from its making until xenopsd has plugged all it has: a
    device that is plugged then leaves the guest's ACPI interrupt stuck, and is never seen (measured on Xen
    4.17)."""
    runs = xen.runs(host.run(["xl", "list", str(domid)]))
    if runs is None:
        raise hotplug.NotDone("Xen does not tell whether its domain runs")
    if not runs:
        raise SriovError(
            "SRIOV_BUSY",
            f"The domain of {name} is paused, or ends.",
            "Call again when it runs: where nobody has paused it, it is being started, or reboots.",
        )


# -- settings and notes ------------------------------------------------------------------------------


def _links(host: Host, vm: Running, addresses: Sequence[str], up: bool) -> None:
    """Takes the links of VFs down, so that a bond in the guest goes on without them, or brings them back to
    what their requests want."""
    if not addresses:
        return
    with host.lock("vfs", f"the links of {vm.vm_uuid}"):
        changed = apply.link(host, apply.look(host), {vf: vm.leased[vf] for vf in addresses}, up)
    if changed and not up:
        time.sleep(LINK_SECONDS)


def _arrive(host: Host, vm: Running, address: str) -> None:
    """Notes the VF as the VM's and sets it; SriovError where it is another's, or cannot be set."""
    driver = host.link(f"{pci.DEVICES}/{address}/driver")
    if driver not in (None, pci.PCIBACK):
        raise _taken(address, f"dom0's driver {driver}")
    wanted = {address: vm.leased[address]}
    there = apply.look(host)
    apply.wait_for_links(host, there, wanted)
    with host.lock("vfs", f"plug_vfs of {vm.vm_uuid}"):
        owners = xenstore.owners(host)
        if owners is None:
            raise hotplug.NotDone("xenstore does not answer")
        if address in owners and owners[address].domid != vm.domid:
            raise _taken(address, f"the running VM {owners[address].name or owners[address].domid}")
        for uuid, claim in start_notes.claims(host, vm.vm_uuid).items():
            if address in claim.devices:
                raise _taken(address, f"the VM {uuid}, which is being started")
        has = [vf for vf, domain in owners.items() if domain.domid == vm.domid]
        note = start_notes.read(host, vm.vm_uuid) or Note(0, has, {})  # the package came after its start
        devices = [*note.devices, *(vf for vf in wanted if vf not in note.devices)]
        settings = {**note.settings, address: dict(vm.leased[address])}
        requests = {**note.requests, address: vm.requests[address]}
        noted = Note(time.monotonic(), devices, settings, requests)
        if address not in has or noted != note._replace(time=noted.time):
            _write_note(host, vm, noted)
        there = apply.again(host, there)
        apply.arrive(host, there, wanted, owners)
        apply.link(host, there, wanted, up=True)


def _not_there(host: Host, vm: Running, addresses: List[str]) -> List[str]:
    """Those of the VFs that the domain does not have, as far as that is known."""
    try:
        there = hotplug.present(host, vm.domid, addresses) if addresses else []
    except hotplug.NotDone as error:
        host.log(f"{vm.vm_uuid}: {', '.join(addresses)} stay as they are: {error}")
        return []
    return [address for address in addresses if address not in there]


def _taken(address: str, holder: str) -> SriovError:
    return SriovError("SRIOV_VF_IN_USE", f"{address} is held by {holder}.", "Give the VM another VF.")


def _leave(host: Host, vm: Running, addresses: Sequence[str]) -> List[str]:
    """Sets VFs back that the domain does not have, and takes them out of its note; what could not be set back
    stays in the note's settings, and is said."""
    if not addresses:
        return []
    with host.lock("vfs", f"VFs that {vm.vm_uuid} has left"):
        note = start_notes.read(host, vm.vm_uuid) or NO_NOTE
        owners = xenstore.owners(host)
        if owners is None:
            return ["The VFs keep their settings: xenstore does not tell which VMs have which VFs."]
        foreign = release.of_others(host, vm.vm_uuid, note).union(owners)
        own = [vf for vf in addresses if vf not in foreign]
        apply.link(host, apply.look(host), {vf: vm.leased[vf] for vf in own}, up=True)
        complaints = apply.release(host, own)
        if note is NO_NOTE:
            return list(complaints.values())
        left = {vf: text for vf, text in note.settings.items() if vf not in addresses or vf in complaints}
        devices = [vf for vf in note.devices if vf not in addresses]
        _write_note(host, vm, Note(note.time, devices, left, note.requests))
    return list(complaints.values())


def _try_to_note(host: Host, vm: Running) -> None:
    """Where a note cannot be written (/run is full) the VM's VFs are not touched: they could not be noted as
    its own again either. Raises SriovError."""
    with host.lock("vfs", f"the note of {vm.vm_uuid}"):
        note = start_notes.read(host, vm.vm_uuid)
        if note is not None:
            _write_note(host, vm, note)


def _write_note(host: Host, vm: Running, note: Note) -> None:
    try:
        start_notes.write(host, vm.vm_uuid, note.devices, note.settings, note.requests, note.time)
    except OSError as error:
        raise SriovError(
            "SRIOV_NO_LOCK",
            f"The VFs of {vm.name} could not be noted in {RUN_FOLDER}: {error.strerror}.",
            "Check that /run is writable and has room, then call again.",
        ) from error


# -- the flag ----------------------------------------------------------------------------------------


def keep_passthrough(host: Host, session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `keep_passthrough`: `{vm_uuid, passthrough}`, for a running VM whose entries have gone.
    Waits until xenopsd has heard of that, then has it keep `pci_passthrough`, which xapi takes away with the
    last entry (xen-api: ocaml/xapi/xapi_xenops.ml, builder_of_vm), and without which the domain that a move
    makes takes no device. Whatever writes the VM's record makes xapi tell xenopsd all anew, so nothing may
    between this call and the move."""
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    with _changing(host, session, vm_uuid, "keep_passthrough"):
        reference = session.reference
        deadline = time.monotonic() + METADATA_SECONDS
        metadata = xenops_service.export_metadata(host, reference, vm_uuid)
        while metadata["pcis"]:
            if time.monotonic() >= deadline:
                raise SriovError(
                    "SRIOV_BUSY",
                    f"xenopsd still has {plural(len(metadata['pcis']), 'PCI device')} of VM {vm_uuid}.",
                    "Call again when xapi has told it of the VM's entries; entries of others have to go too.",
                )
            time.sleep(PAUSE)
            metadata = xenops_service.export_metadata(host, reference, vm_uuid)
        if not _passes_through(metadata):
            kind, builder = metadata["vm"]["ty"]
            vm = {**metadata["vm"], "ty": [kind, {**builder, "pci_passthrough": True}]}
            xenops_service.import_metadata(host, reference, {**metadata, "vm": vm})
            if not _passes_through(xenops_service.export_metadata(host, reference, vm_uuid)):
                raise SriovError(
                    "SRIOV_BUSY",
                    f"xenopsd has not kept pci_passthrough of VM {vm_uuid}: xapi has told it of the VM anew.",
                    "Call again when nobody changes the VM.",
                )
    return {"vm_uuid": vm_uuid, "passthrough": True}


def _passes_through(metadata: Mapping[str, Any]) -> bool:
    try:
        _kind, builder = metadata["vm"]["ty"]
        return builder["pci_passthrough"] is True
    except (KeyError, TypeError, ValueError) as error:
        raise XapiSilent("xenopsd's metadata does not tell whether the VM takes devices") from error
