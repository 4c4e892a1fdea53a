"""Entries that no lease explains: those of copies, and those that somebody wrote. Pure."""

from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ...safetext import listed, shortened
from .. import copies, ledger, own_lease, pci_entries
from ..state import Vm
from ..transaction import Change
from .view import ENTRY_CODES, Conflict, Seen

NOT_LEASED, COPY = "ENTRY_NOT_LEASED", "COPY"


def named_twice(seen: Seen) -> Iterator[Conflict]:
    """Entries by hand of several VMs for what no VM is leased."""
    named: Dict[str, List[str]] = {}
    for vm in seen.vms():
        for address in seen.others(vm):
            named.setdefault(address, []).append(vm.uuid)
    leased = seen.leased() if named else {}
    for address, uuids in sorted(named.items()):
        if len(uuids) > 1 and address not in leased:
            said = f"{address} is in other_config:pci of {seen.vms_named(uuids)}, and leased to no VM."
            hint = f"The second of them that starts on a host is refused. {_one_of(seen, address, uuids)}"
            yield Conflict(NOT_LEASED, said, hint, uuids, None, address)


def giving_way(seen: Seen, known: Sequence[Conflict]) -> Iterator[Conflict]:
    """Entries by hand of VMs that do not run, which keep no VF from a request. Without those of which a
    conflict that is `known` says more."""
    vfs = {one.address for surveyed in seen.surveyed.hosts.values() for one in surveyed.candidates}
    said = {(uuid, one.address) for one in known if one.code in ENTRY_CODES for uuid in one.vm_uuids}
    without = {*seen.state.unreadable, *(one.vm_uuids[0] for one in known if one.code == COPY)}
    for vm in seen.vms():
        names = [] if vm.is_running or vm.uuid in without else seen.others(vm)
        names = [address for address in names if address in vfs and (vm.uuid, address) not in said]
        if not names:
            continue
        keep = f"`adopt_vm` with vm_uuid={vm.uuid} leases them to it"
        if seen.has_requests(vm.uuid):
            keep = f"`assign_vf` with vm_uuid={vm.uuid} and vf=ADDRESS leases it one of them"
        message = (
            f"other_config:pci of {seen.vm(vm.uuid)} names {listed(names, 256)} without a lease: "
            "while it does not run, other VMs may be given these VFs if no others are free."
        )
        hint = f"{keep}. Otherwise: {seen.without(vm.uuid, *names)}"
        yield Conflict(NOT_LEASED, message, hint, [vm.uuid])


class Refused(NamedTuple):
    """An entry by hand that a start refuses though no VM has the VF: see own_lease."""

    vm: Vm
    address: str
    leased_to: Optional[str]  # UUID of another VM that is or was leased a VF of that address
    host: Optional[str] = None  # else UUID of one on which it is in a network with VFs in VLANs
    is_sure: bool = True  # or may be


def refused(seen: Seen, vms: Sequence[Vm]) -> Iterator[Refused]:
    """Of these VMs, in their order."""
    if not any(map(seen.others, vms)):
        return
    entries, state = seen.state.entries, seen.state
    unread = any(uuid in state.vms for uuid in state.unreadable)
    lessees, wires = own_lease.lessees(entries), seen.topology.wires()
    tagged = [entry for entry in entries.values() if any(one.vlan for one in entry.requests)]
    on_hosts: Dict[str, List[Tuple[str, bool]]] = {}
    for host, one in seen.surveyed.hosts.items():
        blocked = {candidate.address for candidate in one.candidates if candidate.blocked is not None}
        closed = own_lease.in_vlans(tagged, host, one.candidates, wires, unread)
        for address in closed.keys() - blocked:
            on_hosts.setdefault(address, []).append((host, closed[address]))
    for vm in vms:
        others = seen.others(vm)
        if not others or vm.uuid in state.unreadable or seen.is_copy(vm):
            continue
        leased = own_lease.leased_to_others(lessees, vm.uuid, others)
        for address in others:
            if address in leased:
                yield Refused(vm, address, leased[address])
                continue
            for host, is_sure in on_hosts.get(address, ()):
                yield Refused(vm, address, None, host, is_sure)


def not_assigned(seen: Seen) -> Iterator[Conflict]:
    """What is `refused`, for each host on which another VM is leased the VF now."""
    found = list(refused(seen, seen.vms()))
    leased = seen.leased() if found else {}
    unread = seen.vms_named(sorted(uuid for uuid in seen.state.unreadable if uuid in seen.state.vms))
    for vm, address, leased_to, host, is_sure in found:
        name = seen.vm(vm.uuid)
        named = f"other_config:pci of {name} names {address}, which no pool-admin assigned to it"
        if host is None:
            for on, holder in leased.get(address, [(None, str(leased_to))]):
                said = f"{named}; {seen.vm(holder)} was leased a VF of that address."
                where = ""
                if on is not None:
                    on_host = f"on {seen.host(on)} it is leased to {seen.vm(holder)}"
                    said, where = (
                        f"{address} is in other_config:pci of {name}, and {on_host}.",
                        " on any host",
                    )
                hint = f"The VM does not start with it{where}. {_not_this(seen, vm.uuid, address, holder)}"
                yield Conflict(NOT_LEASED, said, hint, sorted([vm.uuid, holder]), on, address)
            continue
        where, first = "in a network where VMs have VFs in VLANs", ""
        why = f"it is {where}, and with it the guest could join all of them"
        if not is_sure:
            why = f"it may be {where}: the ledger's key of {unread} cannot be read"
            first = "Repair that key (LEDGER_UNREADABLE). "
        call = own_lease.remedy(vm.uuid, address, host, seen.has_requests(vm.uuid))
        hint = (
            f"The VM does not start with it there. {first}To assign it: {call}. Otherwise: "
            f"{seen.without(vm.uuid, address)}"
        )
        yield Conflict(NOT_LEASED, f"{named}. On {seen.host(host)} {why}.", hint, [vm.uuid], host, address)


def newly_refused(seen: Seen, change: Change) -> List[str]:
    """Warnings of the entries by hand of other VMs with which these no longer start after the change."""
    entries = {**seen.state.entries, change.vm.uuid: change.entry}
    after = seen._replace(state=seen.state._replace(entries=entries))
    with_others = [vm for vm in seen.with_others() if vm.uuid != change.vm.uuid]
    known = {(one.vm.uuid, one.address) for one in refused(seen, with_others)}
    found: Dict[str, Dict[str, None]] = {}
    for one in refused(after, with_others):
        if (one.vm.uuid, one.address) not in known:
            found.setdefault(one.vm.uuid, {})[one.address] = None
    return [
        f"{after.vm(uuid)} will no longer start with {listed([*addresses])}, which its entries name "
        "and no pool-admin assigned to it: `list_assignments` says where, why and what to do."
        for uuid, addresses in found.items()
    ]


def _one_of(seen: Seen, address: str, uuids: Sequence[str]) -> str:
    """What to do where several VMs name what no VM is leased."""
    is_vf = any(address in surveyed.inventory.vfs for surveyed in seen.surveyed.hosts.values())
    if not is_vf or all(map(seen.has_requests, uuids)):
        return "Take the entry out of all but one of them."
    said = (
        "Call `adopt_vm` for the VM whose VF it is; then for another, with origin_uuid of the first if it is "
        "a copy of that, or with host_uuid if it is for the VF of another host."
    )
    # adopt_vm is for VMs without requests
    return " ".join([said, *(seen.without(uuid, address) for uuid in uuids if seen.has_requests(uuid))])


def _not_this(seen: Seen, uuid: str, address: str, holder: str) -> str:
    """What to do where a VM names what another one is or was leased."""
    if seen.has_requests(uuid):
        return seen.without(uuid, address)
    return (
        f"If the VM is a copy of {seen.vm(holder)}, `adopt_vm` with origin_uuid={holder} gives it VFs "
        "of its own; if the entry is for another host's VF, call `adopt_vm` with that host_uuid. "
        f"Otherwise: {seen.without(uuid, address)}"
    )


def copied(seen: Seen) -> Iterator[Conflict]:
    """VMs that carry another VM's entries: see pool/copies."""
    for vm in seen.vms():
        elsewhere = seen.unknown_origin(vm)
        if elsewhere is not None:
            came = f"`{shortened(vm.pci or '')}` came with {seen.vm(vm.uuid)}"
            said = f"{came}, {copies.from_elsewhere(elsewhere, vm.uuid)}."
            hint = f"The VM does not start with them. {copies.without_elsewhere(vm.uuid)}"
            yield Conflict(COPY, said, hint, [vm.uuid])
        origin = copies.origin(seen.state, vm)
        if origin is None:
            continue
        name, entries = seen.vm(origin), f"`{shortened(vm.pci or '')}`"
        mark = f"`xe vm-param-remove uuid={vm.uuid} param-name=other-config param-key={ledger.MARK}`"
        out = f"`{pci_entries.removal(vm.uuid)}` and {mark}"
        if seen.has_requests(origin):
            said = f"{seen.vm(vm.uuid)} has a copy of the entries of {name}: {entries}."
            hint = (
                "The VM does not start with them. `adopt_vm` gives it VFs of its own; with "
                f"origin_uuid=none if they were written for it. If it needs no VFs: {out}."
            )
        else:
            said = (
                f"{seen.vm(vm.uuid)} has a copy of the entries that {name} had before all its VFs were "
                f"taken back: {entries}."
            )
            hint = (
                f"The VM starts with them, in no VLAN. Take them out ({out}), or call `assign_vf`, "
                "which replaces them by a VF of its own; if they were written for it, call "
                "`adopt_vm` with origin_uuid=none."
            )
        yield Conflict(COPY, said, hint, [vm.uuid, origin])
