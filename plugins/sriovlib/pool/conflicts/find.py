"""All conflicts of the pool: between the ledger, the VMs, their entries and the hosts. Pure."""

from typing import Dict, Iterator, List, Sequence, Tuple

from ...safetext import listed, shortened
from .. import state
from . import by_hand, field, ha, invalid, leases, moving, settings
from .view import ENTRY_CODES, Conflict, Seen

MOST = 20


def find(seen: Seen) -> List[Conflict]:
    """In the order of the checks below."""
    found: List[Conflict] = []
    for check in (
        hosts,
        _ledger,
        leases.twice,
        by_hand.named_twice,
        by_hand.copied,
        by_hand.not_assigned,
        leases.stale,
        leases.other_entries,
        moving.not_ended,
        settings.not_released,
        settings.unlike_requests,
        invalid.devices,
        ha.nowhere_else,
        field.not_understood,
    ):
        found += check(seen)
    found += by_hand.giving_way(seen, found)
    return [*found, *invalid.ignored(seen)]


def readable(found: Sequence[Conflict], seen: Seen) -> List[Conflict]:
    """Of `ENTRY_CODES` `MOST` for each code and VM, and one conflict a code that counts those left out."""
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
        names = listed([seen.vm(uuid) for uuid in uuids], 5)
        are, vms = "is" if len(more) == 1 else "are", "a VM" if len(uuids) == 1 else "VMs"
        message = f"There {are} {len(more)} more of these, of {vms} with {MOST} above: {names}."
        kept.append(Conflict(code, message, "Resolve those above; the next call lists more.", uuids))
    return kept


def hosts(seen: Seen) -> Iterator[Conflict]:
    """Hosts without the plugin, with another version, or silent; xapi starts any VM there all the same."""
    could = [vm for vm in seen.state.vms.values() if vm.power_state == "Halted" and seen.has_vfs(vm)]
    names = listed([shortened(name, 60) for name in sorted(vm.name for vm in could)], 5)
    for host_uuid, problem in seen.surveyed.problems.items():
        message = problem.message
        if could:
            message += f" VMs with VFs that could be started there: {names}."
        yield Conflict(problem.code, message, problem.hint, [vm.uuid for vm in could], host_uuid)


def _ledger(seen: Seen) -> Iterator[Conflict]:
    """Keys that cannot be read, and those of VMs that are gone."""
    for uuid, why in sorted(seen.state.unreadable.items()):
        keys = seen.state.keys[uuid]
        yield Conflict(
            "LEDGER_UNREADABLE",
            f"pool.other_config:{keys[-1].name} ({seen.state.name(uuid)}) cannot be read: {why}.",
            state.put_right(uuid, keys),
            [uuid],
        )
    for uuid, entry in sorted(seen.state.entries.items()):
        if uuid not in seen.state.vms and entry.requests:
            yield Conflict(
                "REQUEST_STALE",
                f"The ledger has requests of VM {uuid}, which is gone or became a template.",
                "If the VM is gone, the next change of any VM removes its key, unless entries of a clone, a "
                "template or a snapshot are copies of its own: they are known by the key (COPY names the "
                f"clones). If it is a template, `unassign_vf` with vm_uuid={uuid} and all=true takes its VFs "
                "back. Before that, give its clones VFs of their own (`adopt_vm`), or they start with its "
                "entries, in no VLAN.",
                [uuid],
            )
