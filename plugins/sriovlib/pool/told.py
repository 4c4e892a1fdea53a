"""What a host told of itself: its inventory, which is read when somebody asks for it, and what most calls
need of each host."""

import json
import zlib
from binascii import a2b_base64, b2a_base64
from typing import Any, Callable, Dict, List, Mapping, Optional

from .. import VERSION
from ..digest import is_digest
from ..machine.host import Host
from ..vf import inventory
from ..vf.inventory_json import HostInventory, OtherPlugin
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
        read: Callable[[], HostInventory],
    ) -> None:
        self.version = version
        self.owners_known = owners_known
        self.running = running  # address -> UUID of the VM, or NO_VM, whose domain has the VF
        self.starting = starting  # as HostInventory.starting
        self.devices = devices
        self.digest = digest  # None: the host gives none
        self.packed = packed  # the text of its answer, by `pack`; empty where it is not to be kept
        self._read = read
        self._inventory: Optional[HostInventory] = None

    @property
    def inventory(self) -> HostInventory:
        if self._inventory is None:
            self._inventory = self._read()
        return self._inventory


def of_own(host: Host) -> Told:
    """Of this host, by one look without what is told to people only. For that, and all else that its
    inventory has besides, it is looked at where somebody asks: together they take four times as long, with
    the modules that are loaded for them. Raises what a look raises."""
    seen = inventory.with_nodes(host, inventory.look_to_act(host))

    def read() -> HostInventory:
        from ..vf import host_inventory  # not where a VM gets VFs of another host

        return host_inventory.of_look(host, inventory.for_people(host, seen))

    owners = seen.owners or {}
    running = {vf.address: owners[vf.address].vm_uuid or NO_VM for vf in seen.vfs if vf.address in owners}
    is_told = seen.owners is not None
    return Told(VERSION, is_told, running, seen.starting, Devices.of_look(seen), None, "", read)


def of_inventory(told: HostInventory, digest: Optional[str] = None, text: str = "") -> Told:
    """`text`: the answer, where it is to be kept."""
    running = {
        vf.address: vf.assigned_to.vm_uuid or NO_VM for vf in told.vfs.values() if vf.assigned_to is not None
    }
    return Told(
        told.version,
        told.owners_known,
        running,
        told.starting,
        Devices.of(told),
        digest,
        pack(text) if text else "",
        lambda: told,
    )


def of_text(text: str) -> Told:
    """The host's answer. Raises ValueError for what is no JSON, OtherPlugin for what is no inventory."""
    told = json.loads(text)
    found = HostInventory.from_json(told)
    own = told.get("digest")  # one of another kind might not come back as it went, or make a long answer
    made = of_inventory(found, own, text) if is_digest(own) else of_inventory(found)
    try:
        hash(made.devices)  # a list in the place of a name would fail all hosts where they are compared
    except TypeError as error:
        raise OtherPlugin(str(error)) from error
    return made


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
        uuid: Told(
            version, owners_known, running, starting, devices[place], digest, packed, _unpacking(packed)
        )
        for uuid, (version, owners_known, running, starting, place, digest, packed) in hosts.items()
    }


def _unpacking(packed: str) -> Callable[[], HostInventory]:
    return lambda: HostInventory.from_json(json.loads(unpack(packed)))
