"""What a start on this host is judged by: its devices, the part of the pool that concerns the VM, and who has
which VF. Gathers it from sysfs, xenstore, xapi and the notes of other starts; judge.py judges."""

from typing import Collection, Dict, List, Mapping, Sequence

from ..errors import SriovError
from ..machine import dom0_devices, pci
from ..machine.dom0_devices import Known
from ..machine.host import Host
from ..machine.storage_repositories import Repository
from ..pool import candidates, hosts, ledger_part, networks, own_lease, pci_entries, state
from ..pool.candidates import Candidates, Devices
from ..pool.hosts import OwnHost
from ..pool.ledger import Entry, Ledger
from ..pool.networks import Record
from ..pool.placement import Candidate
from ..pool.records import Records
from ..pool.state import Pool
from ..safetext import line
from ..vf import inventory, start_notes
from ..vf.inventory import Inventory
from ..vf.start_notes import Note
from ..xapi.session import Xapi
from . import judge
from .judge import Device, OwnLease, View


def look(host: Host, xapi: Xapi, ref: str, record: Record) -> View:
    """For a start of the VM with that reference and record. Reads the host's own records, the pool's, and
    those of the VMs that concern this start: six calls, and one for each plugged repository. Raises
    SriovError or XapiError."""
    pci_entries.must_be_readable(record["uuid"], line(record["name_label"]), record["other_config"])
    seen = inventory.look_to_act(host)
    if seen.owners is None:
        raise SriovError(
            "SRIOV_XAPI_SILENT",
            "Cannot check which VMs have devices of this host: xenstore did not answer.",
            "Check that xenstored runs, then start the VM again.",
        )
    here = hosts.read_own(xapi, hosts.own_uuid(host), seen.pfs)
    uuids = {here.member.ref: here.member.uuid}
    vm = state.vm_of(ref, record, uuids)
    asked = {*vm.named, *(vf.address for vf in seen.vfs if vf.pf in vm.named)}
    notes: Dict[str, Note] = {}

    def read_keys(other_config: Mapping[str, str]) -> Ledger:
        notes.update(start_notes.under_way(host, vm.uuid))  # after xapi has answered
        return ledger_part.read(host, other_config, vm.uuid, {*notes, vm.mark or vm.uuid}, asked)

    part = state.read_ledger(Records(host, xapi), read_keys).with_vms([vm], [vm.uuid])
    ours = part.entries[vm.uuid].ever_leased if vm.uuid in part.entries else ()
    foreign = [address for address in vm.named if address not in ours]
    lessees = own_lease.leased_to_others(own_lease.lessees(part.entries), vm.uuid, foreign)
    concerned = {*_lessees(part.entries, here, asked), *lessees.values(), *notes, *part.unreadable}
    concerned = {*concerned, vm.mark or vm.uuid} - {vm.uuid}
    part = part.with_vms(state.read_vms(xapi, concerned, uuids), concerned)
    gone_or_idle = {uuid for uuid, vm in ((one, part.vm(one)) for one in notes) if vm is None or vm.is_idle}
    ended = {uuid: notes[uuid].time for uuid in gone_or_idle}  # starts that came to nothing
    own = here.member.uuid
    held = part.held(
        {(own, vf): domain.vm_uuid or "" for vf, domain in seen.owners.items()},
        {(own, vf): uuid for uuid, note in notes.items() if uuid not in ended for vf in note.devices},
    )
    pool, vfs = Pool(here, part), _candidates(seen, here)
    unleased = [vf for vf in vfs if vf.address in foreign and vf.address not in lessees]
    in_vlans = _in_vlans(xapi, pool, unleased, vfs)
    leased = {address: OwnLease(uuid, part.name(uuid)) for address, uuid in lessees.items()}
    view = View(vm, pool, held, seen, vfs, {}, {**in_vlans, **leased}, ended)
    return view._replace(devices=_devices(host, view, _repositories(xapi, here)))


def _lessees(entries: Mapping[str, Entry], here: OwnHost, asked: Collection[str]) -> List[str]:
    """The VMs with a lease here of one of these devices."""
    return [
        uuid
        for uuid, entry in entries.items()
        if any(host == here.member.uuid and address in asked for host, address in entry.held)
    ]


def _repositories(xapi: Xapi, here: OwnHost) -> List[Repository]:
    """Those that are plugged here."""
    found = []
    for pbd in xapi.call("PBD.get_all_records_where", f'field "host" = "{here.member.ref}"').values():
        if pbd["currently_attached"]:
            record = xapi.call("SR.get_record", pbd["SR"])
            found.append(
                Repository(record["name_label"], record["type"], record["uuid"], pbd["device_config"])
            )
    return found


def _in_vlans(
    xapi: Xapi, pool: Pool, asked: Sequence[Candidate], vfs: Sequence[Candidate]
) -> Dict[str, OwnLease]:
    """Those `asked` for, of this host's, whose network has VFs in VLANs. A key that cannot be read may be
    about any network. The PIFs of all hosts are read only where that matters."""
    here, part = pool
    unread = " and ".join(part.name(uuid) for uuid in sorted(part.unreadable) if part.vm(uuid))
    requests = [request for entry in part.entries.values() for request in entry.requests]
    if not asked or not (unread or any(request.vlan for request in requests)):
        return {}
    wires = networks.wires(here.network_records, xapi.call("PIF.get_all_records"))
    entries = part.entries.values()
    closed = own_lease.in_vlans(entries, here.member.uuid, vfs, wires, bool(unread))
    names = {record["uuid"]: line(record["name_label"]) for record in here.network_records.values()}
    return {
        one.address: OwnLease(
            None,
            " or ".join(sorted(names[uuid] for uuid in one.networks | one.no_network)),
            "" if closed[one.address] else unread,
        )
        for one in asked
        if one.address in closed
    }


def _candidates(seen: Inventory, here: OwnHost) -> List[Candidate]:
    """As the master makes them of this host's `inventory`."""
    devices = Devices.of_look(seen)
    closed = candidates.closed_pfs(here.member, devices, here.vgpus)
    return Candidates().of(here.networks, devices, closed)


def _devices(host: Host, view: View, repositories: Sequence[Repository]) -> Dict[str, Device]:
    seen = view.seen
    vfs = {vf.address: vf for vf in seen.vfs}
    holders = {address: judge.holder(view, address) for address in {*vfs, *view.vm.named}}
    known = Known(view.pool.here.attached, view.pool.here.managed, repositories, view.pool.here.vgpus)
    of_vms = {address: holder for address, holder in holders.items() if holder is not None}
    needs = dom0_devices.needs(host, seen.pfs, seen.vfs, seen.network, known, of_vms)
    return {
        address: Device(
            address=address,
            exists=host.exists(f"{pci.DEVICES}/{address}"),
            pf=vfs[address].pf if address in vfs else None,
            device=pci.identity(host, address),
            carries=needs.get(address, ()),
            held_by=holders[address],
        )
        for address in view.vm.named
    }
