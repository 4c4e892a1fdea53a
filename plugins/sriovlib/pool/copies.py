"""Of which VM another one is a copy: a clone, a snapshot, a template, a restored or imported VM. Pure.

A VM with requests has its own UUID in `other_config:sriov-vm`. xapi copies that with all of other_config, so
where the mark is another UUID the VM is a copy of that one. The VM's owner can write it, so it is a mark and
no right: it counts only where the ledger confirms it, and no start is allowed by it (own_lease judges by the
ledger alone).
"""

from typing import Dict, Iterable, List, Optional, Set, Tuple

from ..safetext import shortened
from . import pci_entries
from .ledger import Choice, Entry
from .state import PoolState, Vm


def origin(state: PoolState, vm: Vm) -> Optional[str]:
    """The UUID of the VM that this one's entries are a copy of; its key in the ledger is there, with requests
    or without. None for a VM with requests of its own, and for one whose entries name no VF that is or was
    leased to the VM of its mark."""
    marked = vm.mark
    own, model = state.entries.get(vm.uuid), state.entries.get(marked or "")
    if model is None or marked == vm.uuid or (own and own.requests) or vm.uuid in state.unreadable:
        return None
    copied = set(vm.named).difference(own.ever_leased if own else ())
    return marked if copied.intersection(model.ever_leased) else None


def unknown_origin(state: PoolState, vm: Vm) -> Optional[str]:
    """The UUID in the mark of a VM with entries, where this pool knows no requests of that VM: it was
    restored, migrated or imported from another pool, or after its origin was gone, or came with a host that
    joined (its own mark, then). Its entries name devices of that pool or time, so none may be used."""
    is_known = vm.mark is None or vm.mark in state.keys or (vm.mark in state.vms and vm.mark != vm.uuid)
    return None if is_known or not vm.named else vm.mark


def from_elsewhere(origin: str, vm_uuid: str) -> str:
    """The rest of a sentence on such a VM."""
    if origin == vm_uuid:
        return (
            "which had requests that are not in this pool's ledger (it came from another pool, alone or with "
            "its host, or its key is gone): this pool does not know what the entry stands for"
        )
    return (
        f"which is a copy of VM {shortened(origin, 60)}: that is in another pool, or gone, so this pool does "
        "not know what the entry stands for"
    )


def without_elsewhere(vm_uuid: str) -> str:
    """What to do with such a copy."""
    return (
        f"`{pci_entries.removal(vm_uuid)}` lets it start without VFs; `assign_vf` gives it one of this pool "
        f"in their place. Where the entries mean VFs of this pool: `adopt_vm` with vm_uuid={vm_uuid} and "
        "origin_uuid=none."
    )


def rivals(state: PoolState, vm: Vm, marked: str) -> List[str]:
    """The VMs with other requests that were leased as many of the VFs that the entries name: from these only
    the mark tells the origin, and the VM's owner may have written that."""
    named = set(vm.named)
    shared = {uuid: len(named.intersection(entry.ever_leased)) for uuid, entry in state.entries.items()}
    return sorted(
        uuid
        for uuid, entry in state.entries.items()
        if uuid not in (vm.uuid, marked)
        and entry.requests
        and shared[uuid] >= shared[marked]
        and _asked(entry) != _asked(state.entries[marked])
    )


def _asked(entry: Entry) -> List[Tuple[Choice, Dict[str, str]]]:
    """What copies of it would ask for: all but the MACs, which are a VM's own."""
    return [
        (one.choice, {name: text for name, text in one.settings.items() if name != "mac"})
        for one in entry.requests
    ]


def origins(state: PoolState, vms: Iterable[Vm]) -> Set[str]:
    """The VMs that these are copies of: their keys are needed even when they are gone themselves."""
    return {uuid for uuid in (origin(state, vm) for vm in vms) if uuid is not None}


def without_the_copy(state: PoolState, vm: Vm, entry: Entry) -> Entry:
    """The entry of a VM that gets VFs of its own: it knows that what a copy brought with it, entries and an
    earlier build's platform:nomigrate, was not written for this VM."""
    if unknown_origin(state, vm) is not None:
        return entry._replace(past=tuple(sorted({*vm.named, *entry.past})))
    uuid = origin(state, vm)
    return entry if uuid is None else of_copy(entry, state.entries[uuid])


def of_copy(entry: Entry, model: Entry) -> Entry:
    """The entry of a copy of the VM with the entry `model`, as `without_the_copy` returns it."""
    return entry._replace(past=tuple(sorted({*model.ever_leased, *entry.past})), nomigrate=model.nomigrate)
