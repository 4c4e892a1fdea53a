"""Whether a VM's `pci` entries are a copy of another VM's, which `VM.clone` and others make. Pure.

xapi notes nowhere what a clone was made of (tests/pool/transcripts/vm-life.json), so it is told by what it
carries: addresses that another VM is or was lent, and `platform:nomigrate`, which a VM has before it has an
entry of ours. An entry by hand for the same address of another host mostly comes without that, and one of
the old plugin iovirt with keys that a copy would have from its origin.
"""

from typing import Iterable, List, Optional, Sequence, Set, Tuple

from . import iovirt, pci_entries
from .ledger import Choice, Entry
from .state import PoolState, Vm


def lent(entry: Entry) -> List[str]:
    """The addresses that the VM is lent, or was."""
    return sorted({*entry.past, *(entry.lease.vfs.values() if entry.lease else ())})


def origins(state: PoolState, vm: Vm, named: Sequence[str]) -> List[str]:
    """The VMs whose VFs these entries may be a copy of, the one that was lent them last first. They have
    most of the addresses, and of those most at present."""
    if vm.nomigrate is None or not named:
        return []
    own = state.entries.get(vm.uuid)
    copied = set(named).difference(lent(own) if own else ())  # after a revert
    found: List[Tuple[int, int, int, str]] = []
    for uuid, entry in state.entries.items():
        now = entry.lease.vfs.values() if entry.lease else ()
        shared = len(copied.intersection(lent(entry)))
        if shared and uuid != vm.uuid and entry.requests and not has_keys_of_its_own(state, vm, uuid):
            serial = entry.lease.serial if entry.lease else 0
            found.append((shared, len(copied.intersection(now)), serial, uuid))
    found.sort(reverse=True)
    return [uuid for *rank, _, uuid in found if rank == list(found[0][:2])]


def former_origins(state: PoolState, vm: Vm, named: Sequence[str]) -> List[str]:
    """Of a VM that has no `origins`: VMs that gave all their VFs back, and that its entries may be a copy of
    from before. Entries by hand for an address that was lent once look the same, and take from nobody: they
    are told of, not refused."""
    own = state.entries.get(vm.uuid)
    if vm.nomigrate is None or (own and own.requests):
        return []
    copied = set(named).difference(lent(own) if own else ())
    return sorted(
        uuid
        for uuid, entry in state.entries.items()
        if uuid != vm.uuid
        and not entry.requests
        and copied.intersection(entry.past)
        and not has_keys_of_its_own(state, vm, uuid)
    )


def all_origins(state: PoolState, vms: Iterable[Vm]) -> Set[str]:
    """The VMs that entries of these are a copy of, or look like one: whose keys in the ledger tell a copy
    from entries by hand, also when they are gone themselves."""
    found: Set[str] = set()
    for vm in vms:
        own = state.entries.get(vm.uuid)
        if not (own and own.requests):
            named = pci_entries.plugging_order(vm.pci or "")
            found.update(origins(state, vm, named) or former_origins(state, vm, named))
    return found


def has_keys_of_its_own(state: PoolState, vm: Vm, origin: str) -> bool:
    other = state.vms.get(origin)
    return iovirt.are_own(vm.other_config, other.other_config if other else {})


def origin_of(state: PoolState, vm: Vm, named: Sequence[str]) -> Optional[str]:
    """The likeliest of `origins`."""
    return next(iter(origins(state, vm, named)), None)


def without_the_copy(state: PoolState, vm: Vm, entry: Entry) -> Entry:
    """The entry of a VM that is to have VFs of its own: of a clone's copied entries, and of the copied
    platform:nomigrate, it knows that they are not by hand."""
    origin = None if entry.requests else origin_of(state, vm, pci_entries.plugging_order(vm.pci or ""))
    if origin is None:
        return entry
    model = state.entries[origin]
    return entry._replace(past=tuple(sorted({*lent(model), *entry.past})), nomigrate=model.nomigrate)


def ask_for_the_same(one: Entry, other: Entry) -> bool:
    """Whether copies of the two would get the same: all but the MACs, which are a VM's own."""
    return _asked(one) == _asked(other)


def _asked(entry: Entry) -> List[Tuple[Choice, List[Tuple[str, str]]]]:
    return [
        (
            request.choice,
            sorted((name, text) for name, text in request.settings.items() if name != "mac"),
        )
        for request in entry.requests
    ]
