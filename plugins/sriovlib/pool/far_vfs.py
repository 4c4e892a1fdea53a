"""What `list_assignments` says of VMs whose VFs are on another NUMA node than they are."""

from typing import FrozenSet, Iterable, List, Mapping, Optional

from ..safetext import listed, shortened
from ..xapi.session import Xapi
from . import numa
from .conflicts.view import Seen
from .inventories import Surveyed
from .state import Vm

Memory = Mapping[str, FrozenSet[int]]  # reference of a VM's metrics -> the nodes that its memory is on


def _leased_of(seen: Seen, vm: Vm) -> Optional[Surveyed]:
    """The host of the VM's lease, if it answered."""
    entry = seen.state.entries.get(vm.uuid)
    return seen.surveyed.hosts.get(entry.lease.host) if entry and entry.lease else None


def _by_cpus(vm: Vm, there: Surveyed) -> FrozenSet[int]:
    return numa.nodes(vm.pinned, there.member.mask, there.inventory.cpu_nodes)


def _by_memory(vm: Vm, there: Surveyed) -> bool:
    """Whether xapi may know of its memory what nothing says of its CPUs, on a host with several nodes."""
    return (
        vm.is_running
        and vm.resident_on == there.member.uuid
        and numa.tells_memory(there.member.xapi_build)
        and len({*there.inventory.cpu_nodes.values()}) > 1
        and not _by_cpus(vm, there)
    )


def memory(xapi: Xapi, seen: Seen, vms: Iterable[Vm]) -> Memory:
    """One call, where xapi may tell what is not known of these VMs by their masks; else none."""
    hosts = [(vm, _leased_of(seen, vm)) for vm in vms]
    if not any(there is not None and _by_memory(vm, there) for vm, there in hosts):
        return {}
    records = xapi.call("VM_metrics.get_all_records")
    return {ref: numa.of_memory(record) for ref, record in records.items()}


def warnings(seen: Seen, vm: Vm, of_memory: Memory) -> List[str]:
    """In sentences: each VF of the VM that is known to be far from it, and a mask that xapi does not take."""
    found = []
    mask = vm.pinned.mask
    if mask is not None and not numa.cpus(mask):
        found.append(
            f"VCPUs-params:mask `{shortened(mask, 40)}` does not pin the VM: xapi reads numbers of CPUs with "
            "commas between them, no ranges and no blanks (`0,1,2,3`)."
        )
    entry, there = seen.state.entries.get(vm.uuid), _leased_of(seen, vm)
    if entry is None or entry.lease is None or there is None:
        return found
    what, nodes = "CPUs are", _by_cpus(vm, there)
    if not nodes and _by_memory(vm, there):
        what, nodes = "memory is", of_memory.get(vm.metrics, numa.UNKNOWN)
    if not nodes:
        return found
    numbers = listed([str(node) for node in sorted(nodes)])
    for request, address in sorted(entry.lease.vfs.items()):
        vf = there.inventory.vfs.get(address)
        if vf is not None and numa.distance(vf.function.numa_node, nodes) == numa.FAR:
            node = vf.function.numa_node
            found.append(
                f"{address} (request {request}) is on NUMA node {node} of {there.member.name}, and the VM's "
                f"{what} on node {numbers}, which makes the VF slower. `list_vfs` shows the VFs of node "
                f"{numbers}: with the VM halted, `assign_vf` with request={request}, vf=... and its settings "
                f"gives it one of them; or pin the VM to CPUs of node {node} (`xl info -n`)."
            )
    return found
