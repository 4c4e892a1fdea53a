"""The pool at one moment, as `list_assignments` looks at it, and what a conflict is. Values only.

A conflict's code says what is to be done (docs/errors.md lists them); its message and hint are its own.
"""

from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ...vf.inventory import ASSIGNED, IN_USE
from .. import copies, own_lease, pci_entries
from ..hosts import Topology
from ..inventories import Survey, Surveyed
from ..ledger import Entry, Lease
from ..placement import Held
from ..state import PoolState, Vm

# Whoever may write VMs' other_config can bring about thousands of these.
ENTRY_CODES = ("ENTRY_NOT_LEASED", "ENTRY_INVALID")

DETACHED = "detached"  # beside states of list_vfs


class Conflict(NamedTuple):
    """`vm_uuids` are those concerned; `host_uuid` and `address` are null where it is about none."""

    code: str
    message: str
    hint: str
    vm_uuids: List[str]
    host_uuid: Optional[str] = None
    address: Optional[str] = None


class Seen(NamedTuple):
    """The pool at one moment, for reading only."""

    topology: Topology
    surveyed: Survey
    state: PoolState
    held: Held

    def vms(self) -> List[Vm]:
        """By UUID."""
        return [vm for _, vm in sorted(self.state.vms.items())]

    def leases(self) -> Iterator[Tuple[str, Entry, Lease]]:
        """Of VMs that the pool has, by UUID."""
        for uuid, entry in sorted(self.state.entries.items()):
            if uuid in self.state.vms and entry.lease is not None:
                yield uuid, entry, entry.lease

    def leased(self) -> Dict[str, List[Tuple[str, str]]]:
        """Address -> the hosts on which a VM is leased it, and that VM's UUID."""
        found: Dict[str, List[Tuple[str, str]]] = {}
        leases = self.state.leased()
        for (host, address), holder in sorted(leases.items()):
            found.setdefault(address, []).append((host, holder))
        return found

    def has_requests(self, vm_uuid: str) -> bool:
        entry = self.state.entries.get(vm_uuid)
        return bool(entry and entry.requests)

    def has_vfs(self, vm: Vm) -> bool:
        return bool(vm.pci) or self.has_requests(vm.uuid) or vm.uuid in self.state.unreadable

    def surveyed_of(self, vm: Vm) -> Optional[Surveyed]:
        """The host that the VM runs on, if that has answered."""
        return self.surveyed.hosts.get(vm.resident_on or "")

    def state_of(self, vm: Vm, address: Optional[str]) -> Optional[str]:
        """Of a VF of its lease: in-use while the VM's domain has it, detached while the VM runs or is
        suspended without it, else assigned: the VM has it from its next start. None: it is not known, or
        there is no VF."""
        entry = self.state.entries.get(vm.uuid)
        if entry is None or entry.lease is None or address is None:
            return None
        is_away = entry.move is not None
        if not vm.is_running:
            return DETACHED if is_away and vm.power_state == "Suspended" else ASSIGNED
        surveyed = self.surveyed.hosts.get(entry.lease.host)
        if surveyed is None or not surveyed.told.owners_known:
            return None
        if surveyed.told.running.get(address) == vm.uuid:
            return IN_USE
        return DETACHED if is_away else ASSIGNED

    def host(self, uuid: str) -> str:
        """A host in a sentence."""
        member = self.topology.members.get(uuid)
        return member.name if member else f"host {uuid}, which left the pool"

    def vm(self, uuid: str) -> str:
        """A VM in a sentence."""
        return f"VM {self.state.name(uuid)}"

    def vms_named(self, uuids: Sequence[str]) -> str:
        return " and ".join(map(self.vm, uuids))

    def others(self, vm: Vm) -> List[str]:
        """The addresses in the VM's entries that no lease of its own explains, of today or earlier."""
        entry = self.state.entries.get(vm.uuid)
        found = [address for address in vm.named if entry is None or address not in entry.past]
        if found and entry is not None:  # not of most: what a VM has is in `past` too
            own = entry.ever_leased
            found = [address for address in found if address not in own]
        return found

    def with_others(self) -> List[Vm]:
        """The VMs with `others`, by UUID: few of thousands."""
        found = [vm for vm in self.state.vms.values() if vm.pci and self.others(vm)]
        return sorted(found, key=lambda vm: vm.uuid)

    def is_copy(self, vm: Vm) -> bool:
        """Of a VM with requests, or of one that the pool does not know: the conflict COPY tells of its
        entries."""
        origin = copies.origin(self.state, vm)
        return self.unknown_origin(vm) is not None if origin is None else self.has_requests(origin)

    def unknown_origin(self, vm: Vm) -> Optional[str]:
        """As in `copies`; None where VMs of this pool were leased the same addresses, which says more."""
        unknown = copies.unknown_origin(self.state, vm)
        if unknown is None:
            return None
        lessees = own_lease.lessees(self.state.entries)
        return None if own_lease.leased_to_others(lessees, vm.uuid, vm.named) else unknown

    def without(self, vm_uuid: str, *addresses: str) -> str:
        """How to take addresses out of a VM's entries."""
        return pci_entries.without(vm_uuid, self.state.vms[vm_uuid].pci or "", *addresses)
