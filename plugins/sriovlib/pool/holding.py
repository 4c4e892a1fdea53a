"""Which VM has which VF, by the ledger and by what stands in the VMs' `pci`. Pure."""

from typing import Collection, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from .ledger import Entry


class Vm(NamedTuple):
    uuid: str
    running_on: Optional[str]  # UUID of the host; None: it does not run
    pci: List[str]  # the addresses that its other_config:pci names


def explained(entry: Entry, named: Collection[str], nomigrate: Optional[str], cut_off: bool) -> Entry:
    """The entry without what it does not explain of the addresses that its VM's `pci` names: those of a VM
    without requests that has lost the platform:nomigrate which was ours. A revert brings that back with the
    entries, so these somebody wrote. (While a call is `cut_off` that has taken it out, they are left of it.)
    """
    if entry.requests or not entry.nomigrate or nomigrate is not None or cut_off:
        return entry
    return entry._replace(past=tuple(address for address in entry.past if address not in named))


def leased(entries: Mapping[str, Entry], vms: Iterable[Vm]) -> Dict[Tuple[str, str], str]:
    """(host, address) -> VM that it is leased to. Of two leases on one VF a running VM's counts, else the
    one with the higher serial. A VM that is gone has none."""
    running = {vm.uuid: vm.running_on for vm in vms}
    leases = [
        (running[uuid] == entry.lease.host, entry.lease.serial, uuid, entry.lease)
        for uuid, entry in entries.items()
        if entry.lease is not None and uuid in running
    ]
    return {
        (lease.host, address): uuid for _, _, uuid, lease in sorted(leases) for address in lease.vfs.values()
    }


def by_hand(
    entries: Mapping[str, Entry], leases: Mapping[Tuple[str, str], str], vms: Iterable[Vm]
) -> Dict[str, List[Vm]]:
    """Address -> the VMs with an entry for it, where no lease of the pool has that address; one that runs
    comes last. What a VM was lent before, and a revert brought back, was not written by hand."""
    named = {address for _, address in leases}
    lent = {uuid: set(entry.past) for uuid, entry in entries.items()}
    found: Dict[str, List[Vm]] = {}
    for vm in sorted(vms, key=lambda vm: (vm.running_on is not None, vm.uuid)):
        for address in vm.pci:
            if address not in named and address not in lent.get(vm.uuid, ()):
                found.setdefault(address, []).append(vm)
    return found


def perhaps_lent(unreadable: Collection[str], vms: Iterable[Vm]) -> Dict[str, str]:
    """Address -> VM that names it and may be lent it, for its key in the ledger is `unreadable`."""
    return {address: vm.uuid for vm in vms if vm.uuid in unreadable for address in vm.pci}
