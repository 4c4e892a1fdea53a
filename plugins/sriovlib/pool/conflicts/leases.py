"""Leases and requests that do not hold any more, and entries that are not those of the VM's lease. Pure."""

from typing import Dict, Iterator, List, Mapping, Optional, Set, Tuple

from ...safetext import shortened
from ...vf import inventory
from .. import pci_entries, placement
from ..inventories import Surveyed
from ..ledger import Request
from ..state import Vm
from .view import Conflict, Seen

STALE, REQUEST = "LEASE_STALE", "REQUEST_STALE"


def twice(seen: Seen) -> Iterator[Conflict]:
    """One VF of one host in two leases; or in a lease and in another VM's domain."""
    owners: Dict[Tuple[str, str], Set[str]] = {}
    for uuid, _, lease in seen.leases():
        for address in lease.vfs.values():
            owners.setdefault((lease.host, address), set()).add(uuid)
    for where, holder in seen.surveyed.running().items():
        owners.setdefault(where, set()).add(holder)
    for (host, address), uuids in sorted(owners.items()):
        if len(uuids) > 1:
            yield Conflict(
                STALE,
                f"{address} of {seen.host(host)} is leased to or used by {seen.vms_named(sorted(uuids))}.",
                "A running VM keeps it, else the VM with the latest lease. The others get other VFs at their "
                "next start, or now by `reinstate_vfs`.",
                sorted(uuids),
                host,
                address,
            )


def stale(seen: Seen) -> Iterator[Conflict]:
    """VFs that their VM cannot have any more, or not where it runs, and requests that no VF can serve."""
    networks = seen.topology.network_names
    vlans = seen.topology.vlans()
    for uuid, entry, lease in seen.leases():
        vm, name, host = seen.state.vms[uuid], seen.vm(uuid), seen.host(lease.host)
        if lease.host not in seen.topology.members:
            yield Conflict(
                STALE,
                f"{name} is leased VFs of {host}.",
                "`reinstate_vfs` gives it VFs of another host; so does `assign_vf`, with one more VF.",
                [uuid],
                lease.host,
            )
        elif vm.is_running and vm.resident_on not in (None, lease.host):
            yield Conflict(
                STALE,
                f"{name} runs on {seen.host(str(vm.resident_on))}, and its lease is on {host}.",
                "It keeps the VFs that it runs with. Its next start corrects the lease, or `reinstate_vfs` "
                f"with host_uuid={vm.resident_on} does once it is halted.",
                [uuid],
                lease.host,
            )
        else:
            for request in entry.requests:
                address, where = lease.vfs.get(request.number), seen.surveyed.hosts.get(lease.host)
                take_back = f"`unassign_vf` with vm_uuid={uuid} and request={request.number} takes it back"
                wrong = _wrong_request(request, name, take_back, networks)
                if wrong is None and address and where:
                    wrong = _wrong_vf(request, address, name, where, take_back, networks)
                wrong = wrong or _wrong_vlan(request, name, take_back, networks, vlans)
                if wrong is not None:
                    yield Conflict(*wrong, [uuid], lease.host, address)


_Wrong = Optional[Tuple[str, str, str]]  # code, message and hint


def _wrong_request(request: Request, name: str, take_back: str, networks: Mapping[str, str]) -> _Wrong:
    if request.choice.kind != "network" or request.choice.value in networks:
        return None
    return (
        REQUEST,
        f"Request {request.number} of {name} is for a VF of network {request.choice.value}, which is gone.",
        f"{take_back}; then `assign_vf` gives the VM a VF of another network.",
    )


def _wrong_vf(
    request: Request, address: str, name: str, where: Surveyed, take_back: str, networks: Mapping[str, str]
) -> _Wrong:
    leased = f"{name} is leased {address} of {where.member.name} for request {request.number}"
    candidate = next((one for one in where.candidates if one.address == address), None)
    if candidate is None:
        return (
            STALE,
            f"{leased}, but the host no longer has that VF.",
            "Create the VFs again (`set_vf_count`; on a reinstalled host `sriov-restore --from-pool`), or "
            "give the VM others: `reinstate_vfs`, with host_uuid for those of another host.",
        )
    if not placement.fits(request.choice, candidate):
        kind, value, device = request.choice
        wanted = f"of the network {networks[value]} ({value})" if kind == "network" else ""
        wanted = wanted or {"pf": f"a VF of {value}, {device}", "vf": f"a VF {device}"}.get(
            kind, f"a VF {value}"
        )
        return (
            STALE,
            f"{leased}, which is not {wanted} any more.",
            f"`reinstate_vfs` gives it another VF, with host_uuid one of another host. Or {take_back}.",
        )
    if candidate.blocked is not None:
        is_dom0s = where.inventory.vfs[address].state == inventory.DOM0
        over = (
            "`set_vf_count` with the present number of VFs takes it from dom0's driver. " if is_dom0s else ""
        )
        return (
            STALE,
            f"{leased}, which no VM can have: {candidate.blocked}.",
            f"{over}The VM gets another VF at its next start, if there is one, or now by `reinstate_vfs`.",
        )
    return None


def _wrong_vlan(
    request: Request,
    name: str,
    take_back: str,
    networks: Mapping[str, str],
    vlans: Mapping[str, Set[Optional[int]]],
) -> _Wrong:
    """A request for a network with a VLAN keeps that tag from assign_vf on, whatever becomes of the network;
    for one without, it may have any."""
    tags = vlans.get(request.choice.value, set()) if request.choice.kind == "network" else set()
    (tag,) = tags if len(tags) == 1 else (None,)
    has = request.settings.get("vlan")
    if tag is None or has == str(tag):
        return None
    return (
        REQUEST,
        f"Request {request.number} of {name} has {f'VLAN {has}' if has else 'no VLAN'}, and its network "
        f"{networks[request.choice.value]} has VLAN {tag} now.",
        f"{take_back}; then `assign_vf` gives the VM a VF with that VLAN.",
    )


def other_entries(seen: Seen) -> Iterator[Conflict]:
    """VMs whose entries are not those of their lease (as after a revert), or are in another order."""
    for uuid, entry in sorted(seen.state.entries.items()):
        vm = seen.state.vms.get(uuid)
        if vm is None:
            continue
        vfs = entry.lease.vfs if entry.lease else {}
        named = pci_entries.plugging_order(vm.pci or "")
        missing = [str(request.number) for request in entry.requests if vfs.get(request.number) not in named]
        old = [address for address in named if address in entry.past and address not in vfs.values()]
        own = [vfs[request.number] for request in entry.requests if request.number in vfs]
        exchanged = pci_entries.in_another_order(named, own)
        wrong: List[str] = []
        if missing:
            wrong.append(f"does not name the VFs of its requests {', '.join(missing)}")
        if old:
            wrong.append(f"names VFs that it does not have any more: {', '.join(old)}")
        if exchanged:
            wrong.append(f"plugs its VFs in another order than that of its requests: {', '.join(exchanged)}")
        if wrong and not seen.is_copy(vm):
            yield Conflict(
                STALE,
                f"other_config:pci of {seen.vm(uuid)} {' and '.join(wrong)} (`{shortened(vm.pci or '')}`).",
                _remedy(vm) if named else "It starts without VFs; `reinstate_vfs` writes its entries again.",
                [uuid],
            )


def _remedy(vm: Vm) -> str:
    if vm.power_state == "Halted":
        return "Its next start writes them again, or `reinstate_vfs` does now."
    return "Shut it down and start it, which writes them again. A reboot plugs what they name now."
