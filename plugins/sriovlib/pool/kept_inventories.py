"""What hosts told last, kept in /run/sriov/inventories of the master.

A host is asked each time, and answers with a digest alone where its inventory is what it was. So what is kept
saves that the same is sent and read again, and is never believed by itself.
"""

import json
from typing import Any, Dict, Mapping, Optional

from .. import digest
from ..machine.host import RUN_FOLDER, Host
from . import kept_file

PATH = f"{RUN_FOLDER}/inventories"


class Inventories:
    """By UUID of the host. `digests`: those that hosts gave; what they told is read when it is asked for."""

    def __init__(self, digests: Mapping[str, str], text: bytes) -> None:
        self.digests = digests
        self._text = text
        self._told: Optional[Dict[str, Any]] = None

    @property
    def told(self) -> Dict[str, Any]:
        """As told.Told."""
        if self._told is None:
            from . import told

            self._told = told.from_json(json.loads(self._text.decode()))
        return self._told


NONE = Inventories({}, b"[[],{}]")


def load(host: Host) -> Inventories:
    found = kept_file.load(host, PATH, _build())
    return Inventories(found.head, found.text.content) if found else NONE


def store(host: Host, known: Mapping[str, Any]) -> None:
    """`known`: as told.Told, with digests."""
    from . import told

    text = json.dumps(told.to_json(known), separators=(",", ":")).encode()
    head = {uuid: one.digest for uuid, one in known.items()}
    kept = kept_file.Kept(head, kept_file.Text.of(text))
    kept_file.store(host, PATH, _build(), kept, "inventories", "keeping what hosts told")


def _build() -> str:
    """All that says what values there are in the file, in which order."""
    values = ("pool/candidates.py", "machine/pci.py", "machine/ports.py")
    return digest.of_build("vf/inventory_json.py", "pool/told.py", *values)
