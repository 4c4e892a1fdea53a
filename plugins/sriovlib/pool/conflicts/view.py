"""The pool at one moment, as `list_assignments` looks at it, and what a conflict is. Values only."""

from typing import List, NamedTuple, Optional, Sequence

from .. import copies, pci_entries
from ..hosts import Topology
from ..inventories import Survey
from ..placement import Held
from ..state import PoolState, Vm


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

    def has_vfs(self, vm: Vm) -> bool:
        entry = self.state.entries.get(vm.uuid)
        return bool(vm.pci or (entry and entry.requests) or vm.uuid in self.state.unreadable)

    def host_name(self, uuid: str) -> str:
        member = self.topology.members.get(uuid)
        return member.name if member else f"the host {uuid}, which left the pool"

    def names(self, uuids: Sequence[str]) -> str:
        """Of VMs."""
        return " and ".join(self.state.name(uuid) for uuid in sorted(uuids))

    def others(self, vm: Vm) -> List[str]:
        """The addresses that the VM names, and neither is nor was lent: those are not ours."""
        entry = self.state.entries.get(vm.uuid)
        lent = copies.lent(entry) if entry else ()
        return [address for address in pci_entries.plugging_order(vm.pci or "") if address not in lent]

    def without(self, vm_uuid: str, *addresses: str) -> str:
        """How to take addresses out of a VM's entries."""
        return pci_entries.without(vm_uuid, self.state.vms[vm_uuid].pci or "", *addresses)
