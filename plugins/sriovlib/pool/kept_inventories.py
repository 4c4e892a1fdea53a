"""What hosts told last, kept in /run/sriov/inventories of the master.

A host is asked each time, and answers with a digest alone where its inventory is what it was. So what is kept
saves that the same is sent and read again, and is never believed by itself. The file begins with a digest of
the rest: one that is not as it was written is none. One that cannot be written costs the next call its time.
"""

import json
from typing import Dict, Mapping

from .. import digest
from ..errors import SriovError
from ..machine.host import RUN_FOLDER, Host
from ..vf import inventory_json
from . import told
from .told import Told

PATH = f"{RUN_FOLDER}/inventories"
_MODE = 0o600


def load(host: Host) -> Dict[str, Told]:
    """By UUID of the host."""
    try:
        if host.mode(PATH) != _MODE:
            host.remove_file(PATH)  # none of ours: a new one gets that mode
            return {}
        written, _, content = host.read_bytes(PATH).partition(b"\n")
    except FileNotFoundError:
        return {}
    except OSError as error:
        host.log(f"{PATH} cannot be read: {error.strerror}")
        return {}
    if written != digest.of(content).encode():
        host.log(f"{PATH} is not as it was written")
        return {}
    build, known = json.loads(content.decode())
    return told.from_json(known) if build == _build() else {}


def store(host: Host, known: Mapping[str, Told]) -> None:
    """Where another process does the same just now, its file is as good."""
    content = json.dumps([_build(), told.to_json(known)], separators=(",", ":")).encode()
    try:
        with host.lock("inventories", "keeping what hosts told", 0):
            host.replace_file(PATH, digest.of(content).encode() + b"\n" + content, _MODE)
    except SriovError as error:
        if error.code != "SRIOV_BUSY":
            host.log(f"{PATH} was not written: {error.message}")
    except OSError as error:
        host.log(f"{PATH} was not written: {error.strerror}")


def _build() -> str:
    return digest.of_build(inventory_json, told)
