"""Conflicts of what stands in the VMs' other_config:pci: with leases, with each other, and with
the ledger. Pure."""

from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ...errors import SriovError
from ...safetext import listed, shortened
from .. import copies, holding, own_lease, pci_entries
from ..state import Vm
from ..transaction import Change
from .view import ENTRY_CODES, Conflict, Seen


def by_hand(seen: Seen) -> Iterator[Conflict]:
    """Entries that somebody wrote, for what another VM has, or names too."""
    named: Dict[str, List[str]] = {}
    for vm in seen.state.vms.values():
        for address in seen.others(vm):
            named.setdefault(address, []).append(vm.uuid)
    leases = holding.leased(seen.state.entries, seen.state.held_vms())
    leased: Dict[str, List[Tuple[str, str]]] = {}
    for (host, address), holder in sorted(leases.items()):
        leased.setdefault(address, []).append((host, holder))
    suspects = {uuid for address in leased for uuid in named.get(address, ())}
    said = {uuid for uuid in suspects if _origins(seen, seen.state.vms[uuid])}  # of the copy as a whole
    for address, uuids in sorted(named.items()):
        if len(uuids) > 1 and address not in leased:
            yield Conflict(
                "ENTRY_NOT_LEASED",
                f"other_config:pci of {seen.names(uuids)} name {address}.",
                f"Whoever starts second on a host is refused. {_one_of(seen, address, uuids)}",
                sorted(uuids),
                None,
                address,
            )
        for uuid in sorted(uuids) if address in leased else ():
            if uuid in said:
                continue
            for host, holder in leased[address]:
                yield Conflict(
                    "ENTRY_NOT_LEASED",
                    f"other_config:pci of {seen.state.name(uuid)} names {address}, which on "
                    f"{seen.host_name(host)} belongs to {seen.state.name(holder)}.",
                    f"It is not started with it, on whatever host. {_not_this(seen, uuid, address, holder)}",
                    sorted([uuid, holder]),
                    host,
                    address,
                )


def giving_way(seen: Seen, known: Sequence[Conflict]) -> Iterator[Conflict]:
    """Entries by hand of VMs that do not run: they keep no VF from who asks for one. Without those of which
    a conflict that is `known` says more."""
    vfs = {one.address for surveyed in seen.surveyed.hosts.values() for one in surveyed.candidates}
    said = {
        (uuid, conflict.address)
        for conflict in known
        for uuid in conflict.vm_uuids
        if conflict.code in ENTRY_CODES
    }
    copied = {conflict.vm_uuids[0] for conflict in known if conflict.code == "COPY"}
    for vm in sorted(seen.state.vms.values(), key=lambda vm: vm.uuid):
        names = [] if vm.is_running or vm.uuid in {*copied, *seen.state.unreadable} else seen.others(vm)
        names = [address for address in names if address in vfs and (vm.uuid, address) not in said]
        if not names:
            continue
        keep = f"`adopt_vm` with vm_uuid={vm.uuid} makes them its own"
        if _has_requests(seen, vm.uuid):
            keep = f"`assign_vf` with vm_uuid={vm.uuid} and vf=ADDRESS makes one its own"
        yield Conflict(
            "ENTRY_NOT_LEASED",
            f"other_config:pci of {seen.state.name(vm.uuid)} names {listed(names, 256)}, which it is not "
            "lent: while it does not run, other VMs are given these VFs where nothing else is free.",
            f"{keep}. Else: {seen.without(vm.uuid, *names)}",
            [vm.uuid],
        )


class Refused(NamedTuple):
    """An entry by hand that a start refuses though nobody has the VF: see ownlease."""

    vm: Vm
    address: str
    lent_to: Optional[str]  # UUID of another VM that is or was lent a VF of that address
    hosts: List[str]  # else UUIDs of those on which it is in a network with VFs in VLANs
    unsure: List[str]  # and of those on which it may be


def refused(seen: Seen) -> Iterator[Refused]:
    """In the order of the VMs' UUIDs."""
    entries, state = seen.state.entries, seen.state
    unread = any(uuid in state.vms for uuid in state.unreadable)
    those, wires = own_lease.lessees(entries), seen.topology.wires()
    on_hosts: Dict[str, List[str]] = {}
    perhaps_on: Dict[str, List[str]] = {}
    for host, one in seen.surveyed.hosts.items():
        where = own_lease.vlans(entries.values(), host, one.candidates, wires)
        perhaps = where._replace(elsewhere=where.elsewhere or unread)
        for candidate in one.candidates:
            if candidate.blocked is None and own_lease.is_among(candidate, where):
                on_hosts.setdefault(candidate.address, []).append(host)
            elif candidate.blocked is None and own_lease.is_among(candidate, perhaps):
                perhaps_on.setdefault(candidate.address, []).append(host)
    for vm in sorted(state.vms.values(), key=lambda vm: vm.uuid):
        others = [] if vm.uuid in state.unreadable or _origins(seen, vm) else seen.others(vm)
        lent = own_lease.lent_to_others(those, vm.uuid, others)
        for address in others:
            if address in lent:
                yield Refused(vm, address, lent[address], [], [])
            elif address in on_hosts or address in perhaps_on:
                yield Refused(vm, address, None, on_hosts.get(address, []), perhaps_on.get(address, []))


def not_assigned(seen: Seen) -> Iterator[Conflict]:
    """What is `refused`, but for VFs that another VM is lent now: `by_hand` tells of those."""
    leased = {address for _, address in holding.leased(seen.state.entries, seen.state.held_vms())}
    unread = seen.names([uuid for uuid in seen.state.unreadable if uuid in seen.state.vms])
    for vm, address, lent_to, hosts, unsure in refused(seen):
        named = (
            f"other_config:pci of {seen.state.name(vm.uuid)} names {address}, which no pool-admin gave to it"
        )
        if lent_to is not None and address not in leased:
            yield Conflict(
                "ENTRY_NOT_LEASED",
                f"{named}; {seen.state.name(lent_to)} was lent a VF of that address.",
                f"It is not started with it. {_not_this(seen, vm.uuid, address, lent_to)}",
                sorted([vm.uuid, lent_to]),
                None,
                address,
            )
        for host in hosts:
            yield Conflict(
                "ENTRY_NOT_LEASED",
                f"{named}. On {seen.host_name(host)} it is in a network in which VMs have VFs in VLANs, "
                "and with it the guest could open them all.",
                f"It is not started with it there. {_given(seen, vm.uuid, address, host)}",
                [vm.uuid],
                host,
                address,
            )
        for host in unsure:
            yield Conflict(
                "ENTRY_NOT_LEASED",
                f"{named}. It may be in a network in which VMs have VFs in VLANs on {seen.host_name(host)}: "
                f"the ledger's key of {unread} cannot be read.",
                "It is not started with it there. Put that key right (LEDGER_UNREADABLE). "
                f"{_given(seen, vm.uuid, address, host)}",
                [vm.uuid],
                host,
                address,
            )


def newly_refused(seen: Seen, change: Change) -> List[str]:
    """What a change of the ledger brings upon the entries by hand of other VMs, as warnings."""
    entries = dict(seen.state.entries)
    if change.entry is not None:
        entries[change.vm.uuid] = change.entry
    after = seen._replace(state=seen.state._replace(entries=entries))
    known = {(one.vm.uuid, one.address) for one in refused(seen)}
    found: Dict[str, List[str]] = {}
    for one in refused(after):
        if one.vm.uuid != change.vm.uuid and (one.vm.uuid, one.address) not in known:
            found.setdefault(one.vm.uuid, []).append(one.address)
    return [
        f"{after.state.name(uuid)} does not start any more with {listed(addresses)}, which its entries name "
        "and no pool-admin gave to it: `list_assignments` says where, why and what helps."
        for uuid, addresses in found.items()
    ]


def _given(seen: Seen, uuid: str, address: str, host: str) -> str:
    call = f"`adopt_vm` with vm_uuid={uuid} and host_uuid={host} (dry_run=true shows what it would have)"
    if _has_requests(seen, uuid):
        call = f"`assign_vf` with vm_uuid={uuid}, vf={address} and host_uuid={host}"
    return f"To give it: {call}. Else: {seen.without(uuid, address)}"


def _has_requests(seen: Seen, uuid: str) -> bool:
    entry = seen.state.entries.get(uuid)
    return entry is not None and bool(entry.requests)


def _one_of(seen: Seen, address: str, uuids: Sequence[str]) -> str:
    """What to do where several VMs name what nobody is lent."""
    of_hosts = any(address in surveyed.inventory.vfs for surveyed in seen.surveyed.hosts.values())
    if not of_hosts or all(_has_requests(seen, uuid) for uuid in uuids):
        return "Take the entry out of all but one of them."
    said = (
        "Call `adopt_vm` for the one whose VF it is; then for another with origin_uuid of the first, if it "
        "is a copy of that, or with host_uuid, if it means the VF of another host."
    )
    for uuid in sorted(uuids):
        if _has_requests(seen, uuid):  # adopt_vm is for those that have none
            said += f" {seen.without(uuid, address)}"
    return said


def _not_this(seen: Seen, uuid: str, address: str, holder: str) -> str:
    """What to do where a VM names what another one is lent."""
    if _has_requests(seen, uuid):
        return seen.without(uuid, address)
    return (
        f"If it is a copy of {seen.state.name(holder)}, `adopt_vm` with origin_uuid={holder} gives it VFs of "
        "its own; if it means another host's VF, call `adopt_vm` with that host_uuid. Else: "
        f"{seen.without(uuid, address)}"
    )


def _removal(vm: Vm) -> str:
    """What takes all out that a copy brought with it."""
    commands = [pci_entries.removal(vm.uuid)]
    if vm.nomigrate is not None:
        commands.append(f"xe vm-param-remove uuid={vm.uuid} param-name=platform param-key=nomigrate")
    return " and ".join(f"`{command}`" for command in commands)


def _origins(seen: Seen, vm: Vm) -> List[str]:
    """The VMs that this one may be a copy of, where it has entries and no requests of its own."""
    if _has_requests(seen, vm.uuid) or vm.uuid in seen.state.unreadable:
        return []
    return copies.origins(seen.state, vm, pci_entries.plugging_order(vm.pci or ""))


def clones(seen: Seen) -> Iterator[Conflict]:
    for vm in sorted(seen.state.vms.values(), key=lambda vm: vm.uuid):
        origins = _origins(seen, vm)
        if origins:
            names = " or ".join(seen.state.name(uuid) for uuid in origins)
            yield Conflict(
                "COPY",
                f"The entries of {vm.name} ({vm.uuid}) are a copy of those of {names}: "
                f"`{shortened(vm.pci or '')}`.",
                "It is not started with them. Give it VFs of its own by `adopt_vm`; with origin_uuid=none if "
                f"it is no copy. If it shall have none: {_removal(vm)}.",
                [vm.uuid, *origins],
            )
            continue
        if vm.uuid in seen.state.unreadable:
            continue
        former = copies.former_origins(seen.state, vm, pci_entries.plugging_order(vm.pci or ""))
        if former:
            names = " or ".join(seen.state.name(uuid) for uuid in former)
            yield Conflict(
                "COPY",
                f"The entries of {vm.name} ({vm.uuid}) look like a copy of those that {names} had before all "
                f"VFs were given back: `{shortened(vm.pci or '')}`.",
                "It starts with them, in no VLAN. Take them out "
                f"({_removal(vm)}), and use `assign_vf` if it shall have VFs; or, if it is "
                "no copy, call `adopt_vm` with origin_uuid=none.",
                [vm.uuid, *former],
            )


def unlike_the_ledger(seen: Seen) -> Iterator[Conflict]:
    """Requests without a VF, without nomigrate, or whose VFs are plugged in another order; entries of earlier
    leases, as after a revert."""
    for uuid, entry in sorted(seen.state.entries.items()):
        vm = seen.state.vms.get(uuid)
        if vm is None:
            continue
        vfs = entry.lease.vfs if entry.lease else {}
        named = pci_entries.plugging_order(vm.pci or "")
        missing = [request.number for request in entry.requests if vfs.get(request.number) not in named]
        stale = [address for address in named if address in entry.past and address not in vfs.values()]
        own = [vfs[request.number] for request in entry.requests if request.number in vfs]
        exchanged = pci_entries.in_another_order(named, own)
        if (missing or stale or exchanged) and not _origins(seen, vm):
            what = f"does not name the VFs of its requests {', '.join(map(str, missing))}" if missing else ""
            order = (
                f"plugs its VFs in another order than that of its requests: {', '.join(exchanged)}"
                if exchanged
                else ""
            )
            old = f"names VFs that it does not have any more: {', '.join(stale)}" if stale else ""
            yield Conflict(
                "LEASE_STALE",
                f"other_config:pci of {vm.name} ({uuid}) {' and '.join(filter(None, (what, old, order)))} "
                f"(`{shortened(vm.pci or '')}`).",
                _written_anew(vm)
                if named
                else "It starts without VFs; `reinstate_vfs` writes its entries anew.",
                [uuid],
            )
        elif entry.requests and vm.nomigrate is None:
            yield Conflict(
                "LEASE_STALE",
                f"platform:nomigrate of {vm.name} ({uuid}) was taken out, so xapi would suspend and migrate "
                "it with its VFs.",
                "`reinstate_vfs` sets it, while the VM is halted.",
                [uuid],
            )


def _written_anew(vm: Vm) -> str:
    if vm.power_state == "Halted":
        return "They are written anew at its next start, or now by `reinstate_vfs`."
    return "Shut it down and start it: they are written anew then. A reboot plugs what they say."


def dropped(seen: Seen) -> Iterator[Conflict]:
    for vm in sorted(seen.state.vms.values(), key=lambda vm: vm.uuid):
        try:
            pci_entries.must_be_readable(vm.uuid, vm.name, vm.other_config)
        except SriovError as error:
            yield Conflict(
                "ENTRY_INVALID", error.message, f"It is not started with them. {error.hint}", [vm.uuid]
            )
        for one in pci_entries.entries(vm.pci or ""):
            if one.address is None:
                yield Conflict(
                    "ENTRY_INVALID",
                    f"xapi ignores the entry `{shortened(one.text)}` in other_config:pci of {vm.name} "
                    f"({vm.uuid}), so the VM starts without that device.",
                    "Write it as N/DDDD:BB:DD.F, without blanks: 0/0000:07:10.0.",
                    [vm.uuid],
                )
            elif one.ignored:
                yield Conflict(
                    "ENTRY_INVALID",
                    f"xapi reads {one.address} of the entry `{shortened(one.text)}` in other_config:pci of "
                    f"{vm.name} ({vm.uuid}), and ignores `{shortened(one.ignored)}` behind it.",
                    "If that is to be a device too, write it as an entry of its own, with a comma between "
                    "and a number of its own: 0/0000:07:10.0,1/0000:07:10.2. Else take it out.",
                    [vm.uuid],
                    None,
                    one.address,
                )
