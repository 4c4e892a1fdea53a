"""VFs that a VM has left: its MAC goes at once, and all settings return to what they are without a VM."""

import time
from typing import Any, Collection, Dict, Mapping, Set

from . import arguments, arrival, startnotes, xenstore
from .host import Host

STALE_SECONDS = 600  # no reboot takes that long: a VM without a domain has ended, and nobody has told us


def release_vfs(host: Host, _session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `release_vfs`, for the master when a VM's lease goes to another host: a guest that shut
    itself down ran no hook, so its MAC may still be here. `{vm_uuid, released: [address]}`; nothing is
    done while the VM runs here."""
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    note = startnotes.read(host, vm_uuid)
    if note is None or _runs(host, vm_uuid):
        return {"vm_uuid": vm_uuid, "released": []}
    leave(host, vm_uuid, reboots=False)
    return {"vm_uuid": vm_uuid, "released": sorted(note.settings)}


def _runs(host: Host, vm_uuid: str) -> bool:
    """Whether the VM has a domain here, or may have one."""
    owners = xenstore.owners(host, host.run(xenstore.COMMAND, xenstore.SECONDS))
    return owners is None or any(domain.vm_uuid == vm_uuid for domain in owners.values())


def leave(host: Host, vm_uuid: str, reboots: bool) -> None:
    """The VM's domain is no more; one that reboots will be given the same again. Raises SriovError."""
    with host.lock("vfs", f"the end of {vm_uuid}"):
        note = startnotes.read(host, vm_uuid)
        if note is None:
            return
        answer = host.run(xenstore.COMMAND, xenstore.SECONDS)
        running = {
            address
            for address, domain in (xenstore.owners(host, answer) or {}).items()
            if domain.vm_uuid != vm_uuid
        }
        _release(host, set(note.settings) - running - _of_others(host, vm_uuid, note))
        if reboots:
            startnotes.write(host, vm_uuid, note.devices, note.settings)
        else:
            startnotes.remove(host, vm_uuid)


def sweep(host: Host, vm_uuid: str, running: Collection[str]) -> None:
    """VMs that ended without a word: a start that failed after its hook, a hook that was killed. The caller
    holds the lock `vfs`; `running` are the devices of running domains."""
    for uuid, note in startnotes.others(host, vm_uuid).items():
        stale = time.monotonic() - note.time > STALE_SECONDS
        if stale and not set(note.devices).intersection(running):
            host.log(f"{uuid} was started here and does not run: its VFs are set back")
            _release(host, set(note.settings) - _of_others(host, uuid, note))
            startnotes.remove(host, uuid)


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
