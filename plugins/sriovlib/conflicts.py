"""What does not fit together in the pool: between the ledger, the VMs, their entries and the hosts. Pure."""

from typing import Iterator, List, Sequence

from . import deviceconflicts, entryconflicts, leaseconflicts, ledger
from .poolstate import Vm
from .seen import Conflict, Seen


def find(seen: Seen) -> List[Conflict]:
    """All conflicts of the pool, in the order of the checks below."""
    found: List[Conflict] = []
    for check in (
        _hosts,
        _ledger,
        leaseconflicts.twice,
        entryconflicts.by_hand,
        entryconflicts.clones,
        leaseconflicts.leases,
        entryconflicts.unlike_the_ledger,
        entryconflicts.dropped,
        deviceconflicts.devices,
    ):
        found += check(seen)
    return found


def _hosts(seen: Seen) -> Iterator[Conflict]:
    """Hosts without the plugin, with another version, or silent; xapi starts any VM there all the same."""
    could = [vm for vm in seen.state.vms.values() if vm.power_state == "Halted" and seen.has_vfs(vm)]
    names = _names(sorted(could, key=lambda vm: vm.name))
    for problem in seen.surveyed.problems:
        message = problem.message
        if could:
            message += f" VMs with VFs that could be started there: {names}."
        yield Conflict(problem.code, message, problem.hint, [vm.uuid for vm in could], problem.host_uuid)


def _ledger(seen: Seen) -> Iterator[Conflict]:
    for uuid, why in sorted(seen.state.unreadable.items()):
        yield Conflict(
            "LEDGER_UNREADABLE",
            f"pool.other_config:{ledger.PREFIX}{uuid} ({seen.state.name(uuid)}) cannot be read: {why}.",
            "Put it right, or take it out with `xe pool-param-remove` and assign anew.",
            [uuid],
        )
    for uuid in sorted(set(seen.state.entries).difference(seen.state.vms)):
        yield Conflict(
            "LEDGER_WITHOUT_VM",
            f"The ledger has requests of {uuid}, and the pool has no such VM (or it became a template).",
            "The next change of any VM takes the key out, if the VM is gone.",
            [uuid],
        )


def _names(vms: Sequence[Vm]) -> str:
    names = [vm.name for vm in vms[:5]]
    return ", ".join(names) + (f" and {len(vms) - 5} more" if len(vms) > 5 else "")
