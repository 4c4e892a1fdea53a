"""What a host told of itself: its inventory, which is read when somebody asks for it, and what most calls
need of each host."""

import json
import zlib
from binascii import a2b_base64, b2a_base64
from typing import Any, Dict, List, Mapping, Optional

from ..vf.host_inventory import HostInventory, OtherPlugin
from .candidates import Devices

NO_VM = "a domain without a VM"  # in the place of a UUID


class Told:
    """A host's answer to `inventory`."""

    def __init__(
        self,
        version: str,
        owners_known: bool,
        running: Mapping[str, str],
        starting: Mapping[str, str],
        devices: Devices,
        digest: Optional[str],
        packed: str,
        inventory: Optional[HostInventory],
    ) -> None:
        self.version = version
        self.owners_known = owners_known
        self.running = running  # address -> UUID of the VM, or NO_VM, whose domain has the VF
        self.starting = starting  # as HostInventory.starting
        self.devices = devices
        self.digest = digest  # None: the host gives none
        self.packed = packed  # the text of its answer, by `pack`; empty where it is not to be kept
        self._inventory = inventory

    @property
    def inventory(self) -> HostInventory:
        if self._inventory is None:
            self._inventory = HostInventory.from_json(json.loads(unpack(self.packed)))
        return self._inventory


def of_inventory(inventory: HostInventory, digest: Optional[str] = None, text: str = "") -> Told:
    """`text`: the answer, where it is to be kept."""
    running = {
        vf.address: vf.assigned_to.vm_uuid or NO_VM
        for vf in inventory.vfs.values()
        if vf.assigned_to is not None
    }
    return Told(
        inventory.version,
        inventory.owners_known,
        running,
        inventory.starting,
        Devices.of(inventory.pfs.values(), inventory.vfs.values()),
        digest,
        pack(text) if text else "",
        inventory,
    )


def of_text(text: str, before: Optional[Told] = None) -> Told:
    """The host's answer; `before`: what it told before, if it was asked whether that is so still. Raises
    ValueError for what is no JSON, OtherPlugin for what is no inventory."""
    told = json.loads(text)
    if before is not None and told == {"digest": before.digest}:
        return before
    inventory = HostInventory.from_json(told)
    digest = told.get("digest")
    found = of_inventory(inventory, digest, text) if isinstance(digest, str) else of_inventory(inventory)
    try:
        hash(found.devices)  # a list in the place of a name would fail all hosts where they are compared
    except TypeError as error:
        raise OtherPlugin(str(error)) from error
    return found


def pack(text: str) -> str:
    return b2a_base64(zlib.compress(text.encode(), 1), newline=False).decode()


def unpack(packed: str) -> str:
    return zlib.decompress(a2b_base64(packed)).decode()


def to_json(known: Mapping[str, Told]) -> Any:
    """By UUID of the host; what hosts have in common stands there once."""
    places: Dict[Devices, int] = {}
    hosts = {
        uuid: [
            one.version,
            one.owners_known,
            one.running,
            one.starting,
            places.setdefault(one.devices, len(places)),
            one.digest,
            one.packed,
        ]
        for uuid, one in known.items()
    }
    return [list(places), hosts]


def from_json(content: Any) -> Dict[str, Told]:
    """What `to_json` made."""
    told, hosts = content
    devices: List[Devices] = [Devices.from_json(one) for one in told]
    return {
        uuid: Told(version, owners_known, running, starting, devices[place], digest, packed, None)
        for uuid, (version, owners_known, running, starting, place, digest, packed) in hosts.items()
    }
