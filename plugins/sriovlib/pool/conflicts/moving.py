"""VMs whose move did not come to its end: without their VFs, or where xapi does not know them. Pure."""

from typing import Iterator, List, Optional

from ...safetext import listed
from .. import arrivals
from ..arrivals import Said
from ..inventories import Surveyed
from ..ledger import Entry, Lease
from ..state import Vm
from .view import Conflict, Seen

DEGRADED = "VF_DEGRADED"


def not_ended(seen: Seen) -> Iterator[Conflict]:
    """A move that xapi is at is none."""
    for uuid, entry, lease in seen.leases():
        vm = seen.state.vms[uuid]
        if entry.move is None or vm.operations:
            continue
        elsewhere = _elsewhere(seen, vm, entry)
        if elsewhere is not None:
            yield Conflict(DEGRADED, *elsewhere, [uuid], arrivals.may_be_on(entry))
        else:
            yield Conflict(DEGRADED, *_here(seen, vm, lease), [uuid], vm.resident_on or lease.host)


def may_run(seen: Seen, uuid: str, entry: Entry) -> bool:
    """Whether the VM that is moved runs, as far as is known: one that xapi says does not may be where it was
    going."""
    vm = seen.state.vms[uuid]
    return vm.is_running or _elsewhere(seen, vm, entry) is not None


def _elsewhere(seen: Seen, vm: Vm, entry: Entry) -> Optional[Said]:
    """It runs where it was going, and xapi does not know; or that host does not tell whether it does."""
    there = seen.topology.members.get(arrivals.may_be_on(entry) or "")
    if there is None or not there.live or (vm.is_running and vm.resident_on == there.uuid):
        return None
    name, domains = seen.state.name(vm.uuid), _domains(seen.surveyed.hosts.get(there.uuid))
    if domains is not None:
        was = seen.host(vm.resident_on) if vm.is_running and vm.resident_on else None
        return arrivals.unknown(name, there.name, was) if vm.uuid in domains else None
    if vm.is_running:
        return None
    said = arrivals.untold(name, there, "it did not answer, or its xenstore did not.")
    return said._replace(hint=f"Until then its start is refused, and so is `attach_vfs`. {said.hint}")


def _here(seen: Seen, vm: Vm, lease: Lease) -> Said:
    name, again = seen.vm(vm.uuid), f"`attach_vfs` with vm_uuid={vm.uuid}"
    if vm.is_running:
        where = seen.host(vm.resident_on or lease.host)
        has = _vfs(seen, vm)
        hint = f"{again} gives it VFs of that host; so does a shutdown and a start."
        domains = _domains(seen.surveyed_of(vm))
        if domains is not None and vm.uuid not in domains:
            return Said(
                f"{name} is not on {where}, where xapi says that it runs, and its move is not over.",
                "If that stays so it is no reboot, and the VM was lost while it was moved: "
                f"`xe-toolstack-restart` on {where} lets xapi see that. Then start the VM: it gets its VFs.",
            )
        if has is None:
            why = "that host did not tell whether it has its VFs"
            return Said(f"{name} runs on {where}, and its move is not over: {why}.", hint)
        if not has:
            return Said(
                f"{name} runs on {where} without its VFs: they were detached, or its move was cut off.", hint
            )
        if len(has) < len(lease.vfs):
            return Said(f"{name} runs on {where} with {listed(has)} only, and its move is not over.", hint)
        return Said(f"{name} runs on {where} with its VFs, and its move is not over.", f"{again} ends it.")
    if vm.power_state == "Suspended":
        moved = f"`migrate_vm` with vm_uuid={vm.uuid}, also to the host where it is, gives it VFs."
        return Said(f"{name} was suspended without its VFs.", f"Resume it; then {moved}")
    if vm.named:
        return Said(f"{name} ended before its VFs were unplugged to move it.", f"{again} ends its move.")
    return Said(
        f"{name} ended while its VFs were unplugged, and its entries are away.",
        f"Its next start gives it VFs, or {again} writes its entries now.",
    )


def _domains(surveyed: Optional[Surveyed]) -> Optional[List[str]]:
    """The UUIDs of the VMs that have one there; None where the host did not tell."""
    return None if surveyed is None else surveyed.inventory.domains


def _vfs(seen: Seen, vm: Vm) -> Optional[List[str]]:
    """The VFs of its host that its domain has; None where that host did not tell."""
    surveyed = seen.surveyed_of(vm)
    if surveyed is None or not surveyed.inventory.owners_known:
        return None
    running = seen.surveyed.running()
    return [address for (host, address), uuid in running.items() if (host, uuid) == (vm.resident_on, vm.uuid)]
