"""What a start on this host is judged by: its devices and who has them, gathered from sysfs, xenstore, xapi
and the notes of other starts. Judges nothing; guard.py does."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set

from ..errors import SriovError
from ..machine import dom0_devices, pci
from ..machine.dom0_devices import Known
from ..machine.host import Host
from ..machine.storage_repositories import Repository
from ..machine.vgpus import UNTOLD, Told
from ..pool import copies, gpus, holding, hosts, inventories, ledger, networks, own_lease, pci_entries, state
from ..pool.hosts import Member, Topology
from ..pool.ledger import Entry
from ..pool.networks import Record
from ..pool.placement import Candidate, Held
from ..pool.state import explained, vm_of
from ..vf import host_inventory, inventory, start_notes
from ..vf.inventory import Inventory
from ..vf.start_notes import STALE_SECONDS
from ..xapi.session import Xapi
from . import judge
from .judge import Device, OwnLease

NOBODY = Held({}, {})
STARTS = {"start", "start_on", "resume", "resume_on"}


class Pool(NamedTuple):
    """What xapi tells for it."""

    ref: str  # of the pool
    member: Member  # this host
    enabled: bool  # this host takes VMs
    networks: Dict[str, Dict[str, Any]]  # records by reference
    repositories: List[Repository]  # see dom0needs.Known
    entries: Dict[str, Entry]  # the whole ledger, by VM
    unreadable: Dict[str, str]  # VM -> why its key in the ledger cannot be read
    other_config: Dict[str, str]  # the pool's
    vgpus: Told = UNTOLD  # what xapi says of this host's GPUs


class View(NamedTuple):
    entry: Optional[Entry]  # what the ledger says of the VM
    pool: Pool
    own_lease: Dict[str, OwnLease]  # what only a lease of the VM's own will do for
    candidates: Sequence[Candidate]
    devices: Dict[str, Device]
    ended: Dict[str, float]  # VM -> the time of its note: a start that came to nothing

    def judge(self, vm_uuid: str, pci_text: str) -> List[judge.Refusal]:
        host = self.pool.member.uuid
        return judge.judge(
            vm_uuid, self.entry, pci_text, host, self.candidates, self.devices, NOBODY, self.own_lease
        )


def pool_of(host: Host, xapi: Xapi) -> Pool:
    """Six calls, and one for each plugged repository; raises what `Xapi.call` raises."""
    uuid = hosts.own_uuid(host)
    ((ref, record),) = xapi.call("host.get_all_records_where", f'field "uuid" = "{uuid}"').items()
    of_this_host = f'field "host" = "{ref}"'
    own_pifs = xapi.call("PIF.get_all_records_where", of_this_host)
    records = xapi.call("network.get_all_records")
    pbds = xapi.call("PBD.get_all_records_where", of_this_host)
    ((pool_ref, pool),) = xapi.call("pool.get_all_records").items()
    entries, unreadable = ledger.read_all(ledger.settled(pool["other_config"]))
    return Pool(
        ref=pool_ref,
        member=Member(ref, uuid, record["name_label"], True, own_pifs),
        enabled=record["enabled"],
        networks=records,
        repositories=[_repository(xapi, pbd) for pbd in pbds.values() if pbd["currently_attached"]],
        entries=entries,
        unreadable=unreadable,
        other_config=pool["other_config"],
    )


def _repository(xapi: Xapi, pbd: Record) -> Repository:
    record = xapi.call("SR.get_record", pbd["SR"])
    return Repository(record["name_label"], record["type"], record["uuid"], pbd["device_config"])


def look(host: Host, xapi: Xapi, ref: str, vm: Record) -> View:
    """For a start of the VM with that reference and record; raises SriovError, or what `Xapi.call` raises."""
    pci_entries.must_be_readable(vm["uuid"], vm["name_label"], vm["other_config"])
    pool = pool_of(host, xapi)
    seen = inventory.look(host)
    if seen.owners is None:
        raise SriovError(
            "SRIOV_XAPI_SILENT",
            "xenstore does not answer, so it is not known which VMs have which devices of this host.",
            "See whether xenstored runs, then start the VM again.",
        )
    pool = pool._replace(vgpus=gpus.told(xapi, pool.member.ref, seen.pfs))
    named = pci_entries.plugging_order(vm["other_config"].get("pci", ""))
    entry = pool.entries.get(vm["uuid"])
    if entry is not None:
        entry = pool.entries[vm["uuid"]] = explained(entry, vm_of(ref, vm, {}), pool.other_config)
    ours = copies.lent(entry) if entry else ()
    others_vfs = own_lease.lent_to_others(
        own_lease.lessees(pool.entries), vm["uuid"], [address for address in named if address not in ours]
    )
    claims = start_notes.claims(host, vm["uuid"])
    older = start_notes.older(host, vm["uuid"], STALE_SECONDS)
    concerned = _concerned(pool, seen, named)
    others = _others(xapi, vm["uuid"], {*concerned, *others_vfs.values(), *claims, *older, *pool.unreadable})
    ended = {uuid: note.time for uuid, note in {**claims, **older}.items() if not _is_up(others.get(uuid))}
    claims.update({uuid: older[uuid] for uuid in older if _starts(others.get(uuid), pool.member)})
    running = {
        address: f"the running VM {domain.name or domain.vm_uuid or f'of domain {domain.domid}'}"
        for address, domain in seen.owners.items()
        if domain.vm_uuid != vm["uuid"]
    }
    starting = {
        address: f"the VM {others[uuid]['name_label']} ({uuid}), which is being started"
        for uuid, note in claims.items()
        for address in note.devices
        if uuid not in ended
    }
    holders = {**_unreadable(pool, others), **_leased(pool, vm, others), **starting, **running}
    candidates = _candidates(host, seen, pool)
    needs_own = _in_vlans(xapi, pool, candidates, {*named}.difference(ours), others)
    needs_own.update((address, OwnLease(uuid, _name(others, uuid))) for address, uuid in others_vfs.items())
    return View(
        entry=entry,
        pool=pool,
        own_lease=needs_own,
        candidates=candidates,
        devices=_devices(host, seen, pool, named, holders),
        ended=ended,
    )


def _is_up(vm: Optional[Record]) -> bool:
    """Whether it runs, or anything is being done to it."""
    return vm is not None and bool(vm["power_state"] != "Halted" or vm["current_operations"])


def _starts(vm: Optional[Record], here: Member) -> bool:
    """Whether its start on this host is under way still (see departure.release_vfs)."""
    return (
        vm is not None
        and bool(STARTS.intersection(vm["current_operations"].values()))
        and here.ref in (vm["scheduled_to_be_resident_on"], vm["resident_on"])
    )


def _concerned(pool: Pool, seen: Inventory, named: Sequence[str]) -> Set[str]:
    """The VMs of the ledger of which more has to be known: lessees here of one of the devices, or of VFs of
    one."""
    asked = set(named)
    asked.update([vf.address for vf in seen.vfs if vf.pf in asked])
    return {
        uuid
        for uuid, entry in pool.entries.items()
        if entry.lease is not None
        and entry.lease.host == pool.member.uuid
        and asked.intersection(entry.lease.vfs.values())
    }


def _others(xapi: Xapi, own: str, uuids: Set[str]) -> Dict[str, Record]:
    """The records of those of them that there are, and that are VMs: one call, where there is something to
    ask for. A key of the ledger, or a note's file, may end in whatever somebody has written."""
    asked = sorted(uuid for uuid in uuids - {own} if ledger.is_uuid(uuid))
    if not asked:
        return {}
    found = xapi.call("VM.get_all_records_where", " or ".join(f'field "uuid" = "{uuid}"' for uuid in asked))
    return {
        record["uuid"]: {**record, "ref": ref}
        for ref, record in found.items()
        if not record["is_a_template"] and not record["is_a_snapshot"]
    }


def _leased(pool: Pool, vm: Record, others: Mapping[str, Record]) -> Dict[str, str]:
    """VF of this host -> the other VM that it is leased to, in words."""
    here = pool.member
    vms = [
        holding.Vm(uuid, here.uuid if record["resident_on"] == here.ref else None, [])
        for uuid, record in {**others, vm["uuid"]: vm}.items()
    ]
    return {
        address: f"the VM {others[uuid]['name_label']} ({uuid}), to which it is leased"
        for (leased_on, address), uuid in holding.leased(pool.entries, vms).items()
        if leased_on == here.uuid and uuid in others
    }


def _unreadable(pool: Pool, others: Mapping[str, Record]) -> Dict[str, str]:
    """What VMs name whose keys in the ledger say nothing: it may be lent to them (see holding.by_hand)."""
    return {
        address: f"the VM {others[uuid]['name_label']} ({uuid}), of which the ledger cannot be read"
        for uuid in pool.unreadable
        if uuid in others
        for address in pci_entries.plugging_order(pci_entries.readable(others[uuid]["other_config"]))
    }


def _in_vlans(
    xapi: Xapi,
    pool: Pool,
    candidates: Sequence[Candidate],
    by_hand: Set[str],
    others: Mapping[str, Record],
) -> Dict[str, OwnLease]:
    """Those of the VFs whose network has VFs in VLANs. A key that cannot be read may speak of any network."""
    asked = [one for one in candidates if one.address in by_hand]
    entries = pool.entries.values()
    unread = " and ".join(_name(others, uuid) for uuid in sorted(set(pool.unreadable).intersection(others)))
    if not asked or not (
        unread or any(map(own_lease.has_vlan, (one for e in entries for one in e.requests)))
    ):
        return {}
    wires = networks.wires(pool.networks, xapi.call("PIF.get_all_records"))
    where = own_lease.vlans(entries, pool.member.uuid, candidates, wires)
    perhaps = where._replace(elsewhere=where.elsewhere or bool(unread))
    names = {record["uuid"]: record["name_label"] for record in pool.networks.values()}
    return {
        one.address: OwnLease(
            None,
            " or ".join(sorted(names[uuid] for uuid in one.networks | one.no_network)),
            "" if own_lease.is_among(one, where) else unread,
        )
        for one in asked
        if own_lease.is_among(one, perhaps)
    }


def _name(others: Mapping[str, Record], uuid: str) -> str:
    """Of a VM; one that is gone, or a template by now, has its UUID only."""
    return state.named(others[uuid]["name_label"], uuid) if uuid in others else uuid


def _candidates(host: Host, seen: Inventory, pool: Pool) -> List[Candidate]:
    """As the master makes them of this host's `inventory`."""
    vfs = host_inventory.vf_states(seen)
    pfs = {pf.address: host_inventory.pf_state(host, seen, pf, vfs, {}) for pf in seen.pfs}
    here = pool.member
    alone = Topology(here.uuid, "", {here.uuid: here}, pool.networks)
    return inventories.candidates(alone, here, pfs, vfs, pool.vgpus)


def _devices(
    host: Host, seen: Inventory, pool: Pool, named: Sequence[str], holders: Mapping[str, str]
) -> Dict[str, Device]:
    own_pifs = pool.member.pifs
    attached = {
        device
        for pif in own_pifs.values()
        if pif["currently_attached"]
        for device in networks.devices(pif, own_pifs)
    }
    known = Known(attached, networks.managed(own_pifs), pool.repositories, pool.vgpus)
    needs = dom0_devices.needs(host, seen.pfs, seen.vfs, seen.network, known, holders)
    vfs = {vf.address: vf for vf in seen.vfs}
    return {
        address: Device(
            address=address,
            exists=host.exists(f"{pci.DEVICES}/{address}"),
            is_vf=address in vfs,
            pf=vfs[address].pf if address in vfs else None,
            device=pci.identity(host, address),
            carries=needs.get(address, ()),
            held_by=holders.get(address),
        )
        for address in named
    }
