"""What the xenopsd of one host keeps of VMs: what xapi has told it, by which starts, reboots and moves go.

Imitates xen-api v26.1.3, ocaml/xenopsd/lib/xenops_server.ml (import_metadata, export_metadata, VM_rename,
VM_remove, VM_DB, PCI_DB) and xc/xenops_server_xen.ml (VmExtra: what is kept of a domain from its creation on,
through reboots of dom0's programs, suspension and migration). All of it is in files below /run, gone after a
power cut.
"""

import json
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set

from hypervisor import Hypervisor

Record = Dict[str, Any]


class XenopsdError(Exception):
    """Its error as it is on the wire: a name with its details (ocaml/xapi-idl/xen/xenops_interface.ml)."""

    def __init__(self, name: str, *details: str) -> None:
        super().__init__(name, *details)
        self.name = name
        self.details = details

    def __str__(self) -> str:
        """As xapi tells it (xapi_xenops.ml, transform_xenops_exn)."""
        if self.name == "Does_not_exist":
            thing, identifier = self.details
            return f"Object with type {thing} and id {identifier} does not exist in xenopsd"
        if self.name == "Device_is_connected":
            return "Cannot remove device because it is connected to a VM"
        return f"xenopsd internal error: {' '.join(self.details)}"


class Known(NamedTuple):
    """Of one VM."""

    vm: Record  # Vm.t
    pcis: Sequence[Record]  # Pci.t; each is at most once there
    others: Record  # its VIFs, VBDs and so on
    state: Optional[Record]  # VmExtra.persistent_t: of its domain, since that was made

    @property
    def addresses(self) -> List[str]:
        """Of its devices, in the order in which they are plugged."""
        return [pci["id"][1] for pci in sorted(self.pcis, key=lambda pci: int(pci["position"]))]

    @property
    def passthrough(self) -> bool:
        """Whether a domain that is made now may have devices (generate_create_info, domain.ml: CDF_IOMMU)."""
        kind, builder = self.vm["ty"]
        return kind in ("HVM", "PV") and bool(builder.get("pci_passthrough"))


class Xenopsd:
    """All methods are called by one at a time for a VM: in its queue."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self.hypervisor = hypervisor
        self.paused: Set[str] = set()  # domains that came from another host, and not far enough
        self._known: Dict[str, Known] = {}

    def uuids(self) -> List[str]:
        return list(self._known)

    def exists(self, uuid: str) -> bool:
        return uuid in self._known

    def known(self, uuid: str) -> Known:
        if uuid not in self._known:
            raise XenopsdError("Does_not_exist", "VM", f"{uuid}/config")
        return self._known[uuid]

    def find(self, uuid: str) -> Optional[Known]:
        return self._known.get(uuid)

    def import_metadata(self, metadata: Record) -> str:
        """The VM's UUID. Its record is written first. Then each device that is not in the list any more is
        forgotten, one after the other, up to one that is plugged: that ends it, and nothing new is noted.
        At last what is in the list is noted. `domains` replaces what is known of the domain."""
        vm = metadata["vm"]
        uuid = str(vm["id"])
        before = self._known.get(uuid)
        others = {name: metadata.get(name, []) for name in ("vbds", "vifs", "vgpus", "vusbs")}
        self._note(uuid, Known(vm, before.pcis if before else (), others, before.state if before else None))
        listed = [{**pci, "id": [uuid, pci["id"][1]]} for pci in metadata.get("pcis", [])]
        self._forget_others(uuid, {pci["id"][1] for pci in listed})
        pcis = {pci["id"][1]: pci for pci in (*self._known[uuid].pcis, *listed)}
        state = self._known[uuid].state
        if metadata.get("domains") is not None:
            state = json.loads(metadata["domains"])
        self._note(uuid, Known(vm, tuple(pcis.values()), others, state))
        return uuid

    def _forget_others(self, uuid: str, listed: Set[str]) -> None:
        for pci in self._known[uuid].pcis:
            if pci["id"][1] in listed:
                continue
            if pci["id"][1] in self.hypervisor.plugged(uuid):
                raise XenopsdError("Device_is_connected")
            known = self._known[uuid]
            self._note(uuid, known._replace(pcis=tuple(one for one in known.pcis if one is not pci)))

    def export_metadata(self, uuid: str) -> Record:
        """Of a VM that has, or had, a domain."""
        known = self.known(uuid)
        if known.state is None:
            raise XenopsdError("Does_not_exist", "extra", f"{uuid}")
        return {
            "vm": known.vm,
            **known.others,
            "pcis": list(known.pcis),
            "domains": json.dumps(known.state),
        }

    def begin_domain(self, uuid: str) -> Record:
        """A domain is made: what is kept of it, unless it comes from elsewhere."""
        known = self.known(uuid)
        state = known.state
        if state is None:
            platform = dict(known.vm["platformdata"])
            nomigrate = platform.get("nomigrate", "") in ("true", "1")
            state = {"ty": known.vm["ty"], "nomigrate": nomigrate, "platformdata": known.vm["platformdata"]}
            self._note(uuid, known._replace(state=state))
        return state

    def end_domain(self, uuid: str) -> None:
        known = self._known.get(uuid)
        if known is not None:
            self._note(uuid, known._replace(state=None))

    def rename(self, before: str, after: str) -> None:
        known = self.known(before)
        self.remove(before)
        pcis = [{**pci, "id": [after, pci["id"][1]]} for pci in known.pcis]
        self._note(after, known._replace(vm={**known.vm, "id": after}, pcis=tuple(pcis)))

    def remove(self, uuid: str) -> None:
        self.paused.discard(uuid)
        if self._known.pop(uuid, None) is not None:
            self.hypervisor.forget(uuid)

    def _note(self, uuid: str, known: Known) -> None:
        self._known[uuid] = known
        self.hypervisor.keep(uuid, known.vm, {pci["id"][1]: pci for pci in known.pcis})
