"""Conflicts of leases: with each other, and with what their hosts have. Pure."""

from typing import Dict, Iterator, List, Mapping, Optional, Set, Tuple

from ...config import vf_settings
from ...config.vf_settings import DEFAULT, UNKNOWN, VfSettings
from ...vf import inventory, restore_running
from ...vf.host_inventory import PfState
from .. import placement
from ..inventories import Surveyed
from ..ledger import Request
from .view import Conflict, Seen


def twice(seen: Seen) -> Iterator[Conflict]:
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
                "LEASE_STALE",
                f"{address} of {seen.host_name(host)} belongs to {seen.names(uuids)}.",
                "The running one keeps it, else the one that was given it last; the others are given other "
                "VFs as they start (or now: `reinstate_vfs`).",
                sorted(uuids),
                host,
                address,
            )


def leases(seen: Seen) -> Iterator[Conflict]:
    """VFs that are lent and that the VM cannot have: their host left the pool, was installed anew, has fewer
    now; they are of other networks or VLANs now, or dom0's. Or the VM runs elsewhere."""
    networks = {record["uuid"]: record["name_label"] for record in seen.topology.network_records.values()}
    vlans = seen.topology.vlans()
    for uuid, entry in sorted(seen.state.entries.items()):
        vm = seen.state.vms.get(uuid)
        if vm is None or entry.lease is None:
            continue
        name, lease = seen.state.name(uuid), entry.lease
        if lease.host not in seen.topology.members:
            yield Conflict(
                "LEASE_STALE",
                f"The VFs of {name} are of the host {lease.host}, which left the pool.",
                "Give it VFs of another host: `reinstate_vfs`, or `assign_vf` where it is to have one more.",
                [uuid],
                lease.host,
            )
            continue
        if vm.is_running and vm.resident_on not in (None, lease.host):
            yield Conflict(
                "LEASE_STALE",
                f"{name} runs on {seen.host_name(str(vm.resident_on))}, and the VFs that it is lent are of "
                f"{seen.host_name(lease.host)}.",
                "What it has there is its own as long as it runs. Its next start sees to it; or call "
                f"`reinstate_vfs` with host_uuid={vm.resident_on} once it is halted.",
                [uuid],
                lease.host,
            )
            continue
        for request in entry.requests:
            address = lease.vfs.get(request.number)
            wrong = _gone_network(uuid, name, request, networks)
            if wrong is None and address is not None and lease.host in seen.surveyed.hosts:
                wrong = _not_right(seen, uuid, request, address, seen.surveyed.hosts[lease.host], networks)
            wrong = wrong or _other_vlan(uuid, name, request, networks, vlans)
            if wrong is not None:
                yield wrong._replace(host_uuid=lease.host, address=address)


def left_macs(seen: Seen) -> Iterator[Conflict]:
    """A request's MAC on a VF that is not its own: the host of an earlier lease did not answer when it was to
    set that back. A card keeps what is sent to the MACs of its VFs, so the VM is not reached from there."""
    requests = {
        request.settings["mac"]: (uuid, entry.lease.vfs.get(request.number) if entry.lease else None)
        for uuid, entry in seen.state.entries.items()
        if uuid in seen.state.vms
        for request in entry.requests
        if "mac" in request.settings
    }
    running = seen.surveyed.running()
    for host, surveyed in sorted(seen.surveyed.hosts.items()):
        for vf in surveyed.inventory.vfs.values():
            uuid, lent = requests.get(vf.settings.mac or "", (None, None))
            address, name = vf.address, surveyed.member.name
            if uuid is None or uuid == running.get((host, address)):
                continue
            lease = seen.state.entries[uuid].lease
            if lease is not None and (lease.host, lent) == (host, address):
                continue
            yield Conflict(
                "VF_NOT_RELEASED",
                f"{address} of {name} has the MAC {vf.settings.mac} of {seen.state.name(uuid)} and is not "
                f"its VF: from {name} the VM is not reached.",
                f"Call `release_vfs` with vm_uuid={uuid} and vfs={address} on {name}; if the MAC is in that "
                f"host's /etc/sriov.conf, `configure_vf` with vf={address} and mac=default.",
                [uuid],
                host,
                address,
            )


def unlike_requests(seen: Seen) -> Iterator[Conflict]:
    """VFs of running VMs that have other settings than their requests want."""
    running = seen.surveyed.running()
    for uuid, entry in sorted(seen.state.entries.items()):
        lease = entry.lease
        surveyed = seen.surveyed.hosts.get(lease.host) if lease else None
        for request in entry.requests if lease and surveyed and uuid in seen.state.vms else ():
            vf = surveyed.inventory.vfs.get(lease.vfs.get(request.number, "")) if surveyed and lease else None
            if vf is None or surveyed is None or running.get((surveyed.member.uuid, vf.address)) != uuid:
                continue
            wrong = _unlike(request.settings, vf.settings, surveyed.inventory.pf_of(vf))
            if wrong:
                yield Conflict(
                    "VF_UNLIKE_REQUEST",
                    f"{vf.address} of {surveyed.member.name}, which {seen.state.name(uuid)} runs with, "
                    f"has {wrong}: was the driver of its PF loaded anew, or the VM "
                    "started without the hook vm-pre-start of this package?",
                    restore_running.HINT,
                    [uuid],
                    surveyed.member.uuid,
                    vf.address,
                )


def _unlike(wanted: Mapping[str, str], now: VfSettings, pf: PfState) -> str:
    """What a VF has that was to have something else; "" where all is well, or the driver never tells."""
    untold = any(problem.code == "SETTINGS_UNKNOWN" for problem in pf.problems)
    if untold and now == UNKNOWN and any(text != DEFAULT for text in wanted.values()):
        return "settings that `ip` does not tell"
    wrong = vf_settings.differing(wanted, now)
    return restore_running.listed(wrong, now) if wrong else ""


def _gone_network(uuid: str, name: str, request: Request, networks: Mapping[str, str]) -> Optional[Conflict]:
    if request.choice.kind != "network" or request.choice.value in networks:
        return None
    return Conflict(
        "REQUEST_STALE",
        f"Request {request.number} of {name} is for a VF of the network {request.choice.value}, which the "
        "pool does not have any more.",
        f"{_take_back(uuid, request)} Then `assign_vf` gives it a VF of another.",
        [uuid],
    )


def _other_vlan(
    uuid: str,
    name: str,
    request: Request,
    networks: Mapping[str, str],
    vlans: Mapping[str, Set[Optional[int]]],
) -> Optional[Conflict]:
    """Of a network with a VLAN the request has that tag from assign_vf on, whatever becomes of the network.
    On one without a request may have any."""
    tags = vlans.get(request.choice.value, set()) if request.choice.kind == "network" else set()
    (tag,) = tags if len(tags) == 1 else (None,)
    has = request.settings.get("vlan")
    if tag is None or has == str(tag):
        return None
    return Conflict(
        "REQUEST_STALE",
        f"Request {request.number} of {name} has {f'VLAN {has}' if has else 'no VLAN'}, and its network "
        f"{networks[request.choice.value]} has VLAN {tag} now.",
        f"{_take_back(uuid, request)} Then `assign_vf` gives it a VF with that VLAN.",
        [uuid],
    )


def _not_right(
    seen: Seen, uuid: str, request: Request, address: str, where: Surveyed, networks: Mapping[str, str]
) -> Optional[Conflict]:
    name, host = seen.state.name(uuid), where.member.name
    has = f"{name} has {address} of {host} for its request {request.number}"
    candidate = next((one for one in where.candidates if one.address == address), None)
    if candidate is None:
        return Conflict(
            "LEASE_STALE",
            f"{name} has {address} of {host}, which has no such VF now.",
            "Make the VFs again (`set_vf_count`; for a host that was installed anew `sriov-restore "
            "--from-pool` on it), or give the VM others: `reinstate_vfs`, with host_uuid for another host's.",
            [uuid],
        )
    if not placement.fits(request.choice, candidate):
        return Conflict(
            "LEASE_STALE",
            f"{has}, and it is not {_wanted(request, networks)} any more.",
            "`reinstate_vfs` gives it another one, with host_uuid one of another host. If none has one, or "
            "it shall have none: "
            f"{_take_back(uuid, request)}",
            [uuid],
        )
    if candidate.blocked is not None:
        state = where.inventory.vfs[address].state
        over = "`set_vf_count` with the number of VFs that there is takes it over from dom0's driver. "
        return Conflict(
            "LEASE_STALE",
            f"{has}, which is not to be had: {candidate.blocked}.",
            f"{over if state == inventory.DOM0 else ''}The VM is given another one at its next "
            "start, if there is one, or now by `reinstate_vfs`.",
            [uuid],
        )
    return None


def _wanted(request: Request, networks: Mapping[str, str]) -> str:
    kind, value, device = request.choice
    if kind == "network":
        return f"of the network {networks[value]} ({value})"
    return {"pf": f"a VF of {value}, {device}", "vf": f"a VF {device}"}.get(kind, f"a VF {value}")


def _take_back(uuid: str, request: Request) -> str:
    return f"Take the request back: `unassign_vf` with vm_uuid={uuid} and request={request.number}."
