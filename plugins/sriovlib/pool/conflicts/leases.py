"""Leases and requests that do not hold any more, and entries that are not those of the VM's lease. Pure."""

from typing import Dict, Iterator, List, Mapping, Optional, Set, Tuple

from ...safetext import shortened
from ...vf import inventory
from .. import pci_entries, placement
from ..ledger import Lease, Request
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
    hint = (
        "A running VM keeps it, else the VM with the latest lease. The others get other VFs at their next "
        "start, or now by `reinstate_vfs`."
    )
    for (host, address), uuids in sorted(owners.items()):
        if len(uuids) > 1:
            names = seen.vms_named(sorted(uuids))
            said = f"{address} of {seen.host(host)} is leased to or used by {names}."
            yield Conflict(STALE, said, hint, sorted(uuids), host, address)


def stale(seen: Seen) -> Iterator[Conflict]:
    """VFs that their VM cannot have any more, or not where it runs, and requests that no VF can serve."""
    networks, vlans = seen.topology.network_names, seen.topology.vlans()
    for uuid, entry, lease in seen.leases():
        vm, name, host = seen.state.vms[uuid], seen.vm(uuid), seen.host(lease.host)
        if lease.host not in seen.topology.members:
            hint = "`reinstate_vfs` gives it VFs of another host; so does `assign_vf`, with one more VF."
            yield Conflict(STALE, f"{name} is leased VFs of {host}.", hint, [uuid], lease.host)
        elif entry.move is not None:
            continue  # see moving
        elif lease.vfs and vm.is_running and vm.resident_on not in (None, lease.host):
            said = f"{name} runs on {seen.host(str(vm.resident_on))}, and its lease is on {host}."
            hint = (
                "It keeps the VFs that it runs with. Its next start corrects the lease, or `reinstate_vfs` "
                f"with host_uuid={vm.resident_on} does once it is halted."
            )
            yield Conflict(STALE, said, hint, [uuid], lease.host)
        else:
            for request in entry.requests:
                wrong = _wrong(seen, uuid, request, lease, networks, vlans)
                if wrong is not None:
                    yield Conflict(*wrong, [uuid], lease.host, lease.vfs.get(request.number))


def _wrong(
    seen: Seen,
    uuid: str,
    request: Request,
    lease: Lease,
    networks: Mapping[str, str],
    vlans: Mapping[str, Set[Optional[int]]],
) -> Optional[Tuple[str, str, str]]:
    """Code, message and hint. A request for a network with a VLAN keeps that tag from assign_vf on, whatever
    becomes of the network; for one without, it may have any."""
    number, (kind, value, device), settings = request
    name = f"Request {number} of {seen.vm(uuid)}"
    changes = f"`assign_vf` with vm_uuid={uuid}, request={number}"
    take_back = f"`unassign_vf` with vm_uuid={uuid} and request={number} takes it back"
    if kind == "network" and value not in networks:
        said = f"{name} is for a VF of network {value}, which is gone."
        return REQUEST, said, f"{changes} and another network changes it, and its MAC stays; {take_back}."
    address, where = lease.vfs.get(number), seen.surveyed.hosts.get(lease.host)
    if address and where:
        leased = f"{seen.vm(uuid)} is leased {address} of {where.member.name} for request {number}"
        candidate = where.candidate(address)
        if candidate is None:
            hint = (
                "Create the VFs again (`set_vf_count`; on a reinstalled host `sriov-restore --from-pool`), "
                "or give the VM others: `reinstate_vfs`, with host_uuid for those of another host."
            )
            return STALE, f"{leased}, but the host no longer has that VF.", hint
        if not placement.fits(request.choice, candidate):
            wanted = {
                "network": f"of the network {networks.get(value)} ({value})",
                "pf": f"a VF of {value}, {device}",
                "vf": f"a VF {device}",
                "device": f"a VF {value}",
            }[kind]
            hint = f"`reinstate_vfs` gives it another VF, with host_uuid one of another host. Or {take_back}."
            return STALE, f"{leased}, which is not {wanted} any more.", hint
        if candidate.blocked is not None:
            hint = "The VM gets another VF at its next start, if there is one, or now by `reinstate_vfs`."
            if where.inventory.vfs[address].state == inventory.DOM0:
                hint = f"`set_vf_count` with the present number of VFs takes it from dom0's driver. {hint}"
            return STALE, f"{leased}, which no VM can have: {candidate.blocked}.", hint
    tags = vlans.get(value, set()) if kind == "network" else set()
    (tag,) = tags if len(tags) == 1 else (None,)
    has = settings.get("vlan")
    if tag is None or has == str(tag):
        return None
    now = f"its network {networks[value]} has VLAN {tag} now"
    said = f"{name} has {f'VLAN {has}' if has else 'no VLAN'}, and {now}."
    again = f"{changes}, network={value} and the settings that it is to keep"
    return REQUEST, said, f"{again} gives it that VLAN, and its MAC stays; {take_back}."


def other_entries(seen: Seen) -> Iterator[Conflict]:
    """VMs whose entries are not those of their lease (as after a revert), or are in another order."""
    for uuid, entry in sorted(seen.state.entries.items()):
        vm = seen.state.vms.get(uuid)
        if vm is None or entry.move is not None:
            continue
        vfs = entry.lease.vfs if entry.lease else {}
        named = vm.named
        missing = [
            str(request.number)
            for request in (() if entry.is_parked else entry.requests)
            if vfs.get(request.number) not in named
        ]
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
            said = f"other_config:pci of {seen.vm(uuid)} {' and '.join(wrong)} (`{shortened(vm.pci or '')}`)."
            hint = "It starts without VFs; `reinstate_vfs` writes its entries again."
            if named and vm.power_state == "Halted":
                hint = "Its next start writes them again, or `reinstate_vfs` does now."
            elif named:
                hint = (
                    "Shut it down and start it, which writes them again. A reboot plugs what they name now."
                )
            yield Conflict(STALE, said, hint, [uuid])
