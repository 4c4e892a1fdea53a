"""The pool at one moment, as `list_assignments` looks at it, and what a conflict is. Values only.

A conflict's code says what is to be done; its message and hint are its own:

| code | what is to be done | codes before 0.1.0 |
|---|---|---|
| `LEASE_STALE` | `reinstate_vfs`, or the VM's next start | `VF_TWICE` of leases, `LEASE_WITHOUT_HOST`, \
`LEASE_WITHOUT_VF`, `LEASE_ELSEWHERE`, `LEASE_UNFIT` of a VF, `NEEDED_BY_DOM0` of a lease, `STALE_ENTRIES` |
| `REQUEST_STALE` | `unassign_vf` | `LEASE_UNFIT` of a network or VLAN, `LEDGER_WITHOUT_VM` |
| `COPY` | `adopt_vm` gives the VM VFs of its own; or take its entries out | `CLONE` |
| `ENTRY_NOT_LEASED` | `adopt_vm` or `assign_vf` gives the VM that VF; or take the entry out | `GIVES_WAY`, \
`NOT_ASSIGNED`, `VF_TWICE` of an entry |
| `ENTRY_INVALID` | edit the entry | `ENTRY_DROPPED`, `NO_SUCH_DEVICE`, `NEEDED_BY_DOM0` of an entry |
| `VF_NOT_RELEASED` | `release_vfs`, or `configure_vf` | `MAC_LEFT` |
| `VF_UNLIKE_REQUEST` | `sriov-restore` on the VF's host | the same |
| `HOST_WITHOUT_PLUGIN` | install the master's version of the package | the same, `HOST_OTHER_PLUGIN` |
| `HOST_SILENT` | see why the host does not answer | the same |
| `LEDGER_UNREADABLE` | repair the VM's key in the ledger, or remove it | the same |
"""

from typing import List, NamedTuple, Optional, Sequence

from .. import copies, pci_entries
from ..hosts import Topology
from ..inventories import Survey
from ..placement import Held
from ..state import PoolState, Vm

# Whoever may write VMs' other_config can bring about thousands of these.
ENTRY_CODES = ("ENTRY_NOT_LEASED", "ENTRY_INVALID")


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
