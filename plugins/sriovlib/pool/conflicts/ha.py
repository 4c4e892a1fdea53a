"""VMs that HA is to start again when their host fails, and that have no VFs anywhere else. Pure.

xapi's plan knows nothing of VFs (xen-api: ocaml/xapi/agility.ml): it starts the VM on any host with memory
for it, where our hook refuses that, and the VM stays down.
"""

from typing import Iterator

from ...safetext import listed
from .. import places
from .view import Conflict, Seen


def nowhere_else(seen: Seen) -> Iterator[Conflict]:
    if not seen.state.ha_enabled:
        return
    for uuid, entry in sorted(seen.state.entries.items()):
        vm = seen.state.vms.get(uuid)
        if vm is None or not vm.ha_priority or not entry.requests or entry.is_parked:
            continue
        home = vm.resident_on or (entry.lease.host if entry.lease else None)
        unknown = []
        for member in seen.topology.live:
            able = member.uuid != home and places.could(seen, vm, entry.requests, member.uuid)
            if able:
                break
            if able is None:
                unknown.append(member.name)
        else:
            said = (
                f"HA is to start {seen.vm(uuid)} again when its host fails (ha_restart_priority is "
                f"{vm.ha_priority}), and no other live host is known to have VFs for it: it would stay down."
            )
            if unknown:
                said += f" What {listed(sorted(unknown), 5)} could give it is not known."
            yield Conflict(
                "HA_NOWHERE_ELSE",
                said,
                f"`list_assignments` with vm_uuid={uuid} and places=true says what each host lacks: make VFs "
                "there (`set_vf_count`), or take some back (`unassign_vf`). A request by pf or vf is served "
                "at its own address only: ask by network instead.",
                [uuid],
            )
