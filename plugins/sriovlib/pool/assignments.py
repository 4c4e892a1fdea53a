"""What `list_assignments` says of a pool: who has which VF, and what does not fit together. Pure, but for
what xapi may have to be asked besides."""

from typing import Any, Dict, List, NamedTuple, Optional

from ..errors import Problem
from . import far_vfs, guest, hosts, pci_entries, placement, places
from .conflicts import find
from .conflicts.look import look
from .conflicts.view import Seen
from .inputs import Inputs
from .ledger import Choice, Entry
from .state import ReadKeys, Vm


class Wanted(NamedTuple):
    """The arguments of the call."""

    vm_uuid: Optional[str]
    host_uuid: Optional[str]
    places: bool


def of_inputs(asked: Inputs, wanted: Wanted, read_keys: ReadKeys) -> Dict[str, Any]:
    """The answer. Nothing else goes into it than these; `read_keys`: as ledger.read."""
    seen = look(asked, read_keys)
    pool, now, surveyed = seen.topology, seen.state, seen.surveyed
    vm_uuid, host_uuid, everywhere = wanted
    leased_hosts = {entry.lease.host for entry in now.entries.values() if entry.lease}  # also those that left
    if host_uuid is not None and host_uuid not in {*pool.members, *leased_hosts}:
        hosts.member(pool, host_uuid)
    serving: Dict[Choice, placement.Serving] = {}
    shown = [
        vm
        for vm in sorted(now.vms.values(), key=lambda vm: (vm.name, vm.uuid))
        if vm_uuid in (None, vm.uuid) and seen.has_vfs(vm)
    ]
    memory = far_vfs.memory(asked.besides, seen, shown)
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
