"""Running VMs that are without their VFs, as a move of theirs did not come to its end. Pure."""

from typing import Iterator

from .. import ledger
from .view import Conflict, Seen

DEGRADED = "VF_DEGRADED"


def without_vfs(seen: Seen) -> Iterator[Conflict]:
    """A move that is in progress is none: xapi or a call of ours is at it."""
    for uuid, entry, lease in seen.leases():
        vm, move = seen.state.vms[uuid], entry.move
        if move is None or vm.operations:
            continue
        name, again = seen.vm(uuid), f"`attach_vfs` with vm_uuid={uuid}"
        if vm.is_running:
            where = seen.host(vm.resident_on or lease.host)
            said = f"{name} runs on {where} without its VFs, which were unplugged to move it."
            if move.state == ledger.ARRIVED:
                said = f"{name} came to {where}, and its VFs could not be plugged there."
            elif move.state == ledger.PREPARED:
                said = f"The move of {name}, which runs on {where}, was cut off while its VFs were unplugged."
            hint = f"{again} gives it VFs of that host; so does a shutdown and a start."
        elif vm.power_state == "Suspended":
            said, hint = f"{name} was suspended without its VFs.", f"Resume it; then {again} gives it VFs."
        else:
            said = f"{name} ended while its VFs were unplugged, and its entries are away."
            hint = f"Its next start gives it VFs, or {again} writes its entries now."
        yield Conflict(DEGRADED, said, hint, [uuid], vm.resident_on or lease.host)
