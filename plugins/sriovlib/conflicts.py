"""What does not fit together in the pool: between the ledger, the VMs, their entries and the hosts. Pure."""

from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from . import copies, holding, ledger, pcientries
from .placement import Held
from .poolstate import PoolState, Vm
from .survey import Survey
from .topology import Topology


class Conflict(NamedTuple):
    """`vm_uuids` are those concerned; `host_uuid` and `address` are null where it is about none."""

    code: str
    message: str
    hint: str
    vm_uuids: List[str]
    host_uuid: Optional[str] = None
    address: Optional[str] = None


class Seen(NamedTuple):
    """The pool at one moment, for reading only."""

    topology: Topology
    surveyed: Survey
    state: PoolState
    held: Held


def has_vfs(seen: Seen, vm: Vm) -> bool:
    entry = seen.state.entries.get(vm.uuid)
    return bool(vm.pci or (entry and entry.requests) or vm.uuid in seen.state.unreadable)


def find(seen: Seen) -> List[Conflict]:
    """All conflicts of the pool, in the order of the checks below."""
    found: List[Conflict] = []
    for check in (
        _hosts,
        _ledger,
        _twice,
        _by_hand,
        _copies,
        _leases,
        _unlike_the_ledger,
        _dropped,
        _devices,
    ):
        found += check(seen)
    return found


def _hosts(seen: Seen) -> Iterator[Conflict]:
    """Hosts without the plugin, with another version, or silent; xapi starts any VM there all the same."""
    could = [vm for vm in seen.state.vms.values() if vm.power_state == "Halted" and has_vfs(seen, vm)]
    names = _names(sorted(could, key=lambda vm: vm.name))
    by_name = {member.name: member.uuid for member in seen.topology.members.values()}
    for problem in seen.surveyed.problems:
        at = next((uuid for name, uuid in by_name.items() if f"The host {name} " in problem.message), None)
        message = problem.message
        if could and problem.code != "HOST_OTHER_PLUGIN":
            message += f" VMs with VFs that could be started there: {names}."
        yield Conflict(problem.code, message, problem.hint, [vm.uuid for vm in could], at)


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


def _twice(seen: Seen) -> Iterator[Conflict]:
    """One VF of one host in two leases; or in a lease and in another VM's domain."""
    owners: Dict[Tuple[str, str], List[str]] = {}
    for uuid, entry in seen.state.entries.items():
        if entry.lease is not None and uuid in seen.state.vms:
            for address in entry.lease.vfs.values():
                owners.setdefault((entry.lease.host, address), []).append(uuid)
    for where, holder in seen.surveyed.running().items():
        if holder not in owners.setdefault(where, []):
            owners[where].append(holder)
    for (host, address), uuids in sorted(owners.items()):
        if len(uuids) > 1:
            yield Conflict(
                "VF_TWICE",
                f"{address} of {_host_name(seen, host)} belongs to {_uuids(seen, uuids)}.",
                "The running one keeps it, else the one that was given it last; the others are given other "
                "VFs as they start (or now: `reinstate_vfs`).",
                sorted(uuids),
                host,
                address,
            )


def _by_hand(seen: Seen) -> Iterator[Conflict]:
    """Entries of VMs without requests, for what another VM has."""
    named: Dict[str, List[str]] = {}
    for vm in seen.state.vms.values():
        entry = seen.state.entries.get(vm.uuid)
        if entry is None or not entry.requests:
            for address in pcientries.plugging_order(vm.pci or ""):
                named.setdefault(address, []).append(vm.uuid)
    leases = holding.leased(seen.state.entries, seen.state.held_vms())
    leased: Dict[str, List[Tuple[str, str]]] = {}
    for (host, address), holder in sorted(leases.items()):
        leased.setdefault(address, []).append((host, holder))
    for address, uuids in sorted(named.items()):
        if len(uuids) > 1 and address not in leased:
            yield Conflict(
                "VF_TWICE",
                f"other_config:pci of {_uuids(seen, uuids)} name {address}.",
                "Whoever starts second on a host is refused; give them VFs of their own by `adopt_vm`.",
                sorted(uuids),
                None,
                address,
            )
        for uuid in sorted(uuids):
            if _origins(seen, seen.state.vms[uuid]):
                continue  # said of the copy as a whole
            for host, holder in leased.get(address, ()):
                yield Conflict(
                    "VF_TWICE",
                    f"other_config:pci of {seen.state.name(uuid)} names {address}, which on "
                    f"{_host_name(seen, host)} belongs to {seen.state.name(holder)}.",
                    "Its start there is refused. If it means another host's VF, call `adopt_vm` with that "
                    "host_uuid; else take the entry out.",
                    sorted([uuid, holder]),
                    host,
                    address,
                )


def _origins(seen: Seen, vm: Vm) -> List[str]:
    """The VMs that this one may be a copy of, where it has entries and no requests of its own."""
    entry = seen.state.entries.get(vm.uuid)
    if entry is not None and entry.requests:
        return []
    return copies.origins(seen.state, vm, pcientries.plugging_order(vm.pci or ""))


def _copies(seen: Seen) -> Iterator[Conflict]:
    for vm in sorted(seen.state.vms.values(), key=lambda vm: vm.uuid):
        origins = _origins(seen, vm)
        if origins:
            names = " or ".join(seen.state.name(uuid) for uuid in origins)
            yield Conflict(
                "CLONE",
                f"The entries of {vm.name} ({vm.uuid}) are a copy of those of {names}: `{vm.pci}`.",
                "It is not started with them. Give it VFs of its own by `adopt_vm`, or take its "
                "other_config:pci out.",
                [vm.uuid, *origins],
            )


def _unlike_the_ledger(seen: Seen) -> Iterator[Conflict]:
    """Requests without a VF; entries that are not those of the lease, as after a revert."""
    for uuid, entry in sorted(seen.state.entries.items()):
        vm = seen.state.vms.get(uuid)
        if vm is None or not entry.requests:
            continue
        vfs = entry.lease.vfs if entry.lease else {}
        named = pcientries.plugging_order(vm.pci or "")
        missing = [request.number for request in entry.requests if vfs.get(request.number) not in named]
        stale = [address for address in named if address in entry.past and address not in vfs.values()]
        if missing or stale:
            what = f"does not name the VFs of its requests {', '.join(map(str, missing))}" if missing else ""
            old = f"names VFs that it does not have any more: {', '.join(stale)}" if stale else ""
            yield Conflict(
                "STALE_ENTRIES",
                f"other_config:pci of {vm.name} ({uuid}) {' and '.join(filter(None, (what, old)))} "
                f"(`{vm.pci or ''}`).",
                "They are written anew at its next start, or now by `reinstate_vfs`.",
                [uuid],
            )


def _leases(seen: Seen) -> Iterator[Conflict]:
    """VFs that are lent and are not there: their host left the pool, was installed anew, has fewer now."""
    for uuid, entry in sorted(seen.state.entries.items()):
        if entry.lease is None or uuid not in seen.state.vms:
            continue
        name, host = seen.state.name(uuid), entry.lease.host
        if host not in seen.topology.members:
            yield Conflict(
                "LEASE_WITHOUT_HOST",
                f"The VFs of {name} are of the host {host}, which left the pool.",
                "Give it VFs of another host: `reinstate_vfs`, or `assign_vf` where it is to have one more.",
                [uuid],
                host,
            )
            continue
        surveyed = seen.surveyed.hosts.get(host)
        for address in sorted(entry.lease.vfs.values()) if surveyed else ():
            if surveyed and surveyed.vf(address) is None:
                yield Conflict(
                    "LEASE_WITHOUT_VF",
                    f"{name} has {address} of {surveyed.member.name}, which has no such VF now.",
                    "Make the VFs again (`set_vf_count`; for a host that was installed anew `sriov-restore "
                    "--from-pool` on it), or give the VM others: `reinstate_vfs`.",
                    [uuid],
                    host,
                    address,
                )


def _dropped(seen: Seen) -> Iterator[Conflict]:
    for vm in sorted(seen.state.vms.values(), key=lambda vm: vm.uuid):
        for one in pcientries.entries(vm.pci or ""):
            if one.address is None:
                yield Conflict(
                    "ENTRY_DROPPED",
                    f"xapi ignores the entry `{one.text}` in other_config:pci of {vm.name} ({vm.uuid}), so "
                    "the VM starts without that device.",
                    "Write it as N/DDDD:BB:DD.F, without blanks: 0/0000:07:10.0.",
                    [vm.uuid],
                )


def _devices(seen: Seen) -> Iterator[Conflict]:
    """Entries that are not ours, and what they name on the hosts."""
    if not seen.surveyed.hosts:
        return
    there: Dict[str, List[str]] = {}
    needed: Dict[str, List[Tuple[str, str]]] = {}  # address -> (host, what dom0 has on it)
    for uuid, surveyed in seen.surveyed.hosts.items():
        inventory = surveyed.inventory
        addresses = [one["address"] for kind in ("pfs", "vfs") for one in inventory[kind]]
        for address in [*addresses, *inventory.get("others", ())]:
            there.setdefault(address, []).append(uuid)
        for pf in inventory["pfs"]:
            if pf["management"]:
                needed.setdefault(pf["address"], []).append((uuid, "carries the management network"))
        for candidate in surveyed.candidates:
            if candidate.blocked is not None:
                needed.setdefault(candidate.address, []).append(
                    (uuid, f"is not to be had: {candidate.blocked}")
                )
    for vm in sorted(seen.state.vms.values(), key=lambda vm: vm.uuid):
        for address in pcientries.plugging_order(vm.pci or ""):
            if address not in there:
                yield Conflict(
                    "NO_SUCH_DEVICE",
                    f"other_config:pci of {vm.name} ({vm.uuid}) names {address}, which no host has that "
                    "answered.",
                    "Take the entry out, or write the address that is meant; list_vfs shows a host's VFs.",
                    [vm.uuid],
                    None,
                    address,
                )
            for host, why in needed.get(address, ()):
                yield Conflict(
                    "NEEDED_BY_DOM0",
                    f"other_config:pci of {vm.name} ({vm.uuid}) names {address}, which on "
                    f"{_host_name(seen, host)} {why}.",
                    "Take the entry out: its start there is refused.",
                    [vm.uuid],
                    host,
                    address,
                )


def _host_name(seen: Seen, uuid: str) -> str:
    member = seen.topology.members.get(uuid)
    return member.name if member else f"the host {uuid}, which left the pool"


def _names(vms: Sequence[Vm]) -> str:
    names = [vm.name for vm in vms[:5]]
    return ", ".join(names) + (f" and {len(vms) - 5} more" if len(vms) > 5 else "")


def _uuids(seen: Seen, uuids: Sequence[str]) -> str:
    return " and ".join(seen.state.name(uuid) for uuid in sorted(uuids))
