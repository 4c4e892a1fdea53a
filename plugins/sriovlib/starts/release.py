"""Releases VFs that a VM has left: its MAC goes at once, and all settings return to those without a VM."""

import time
from typing import Collection, Dict, Mapping, Set

from ..machine import xenstore
from ..machine.host import LOCK_SECONDS, Host
from ..machine.xenstore import Domain
from ..vf import apply, start_notes
from ..vf.start_notes import STALE_SECONDS, Note

LONG_AGO = -STALE_SECONDS  # for a note that claims nothing, also soon after a boot
NOBODY: Mapping[str, float] = {}
REBOOT_LOCK_SECONDS = 5  # a guest waits, and its VFs get the same settings again


def leave(host: Host, vm_uuid: str, reboots: bool) -> None:
    """The VM's domain has ended; one that reboots gets the same VFs and settings again. Raises SriovError."""
    note = start_notes.read(host, vm_uuid)
    if note is not None and not note.settings:  # nothing to set back, so nothing to wait for
        if reboots:
            start_notes.write(host, vm_uuid, note.devices, {}, {})
        else:
            start_notes.remove(host, vm_uuid)
        return
    with host.lock("vfs", f"the end of {vm_uuid}", REBOOT_LOCK_SECONDS if reboots else LOCK_SECONDS):
        note = start_notes.read(host, vm_uuid)
        if note is None:
            return
        owners = xenstore.owners(host) or {}
        running = {address for address, domain in owners.items() if domain.vm_uuid != vm_uuid}
        own = set(note.settings) - running - of_others(host, vm_uuid, note)
        if reboots:
            _release(host, own)
            start_notes.write(host, vm_uuid, note.devices, note.settings, note.requests)
        else:
            end(host, vm_uuid, note, own)


def sweep(
    host: Host, vm_uuid: str, running: Mapping[str, Domain], ended: Mapping[str, float] = NOBODY
) -> None:
    """Releases VFs of VMs whose end was not told: a start that failed after its hook or that a later hook
    refused, a hook that was killed, a guest that shut itself down. The caller holds the lock `vfs`; `running`
    are the devices of running domains (one that reboots has none), `ended` the VMs that xapi says are halted,
    with the times of their notes. VFs that another VM has by now stay as they are."""
    notes = start_notes.others(host, "")
    latest = _latest(notes)
    over: Dict[str, Note] = {}
    own: Dict[str, Set[str]] = {}
    for uuid, note in notes.items():
        stale = time.monotonic() - note.time > STALE_SECONDS and not start_notes.reboots(host, uuid)
        is_over = uuid != vm_uuid and (stale or ended.get(uuid) == note.time)
        if is_over and not _may_be_up(uuid, note, running):
            host.log(f"{uuid} was started here and does not run: its VFs are set back")
            over[uuid] = note
            own[uuid] = {
                vf for vf in note.settings if vf not in running and latest.get(vf, note.time) <= note.time
            }
    kept = _release(host, set().union(*own.values()))  # all at once: each look at the VFs takes processes
    for uuid, note in over.items():
        _forget(host, uuid, note, [vf for vf in own[uuid] if vf in kept])


def ended(host: Host, running: Mapping[str, Domain], busy: Collection[str]) -> Dict[str, float]:
    """VM -> the time of its note, of those that neither run nor start by what is known: `running` of domains,
    `busy` of xapi, asked after the lock `vfs` was taken, which no start hook gets meanwhile."""
    return {
        uuid: note.time
        for uuid, note in start_notes.others(host, "").items()
        if uuid not in busy and not _may_be_up(uuid, note, running)
    }


def _may_be_up(vm_uuid: str, note: Note, running: Mapping[str, Domain]) -> bool:
    """Whether its domain runs, or a domain that xenstore cannot name has one of its devices."""
    return any(
        domain.vm_uuid == vm_uuid or (domain.vm_uuid is None and address in note.devices)
        for address, domain in running.items()
    )


def left_behind(host: Host, vm_uuid: str, devices: Set[str], running: Collection[str]) -> None:
    """Releases devices that a VM gets without settings of its own, where VMs that have ended had settings on
    them. The caller holds the lock `vfs`, and has checked that no start of another VM has them."""
    stale = {
        address
        for note in start_notes.others(host, vm_uuid).values()
        for address in note.settings
        if address in devices and address not in running
    }
    _release(host, stale)


def of_others(host: Host, vm_uuid: str, note: Note) -> Set[str]:
    """Devices that later starts were given, and that have those VMs' settings by now."""
    latest = _latest(start_notes.others(host, vm_uuid))
    return {address for address in latest if latest[address] > note.time}


def _latest(notes: Mapping[str, Note]) -> Dict[str, float]:
    """Device -> the time of the last start that was given it."""
    found: Dict[str, float] = {}
    for note in notes.values():
        for address in note.devices:
            found[address] = max(note.time, found.get(address, note.time))
    return found


def end(host: Host, vm_uuid: str, note: Note, addresses: Collection[str]) -> Dict[str, str]:
    """Releases these VFs and removes the note; address -> why it could not be released."""
    kept = _release(host, addresses)
    _forget(host, vm_uuid, note, kept)
    return kept


def _forget(host: Host, vm_uuid: str, note: Note, kept: Collection[str]) -> None:
    """Removes the note. For VFs that could not be released one stays that claims nothing, so that the next
    sweep tries again."""
    try:
        if kept:
            start_notes.write(host, vm_uuid, [], {vf: note.settings.get(vf, {}) for vf in kept}, {}, LONG_AGO)
        else:
            start_notes.remove(host, vm_uuid)
    except OSError as error:  # no start of another VM waits for this
        host.log(f"{vm_uuid}: its note stays as it is: {error.strerror}")


def _release(host: Host, addresses: Collection[str]) -> Dict[str, str]:
    kept = apply.release(host, sorted(addresses)) if addresses else {}
    for complaint in kept.values():
        host.log(complaint)
    return kept
