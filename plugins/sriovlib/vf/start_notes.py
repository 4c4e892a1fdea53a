"""What each VM was given at its last start on this host: `/run/sriov/start-<vm uuid>`, empty after each boot.

{"time": 8123.4, "devices": ["0000:07:10.0"], "settings": {"0000:07:10.0": {"mac": "82:..."}},
 "requests": {"0000:07:10.0": 1}}

`time` is time.monotonic() (since boot, the same for all processes). `devices` are all that the start plugs,
also what xapi itself gives the VM (GPUs, VFs of its own SR-IOV); `settings` are those of our requests, in the
ledger's words, and `requests` their numbers (early builds of 0.1.0 noted none). A start that has been judged
and has no domain yet is known by its note only. So a new note keeps other starts off its devices for
CLAIM_SECONDS (by then the domain exists, or the start has failed), or as long as xapi says that the start is
under way. All else that changes VFs leaves them alone until xapi says that the start is over, or
STALE_SECONDS have passed.

Beside it, for moments, `/run/sriov/reboot-<vm uuid>`: the VM's domain has ended and comes back. In a reboot
xenopsd runs vm-post-destroy with a reboot's reason and then vm-pre-start with the arguments of any start, in
one operation (xen-api: ocaml/xenopsd/lib/xenops_server.ml, VM_reboot;
tests/imitation/transcripts/hooks.json). So a start without such a mark is no reboot, as far as can be known
without xapi.
"""

import json
import time
from typing import Any, Collection, Dict, List, Mapping, NamedTuple, Optional

from ..machine.host import RUN_FOLDER, Host

PREFIX, REBOOT_PREFIX = "start-", "reboot-"
BLOCKED = f"{RUN_FOLDER}/blocked-"  # and the UUID of a VM whose moves are blocked here, see starts/pin.py
CLAIM_SECONDS = 60
STALE_SECONDS = 600  # no start or reboot takes that long: a VM without a domain has ended
MARK_SECONDS = 120  # from a domain's end to the start that follows in a reboot, at most


class Note(NamedTuple):
    time: float
    devices: List[str]
    settings: Dict[str, Dict[str, str]]  # VF -> what its request wants
    requests: Mapping[str, int] = {}  # VF -> the number of its request

    @property
    def claims(self) -> bool:
        return 0 <= time.monotonic() - self.time < CLAIM_SECONDS


NO_NOTE = Note(0, [], {})  # of a VM without one


def read(host: Host, vm_uuid: str) -> Optional[Note]:
    """The note of a VM, without settings that this version does not know; None where there is none or it
    cannot be read."""
    try:
        found = json.loads(host.read(_path(vm_uuid)))
        return Note(
            float(found["time"]),
            [str(address) for address in found["devices"]],
            {str(vf): _understood(settings) for vf, settings in found["settings"].items()},
            _numbers(found.get("requests", {})),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _understood(settings: Dict[str, str]) -> Dict[str, str]:
    from ..config import vf_settings  # most starts know no settings

    return {name: text for name, text in settings.items() if vf_settings.is_understood(name, text)}


def _numbers(requests: Dict[str, Any]) -> Dict[str, int]:
    return {str(vf): number for vf, number in requests.items() if type(number) is int and number > 0}


def write(
    host: Host,
    vm_uuid: str,
    devices: List[str],
    settings: Dict[str, Dict[str, str]],
    requests: Mapping[str, int],
    at: Optional[float] = None,
) -> None:
    """Raises OSError. The caller holds the lock `vfs`, where there are settings. `at`:
    now, where not given."""
    now = time.monotonic() if at is None else at
    of_devices = {vf: requests[vf] for vf in requests if vf in devices}
    text = json.dumps({"time": now, "devices": devices, "settings": settings, "requests": of_devices})
    host.make_folder(RUN_FOLDER)
    host.replace_file(_path(vm_uuid), text.encode())


def remove(host: Host, vm_uuid: str) -> None:
    host.remove_file(_path(vm_uuid))


def others(host: Host, vm_uuid: str) -> Dict[str, Note]:
    """The notes of all other VMs, by UUID."""
    uuids = [name[len(PREFIX) :] for name in host.names(RUN_FOLDER) if name.startswith(PREFIX)]
    found = {uuid: read(host, uuid) for uuid in uuids if uuid != vm_uuid}
    return {uuid: note for uuid, note in found.items() if note is not None}


def claims(host: Host, vm_uuid: str) -> Dict[str, Note]:
    """The notes of other VMs whose starts have just been let through, or that are rebooting."""
    return {uuid: note for uuid, note in others(host, vm_uuid).items() if note.claims or reboots(host, uuid)}


def under_way(host: Host, vm_uuid: str) -> Dict[str, Note]:
    """The notes of other VMs whose starts were let through and may be under way, as far as that is known
    without xapi: a start may wait long for memory."""
    return {
        uuid: note
        for uuid, note in others(host, vm_uuid).items()
        if 0 <= time.monotonic() - note.time < STALE_SECONDS or reboots(host, uuid)
    }


def starting(host: Host, owned: Collection[str]) -> Dict[str, str]:
    """Device -> the VM whose start here was let through and may be under way, as far as that is known without
    xapi. `owned` are what running domains have: a domain comes before its devices, and those come one by
    one, so a VM's domain is no sign that it has got them all."""
    return {
        address: uuid
        for uuid, note in under_way(host, "").items()
        for address in note.devices
        if address not in owned
    }


def mark_reboot(host: Host, vm_uuid: str) -> None:
    """Takes no lock: a reboot must be known as one at once. Raises OSError."""
    host.make_folder(RUN_FOLDER)
    host.replace_file(f"{RUN_FOLDER}/{REBOOT_PREFIX}{vm_uuid}", str(time.monotonic()).encode())


def reboots(host: Host, vm_uuid: str) -> bool:
    """Whether the VM's domain here has just ended in order to come back."""
    try:
        age = time.monotonic() - float(host.read(f"{RUN_FOLDER}/{REBOOT_PREFIX}{vm_uuid}"))
    except (OSError, ValueError):
        return False
    return 0 <= age < MARK_SECONDS


def unmark(host: Host, vm_uuid: str) -> None:
    """A mark that cannot be removed (/run is read-only) expires, so it stops no start and no release."""
    try:
        host.remove_file(f"{RUN_FOLDER}/{REBOOT_PREFIX}{vm_uuid}")
    except OSError as error:
        host.log(f"{vm_uuid}: the mark of its reboot could not be taken away: {error.strerror}")


def _path(vm_uuid: str) -> str:
    return f"{RUN_FOLDER}/{PREFIX}{vm_uuid}"
