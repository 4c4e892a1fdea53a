"""What a start on this host is judged by: its devices and who has them, gathered from sysfs, xenstore, xapi
and the notes of other starts. Judges nothing; guard.py does."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set

from . import (
    copies,
    dom0needs,
    guard,
    holding,
    inventory,
    ledger,
    pci,
    pcientries,
    pifs,
    startnotes,
    survey,
    topology,
)
from .dom0needs import Known
from .errors import SriovError
from .guard import Device
from .host import Host
from .inventory import Inventory
from .ledger import Entry
from .pifs import Record
from .placement import Candidate, Held
from .poolstate import PoolState, explained, vm_of
from .repositories import Repository
from .startnotes import STALE_SECONDS
from .topology import Member, Topology
from .xapi import Xapi

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


class View(NamedTuple):
    entry: Optional[Entry]  # what the ledger says of the VM
    pool: Pool
    origin: Optional[str]  # the VM whose entries these are a copy of, in words
    candidates: Sequence[Candidate]
    devices: Dict[str, Device]
    ended: Dict[str, float]  # VM -> the time of its note: a start that came to nothing

    def judge(self, vm_uuid: str, pci_text: str) -> List[guard.Refusal]:
        host = self.pool.member.uuid
        return guard.judge(
            vm_uuid, self.entry, pci_text, host, self.candidates, self.devices, NOBODY, self.origin
        )


def pool_of(host: Host, xapi: Xapi) -> Pool:
    """Six calls, and three for each plugged repository; raises what `Xapi.call` raises."""
    uuid = topology.own_uuid(host)
    ((ref, record),) = xapi.call("host.get_all_records_where", f'field "uuid" = "{uuid}"').items()
    of_this_host = f'field "host" = "{ref}"'
    own_pifs = xapi.call("PIF.get_all_records_where", of_this_host)
    networks = xapi.call("network.get_all_records")
    pbds = xapi.call("PBD.get_all_records_where", of_this_host)
    ((pool_ref, pool),) = xapi.call("pool.get_all_records").items()
    entries, unreadable = ledger.read_all(ledger.settled(pool["other_config"]))
    return Pool(
        ref=pool_ref,
        member=Member(ref, uuid, record["name_label"], True, own_pifs),
        enabled=record["enabled"],
        networks=networks,
        repositories=[_repository(xapi, pbd) for pbd in pbds.values() if pbd["currently_attached"]],
        entries=entries,
        unreadable=unreadable,
        other_config=pool["other_config"],
    )


def _repository(xapi: Xapi, pbd: Record) -> Repository:
    name, kind, uuid = (xapi.call(f"SR.get_{field}", pbd["SR"]) for field in ("name_label", "type", "uuid"))
    return Repository(name, kind, uuid, pbd["device_config"])


def look(host: Host, xapi: Xapi, ref: str, vm: Record) -> View:
    """For a start of the VM with that reference and record; raises SriovError, or what `Xapi.call` raises."""
    pcientries.must_be_readable(vm["uuid"], vm["name_label"], vm["other_config"].get("pci", ""))
    pool = pool_of(host, xapi)
    seen = inventory.look(host)
    if seen.owners is None:
        raise SriovError(
            "SRIOV_XAPI_SILENT",
            "xenstore does not answer, so it is not known which VMs have which devices of this host.",
            "See whether xenstored runs, then start the VM again.",
        )
    named = pcientries.plugging_order(vm["other_config"].get("pci", ""))
    entry = pool.entries.get(vm["uuid"])
    if entry is not None:
        entry = pool.entries[vm["uuid"]] = explained(entry, vm_of(ref, vm, {}), pool.other_config)
    is_copy = not (entry and entry.requests)
    claims = startnotes.claims(host, vm["uuid"])
    older = startnotes.older(host, vm["uuid"], STALE_SECONDS)
    concerned = _concerned(pool, seen, named, is_copy)
    others = _others(xapi, vm["uuid"], {*concerned, *claims, *older, *pool.unreadable})
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
    origin = _origin(pool, ref, vm, others, named) if is_copy else None
    return View(
        entry=entry,
        pool=pool,
        origin=origin,
        candidates=_candidates(host, seen, pool),
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


def _concerned(pool: Pool, seen: Inventory, named: Sequence[str], is_copy: bool) -> Set[str]:
    """The VMs of the ledger of which more has to be known: lessees here of one of the devices, or of VFs of
    one; and where the entries may be a copy, whoever was ever lent one."""
    asked = set(named)
    asked.update([vf.address for vf in seen.vfs if vf.pf in asked])
    found = set()
    for uuid, entry in pool.entries.items():
        lent = set(copies.lent(entry) if is_copy else ())
        if entry.lease is not None and entry.lease.host == pool.member.uuid:
            lent.update(entry.lease.vfs.values())
        if lent.intersection(asked):
            found.add(uuid)
    return found


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
        for address in pcientries.plugging_order(others[uuid]["other_config"].get("pci", ""))
    }


def _origin(
    pool: Pool, ref: str, vm: Record, others: Mapping[str, Record], named: Sequence[str]
) -> Optional[str]:
    """As the master says it: of the whole ledger, for the origin may be a template by now, or gone."""
    vms = {uuid: vm_of(record["ref"], record, {}) for uuid, record in others.items()}
    state = PoolState(pool.ref, "", {}, pool.entries, {}, vms)
    found = copies.origin_of(state, vm_of(ref, vm, {}), named)
    return None if found is None else f"the VM {state.name(found)}"


def _candidates(host: Host, seen: Inventory, pool: Pool) -> List[Candidate]:
    """As the master makes them of this host's `inventory`."""
    told = {
        "pfs": [inventory.pf_record(seen, pf, host, {}) for pf in seen.pfs],
        "vfs": [inventory.vf_record(seen, vf) for vf in seen.vfs],
    }
    here = pool.member
    alone = Topology(here.uuid, "", {here.uuid: here}, pool.networks)
    return survey.candidates(alone, here, told)


def _devices(
    host: Host, seen: Inventory, pool: Pool, named: Sequence[str], holders: Mapping[str, str]
) -> Dict[str, Device]:
    own_pifs = pool.member.pifs
    attached = {
        device
        for pif in own_pifs.values()
        if pif["currently_attached"]
        for device in pifs.devices(pif, own_pifs)
    }
    known = Known(attached, pifs.managed(own_pifs), pool.repositories)
    needs = dom0needs.needs(host, seen.pfs, seen.vfs, seen.network, known, holders)
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
