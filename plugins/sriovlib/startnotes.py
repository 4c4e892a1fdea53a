"""What each VM was given at its last start on this host: `/run/sriov/start-<vm uuid>`, empty after each boot.

{"time": 8123.4, "devices": ["0000:07:10.0"], "settings": {"0000:07:10.0": {"mac": "82:..."}}}

`time` is that of time.monotonic() (since boot, alike for all processes). `devices` are all that the start
plugs, `settings` are those of our requests, in the ledger's words. A start that has been judged and has no
domain yet is known by its note only, so a new note also keeps others off its devices, for CLAIM_SECONDS: in
that time the domain is there, or the start has failed.
"""

import json
import time
from typing import Dict, List, NamedTuple, Optional

from .host import RUN_FOLDER, Host

PREFIX = "start-"
CLAIM_SECONDS = 60


class Note(NamedTuple):
    time: float
    devices: List[str]
    settings: Dict[str, Dict[str, str]]  # VF -> what its request wants

    @property
    def claims(self) -> bool:
        return 0 <= time.monotonic() - self.time < CLAIM_SECONDS


def read(host: Host, vm_uuid: str) -> Optional[Note]:
    """The note of a VM; None where there is none, or nothing that could be one."""
    try:
        found = json.loads(host.read(_path(vm_uuid)))
        return Note(
            float(found["time"]),
            [str(address) for address in found["devices"]],
            {str(vf): dict(settings) for vf, settings in found["settings"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(host: Host, vm_uuid: str, devices: List[str], settings: Dict[str, Dict[str, str]]) -> None:
    """Raises OSError. The caller holds the lock `vfs`, so there is the folder."""
    text = json.dumps({"time": time.monotonic(), "devices": devices, "settings": settings})
    host.replace_file(_path(vm_uuid), text.encode())


def remove(host: Host, vm_uuid: str) -> None:
    host.remove_file(_path(vm_uuid))


def others(host: Host, vm_uuid: str) -> Dict[str, Note]:
    """The notes of all other VMs, by UUID."""
    uuids = [name[len(PREFIX) :] for name in host.names(RUN_FOLDER) if name.startswith(PREFIX)]
    found = {uuid: read(host, uuid) for uuid in uuids if uuid != vm_uuid}
    return {uuid: note for uuid, note in found.items() if note is not None}


def claims(host: Host, vm_uuid: str) -> Dict[str, Note]:
    """The notes of other VMs whose starts have just been let through."""
    return {uuid: note for uuid, note in others(host, vm_uuid).items() if note.claims}


def _path(vm_uuid: str) -> str:
    return f"{RUN_FOLDER}/{PREFIX}{vm_uuid}"
