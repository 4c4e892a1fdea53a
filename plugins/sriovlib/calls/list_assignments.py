"""`list_assignments`: who has which VF in the whole pool, and what does not fit together. Changes nothing."""

from typing import Any, Dict, List, Mapping, Optional

from ..errors import Problem
from ..machine.host import Host
from ..pool import far_vfs, guest, hosts, pci_entries, placement, places, state
from ..pool.conflicts import find
from ..pool.conflicts.look import look
from ..pool.conflicts.view import Seen
from ..pool.ledger import Choice, Entry
from ..pool.records import Records
from ..pool.state import Vm
from ..xapi.session import Xapi
from . import arguments


def list_assignments(host: Host, session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `list_assignments`, on the master: `{vms, conflicts, hosts}`.

    `vms`: those with requests or `pci` entries, `{vm_uuid, vm_name, power_state, resident_on, host_uuid,
    parked, move, replaced_at, requests: [{request, by, value, settings, vf, state, portable, guest}], pci,
    others, warnings}`; `state` is what Seen.state_of says, `host_uuid` is the lease's, `move` is null or
    `{state, host_uuid, since}` (see pool/moves.py),
    `replaced_at` is when a start of the VM was last re-placed, in seconds by the master's clock, null: not
    since it got the VFs of its host by a call. `guest` is what guest.needs says, `others` are the entries
    that are not ours.
    `hosts`: `{host_uuid, name, live, version}`, version null where the host did not tell. With `places` each
    VM has `places`, for each host of the pool whether it `can` have VFs there for its requests (null: it is
    not known), and its `vfs` or the `problem`.
    """
    vm_uuid = arguments.uuid(args, "vm_uuid")
    host_uuid = arguments.uuid(args, "host_uuid")
    everywhere = arguments.boolean(args, "places", False)
    xapi = Xapi(host, session)
    records = Records(host, xapi)
    pool = hosts.read(host, records)
    if vm_uuid is not None:
        state.vm_record(xapi, vm_uuid)
    seen = look(host, session, records, pool)
    now, surveyed = seen.state, seen.surveyed
    leased_hosts = {entry.lease.host for entry in now.entries.values() if entry.lease}  # also those that left
    if host_uuid is not None and host_uuid not in {*pool.members, *leased_hosts}:
        hosts.member(pool, host_uuid)
    serving: Dict[Choice, placement.Serving] = {}
    shown = [
        vm
        for vm in sorted(now.vms.values(), key=lambda vm: (vm.name, vm.uuid))
        if vm_uuid in (None, vm.uuid) and seen.has_vfs(vm)
    ]
    memory = far_vfs.memory(xapi, seen, shown)
    rows = [_row(seen, vm, serving, memory) for vm in shown]
    if everywhere:
        for row, vm in zip(rows, shown):
            row["places"] = list(map(_place, places.of_each_host(seen, vm)))
    found = [
        conflict
        for conflict in find.find(seen)
        if (vm_uuid is None or vm_uuid in conflict.vm_uuids)
        and (host_uuid is None or conflict.host_uuid in (None, host_uuid))
    ]
    versions = {uuid: one.told.version for uuid, one in surveyed.hosts.items()}
    return {
        "vms": [row for row in rows if host_uuid in (None, row["host_uuid"], row["resident_on"])],
        "conflicts": [conflict._asdict() for conflict in find.readable(found, seen)],
        "hosts": [
            {
                "host_uuid": member.uuid,
                "name": member.name,
                "live": member.live,
                "version": versions.get(member.uuid),
            }
            for member in sorted(pool.members.values(), key=lambda member: (member.name, member.uuid))
        ],
    }


def _place(one: places.Place) -> Dict[str, Any]:
    why = one.why
    return {
        "host_uuid": one.host,
        "can": one.can,
        "vfs": [{"request": number, "vf": vf} for number, vf in sorted(one.vfs.items())],
        "problem": Problem(why.code, why.message, why.hint)._asdict() if why else None,
    }


def _parked(entry: Optional[Entry]) -> List[str]:
    if entry is None or not entry.is_parked:
        return []
    return ["The VM is parked and starts without VFs; `reinstate_vfs` gives it VFs for its requests again."]


def _move(entry: Optional[Entry]) -> Optional[Dict[str, Any]]:
    if entry is None or entry.move is None:
        return None
    return {"state": entry.move.state, "host_uuid": entry.move.host, "since": entry.move.since}


def _replaced_at(entry: Optional[Entry]) -> Optional[int]:
    return max(entry.lease.replaced.values(), default=None) if entry and entry.lease else None


def _row(
    seen: Seen, vm: Vm, serving: Dict[Choice, placement.Serving], memory: far_vfs.Memory
) -> Dict[str, Any]:
    """`serving` is filled as requests are met: many ask for the same."""
    entry = seen.state.entries.get(vm.uuid)
    vfs = entry.lease.vfs if entry and entry.lease else {}
    surveyed = seen.surveyed.hosts.get(entry.lease.host) if entry and entry.lease else None
    there = surveyed.inventory.vfs if surveyed else {}
    requests = []
    for request in entry.requests if entry else ():
        address, choice = vfs.get(request.number), request.choice
        if choice not in serving:
            serving[choice] = placement.serving(choice, seen.surveyed.candidates)
        requests.append(
            {
                "request": request.number,
                "by": choice.kind,
                "value": choice.value,
                "settings": request.settings,
                "vf": address,
                "state": seen.state_of(vm, address),
                "portable": address is not None
                and placement.portable(serving[choice], address, vm.uuid, seen.held),
                "guest": guest.needs(
                    vm, request, address, there[address].device if address in there else None
                ),
            }
        )
    return {
        "vm_uuid": vm.uuid,
        "vm_name": vm.name,
        "power_state": vm.power_state,
        "resident_on": vm.resident_on,
        "host_uuid": entry.lease.host if entry and entry.lease else None,
        "parked": entry is not None and entry.is_parked,
        "move": _move(entry),
        "replaced_at": _replaced_at(entry),
        "requests": requests,
        "pci": vm.pci,
        "others": [one.text for one in pci_entries.entries(vm.pci or "") if one.address not in vfs.values()],
        "warnings": [*_parked(entry), *far_vfs.warnings(seen, vm, memory)],
    }
