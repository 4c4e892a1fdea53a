"""VFs that a VM has left: its MAC goes at once, and all settings return to what they are without a VM."""

import time
from typing import Any, Collection, Dict, Mapping, Set

from . import arguments, arrival, product, startnotes, xenstore
from .host import LOCK_SECONDS, Host
from .xapi import Xapi, XapiFailure
from .xenstore import Domain

REBOOT_LOCK_SECONDS = 5  # a guest waits, and what its VFs have it is given again
STALE_SECONDS = 600  # no reboot takes that long: a VM without a domain has ended, and nobody has told us


def release_vfs(host: Host, session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `release_vfs`, for the master when a VM's lease goes to another host: a guest that shut
    itself down ran no hook, so its MAC may still be here. `{vm_uuid, released: [address]}`; nothing is
    done while the VM runs here. `vfs`: addresses that it was lent; without them, those that its last start
    here was given."""
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    left = arguments.addresses(args, "vfs")
    if startnotes.read(host, vm_uuid) is None and not left:
        return {"vm_uuid": vm_uuid, "released": []}
    with host.lock("vfs", f"release_vfs of {vm_uuid}"):
        note = startnotes.read(host, vm_uuid) or startnotes.Note(0, [], {})
        owners = xenstore.owners(host, host.run(xenstore.COMMAND, xenstore.SECONDS))
        runs = owners is None or any(domain.vm_uuid == vm_uuid for domain in owners.values())
        if runs or owners is None or (note.claims and _starts(host, session, vm_uuid)):
            return {"vm_uuid": vm_uuid, "released": []}
        released = {*note.settings, *left} - set(owners) - _of_others(host, vm_uuid, note)
        _release(host, released)
        startnotes.remove(host, vm_uuid)
    return {"vm_uuid": vm_uuid, "released": sorted(released)}


def _starts(host: Host, session: Any, vm_uuid: str) -> bool:
    """Whether xapi is starting the VM on this host, or may be: its hook is through, and there is no domain
    yet (xen-api: scheduled_to_be_resident_on is set while a start is under way)."""
    try:
        xapi = Xapi(host, session, 10)
        own = xapi.call("host.get_by_uuid", product.read(host).get("INSTALLATION_UUID", ""))
        ref = xapi.call("VM.get_by_uuid", vm_uuid)
        return own in (
            xapi.call("VM.get_scheduled_to_be_resident_on", ref),
            xapi.call("VM.get_resident_on", ref),
        )
    except XapiFailure as failure:
        return failure.details[0] != "UUID_INVALID"  # a VM that is gone does not start
    except OSError:
        return True


def leave(host: Host, vm_uuid: str, reboots: bool) -> None:
    """The VM's domain is no more; one that reboots will be given the same again. Raises SriovError."""
    with host.lock("vfs", f"the end of {vm_uuid}", REBOOT_LOCK_SECONDS if reboots else LOCK_SECONDS):
        note = startnotes.read(host, vm_uuid)
        if note is None:
            return
        answer = host.run(xenstore.COMMAND, xenstore.SECONDS)
        owners = xenstore.owners(host, answer)
        running = {address for address, domain in (owners or {}).items() if domain.vm_uuid != vm_uuid}
        _release(host, set(note.settings) - running - _of_others(host, vm_uuid, note))
        if reboots:
            startnotes.write(host, vm_uuid, note.devices, note.settings)
        else:
            startnotes.remove(host, vm_uuid)


def sweep(host: Host, vm_uuid: str, running: Mapping[str, Domain]) -> None:
    """VMs that ended without a word: a start that failed after its hook, a hook that was killed. The caller
    holds the lock `vfs`; `running` are the devices of running domains, and one that reboots has none. What
    another VM has by now is left to it."""
    for uuid, note in startnotes.others(host, vm_uuid).items():
        stale = time.monotonic() - note.time > STALE_SECONDS and not startnotes.reboots(host, uuid)
        if stale and not _may_be_up(uuid, note, running):
            host.log(f"{uuid} was started here and does not run: its VFs are set back")
            _release(host, set(note.settings) - set(running) - _of_others(host, uuid, note))
            startnotes.remove(host, uuid)


def _may_be_up(vm_uuid: str, note: startnotes.Note, running: Mapping[str, Domain]) -> bool:
    """Its domain is there, or one that xenstore cannot name has what it was given."""
    return any(
        domain.vm_uuid == vm_uuid or (domain.vm_uuid is None and address in note.devices)
        for address, domain in running.items()
    )


def left_behind(host: Host, vm_uuid: str, devices: Set[str], running: Collection[str]) -> None:
    """Before a VM gets devices without settings of its own: what others that are gone had on them goes. The
    caller holds the lock `vfs`, and has seen that no start of another VM has them."""
    stale = {
        address
        for note in startnotes.others(host, vm_uuid).values()
        for address in note.settings
        if address in devices and address not in running
    }
    _release(host, stale)


def _of_others(host: Host, vm_uuid: str, note: startnotes.Note) -> Set[str]:
    """Devices that later starts were given: they have others' settings by now."""
    return {
        address
        for other in startnotes.others(host, vm_uuid).values()
        if other.time > note.time
        for address in other.devices
    }


def _release(host: Host, addresses: Set[str]) -> None:
    for complaint in arrival.release(host, sorted(addresses)) if addresses else ():
        host.log(complaint)
