"""What does not fit together in the pool: between the ledger, the VMs, their entries and the hosts. Pure."""

from typing import Dict, Iterator, List, Sequence, Tuple

from ...safetext import listed
from .. import ledger, state
from ..state import PoolState
from . import devices, entries, leases
from .view import ENTRY_CODES, Conflict, Seen

MOST = 20


def find(seen: Seen) -> List[Conflict]:
    """All conflicts of the pool, in the order of the checks below."""
    found: List[Conflict] = []
    for check in (
        _hosts,
        _ledger,
        leases.twice,
        entries.by_hand,
        entries.clones,
        entries.not_assigned,
        leases.leases,
        leases.left_macs,
        leases.unlike_requests,
        entries.unlike_the_ledger,
        devices.devices,
    ):
        found += check(seen)
    found += entries.giving_way(seen, found)
    return [*found, *entries.dropped(seen)]


def readable(found: Sequence[Conflict], state: PoolState) -> List[Conflict]:
    """Of what entries can bring about, for whoever writes a VM's other_config can bring about thousands:
    `MOST` of a kind for each VM. What is about VMs that have as many already is one conflict a kind."""
    kept: List[Conflict] = []
    counts: Dict[Tuple[str, str], int] = {}
    left: Dict[str, List[Conflict]] = {}
    for conflict in found:
        of_each = [(conflict.code, uuid) for uuid in conflict.vm_uuids]
        if conflict.code in ENTRY_CODES and all(counts.get(one, 0) >= MOST for one in of_each):
            left.setdefault(conflict.code, []).append(conflict)
            continue
        kept.append(conflict)
        for one in of_each:
            counts[one] = counts.get(one, 0) + 1
    for code, more in left.items():
        uuids = sorted({uuid for conflict in more for uuid in conflict.vm_uuids})
        names = listed([state.name(uuid) for uuid in uuids], 5)
        message = f"There are {len(more)} more of these, of VMs that have {MOST} already: {names}."
        kept.append(Conflict(code, message, "Mend those that are listed, and others are.", uuids))
    return kept


def _hosts(seen: Seen) -> Iterator[Conflict]:
    """Hosts without the plugin, with another version, or silent; xapi starts any VM there all the same."""
    could = [vm for vm in seen.state.vms.values() if vm.power_state == "Halted" and seen.has_vfs(vm)]
    names = listed(sorted(vm.name for vm in could), 5)
    for problem in seen.surveyed.problems:
        message = problem.message
        if could:
            message += f" VMs with VFs that could be started there: {names}."
        yield Conflict(problem.code, message, problem.hint, [vm.uuid for vm in could], problem.host_uuid)


def _ledger(seen: Seen) -> Iterator[Conflict]:
    for uuid, why in sorted(seen.state.unreadable.items()):
        key = ledger.key(seen.state.other_config, uuid)
        yield Conflict(
            "LEDGER_UNREADABLE",
            f"pool.other_config:{key} ({seen.state.name(uuid)}) cannot be read: {why}.",
            state.put_right(uuid, seen.state.other_config),
            [uuid],
        )
    for uuid, entry in sorted(seen.state.entries.items()):
        if uuid in seen.state.vms or not entry.requests:
            continue
        yield Conflict(
            "REQUEST_STALE",
            f"The ledger has requests of {uuid}, and the pool has no such VM (or it became a template).",
            "If the VM is gone, the next change of any VM takes the key out; but not while entries of a "
            "clone, a template or a snapshot are copies of its, for the key is what they are known by (COPY "
            f"names the clones). If it is a template, `unassign_vf` with vm_uuid={uuid} and all=true takes "
            "back what it was lent: first give its clones VFs of their own (`adopt_vm`), or they start with "
            "its entries, in no VLAN.",
            [uuid],
        )
