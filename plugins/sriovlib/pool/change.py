"""How a VM is to be after a call: its entry in the ledger, its other_config:pci, and what marks it. Decides
only; a Transaction writes it."""

from typing import Dict, List, Mapping, Optional, Sequence

from . import pci_entries
from .inventories import Survey
from .ledger import ARRIVED, PREPARED, Entry, Lease, Move, Request
from .locked import Work
from .transaction import Change


def change_of(
    at: Work,
    requests: Sequence[Request],
    host: str,
    vfs: Mapping[int, str],
    replaced: Optional[Mapping[str, int]] = None,
) -> Change:
    """The VM with these requests, and with these VFs of that host for them (request -> address).

    Entries of others stay in its `pci`. Where a call was cut off after it had removed that key, the ledger
    has what stood there. `replaced`: of a start that is re-placed; else a lease on another host has none.
    """
    vm, entry = at.vm, at.entry
    ours = set(entry.ever_leased)
    cut_off = at.state.was_cut_off(vm.uuid)
    before = entry.pci if vm.pci is None and cut_off else vm.pci or ""
    pci = pci_entries.derive(before, ours, [vfs[one.number] for one in requests if one.number in vfs])
    lease = lease_of(at, requests, host, vfs, replaced) if requests else None
    had = bool(entry.requests or cut_off or ours.intersection(pci_entries.plugging_order(before)))
    is_former = entry.nomigrate and had and vm.nomigrate == "true"
    after = Entry(
        requests=tuple(requests),
        lease=lease,
        next_number=max([entry.next_number, *(request.number + 1 for request in requests)]),
        nomigrate=False,
        pci=pci,
        past=tuple(sorted(ours.union(vfs.values()))),
    )
    mark = vm.uuid if requests else vm.mark if vm.mark != vm.uuid else None
    return Change(vm, after, pci, None if is_former else vm.nomigrate, mark)


def on_its_way(at: Work, move: Move, lease: Optional[Lease] = None) -> Change:
    """The running VM with this move: without entries of its own while it has no VFs. Where it may have some
    they stay, and its blocks: xenopsd would make the domain of its next reboot as one that takes no device,
    fail to plug what it has not forgotten, and halt it (xen-api: ocaml/xenopsd/lib/xenops_server.ml,
    import_metadata writes the VM's record before PCI_DB.remove' raises Device_is_connected)."""
    vm, entry = at.vm, at.entry
    pci = vm.pci or ""
    if move.state == PREPARED or (move.state == ARRIVED and _may_have_some(at)):
        vm = vm._replace(blocks={})  # they stay
    else:
        pci = pci_entries.derive(pci, entry.ever_leased, [])
    ours = tuple(entry.ever_leased)
    after = entry._replace(lease=lease or entry.lease, pci=pci, past=ours, move=move)
    return Change(vm, after, pci, vm.nomigrate, vm.uuid)


def _may_have_some(at: Work) -> bool:
    """Whether the running VM has VFs of its host, or it is not known."""
    there = at.surveyed.hosts.get(at.vm.resident_on or "")
    plugged = [uuid for (host, _), uuid in at.surveyed.running().items() if host == at.vm.resident_on]
    return there is None or not there.told.owners_known or at.vm.uuid in plugged


def lease_of(
    at: Work,
    requests: Sequence[Request],
    host: str,
    vfs: Mapping[int, str],
    replaced: Optional[Mapping[str, int]] = None,
) -> Lease:
    """The VM's lease of these; the one that it has, where that is the same but for what a request has got a
    VLAN for."""
    old, networks = at.entry.lease, _networks(at.surveyed, requests, host, vfs)
    if old is not None and (old.host, old.vfs) == (host, dict(vfs)) and replaced is None:
        return old._replace(networks={**networks, **old.networks})
    if replaced is None:
        replaced = old.replaced if old and old.host == host else {}
    return Lease(host, dict(vfs), at.state.next_serial, dict(replaced), networks)


def _networks(
    surveyed: Survey, requests: Sequence[Request], host: str, vfs: Mapping[int, str]
) -> Dict[int, List[str]]:
    """Of requests in VLANs that name no network: the networks of their ports, for starts on other hosts (see
    own_lease)."""
    where = surveyed.hosts.get(host)
    wanted = [one for one in requests if one.vlan and one.choice.kind != "network"]
    if where is None or not wanted:
        return {}
    known = {one.address: one.networks | one.no_network for one in where.candidates}
    return {
        one.number: sorted(known[vfs[one.number]] & where.untagged)
        for one in wanted
        if vfs.get(one.number) in known
    }
