"""What of the pool needs a person, and what does so no longer. Pure.

What a host does not tell is neither: its alerts stay as they are.
"""

from typing import Dict, Iterator, Mapping, Tuple

from ...safetext import line, listed
from ..conflicts import find as conflicts
from ..conflicts import moving
from ..conflicts.view import Seen
from ..inventories import WITHOUT_PLUGIN as OF_HOST_WITHOUT_PLUGIN
from ..inventories import Surveyed
from ..ledger import Entry, Lease
from . import REPLACED_TWICE, RESTORE_FAILED, VF_MISSING, WITHOUT_PLUGIN, Alert

MOVE_SECONDS = 900  # a VM that is moved is without its VFs for as long as a call of ours may take
SHOWN, LONGEST = 5, 300  # of what is wrong with a host, and characters of each

Found = Dict[Alert, str]  # with the text of its message


def find(seen: Seen, now: float) -> Found:
    """What is so now, but for REPLACED_TWICE, which the refused start tells. `now`: the master's clock."""
    return {alert: text for check in (_hosts, _vms) for alert, text in check(seen, now)}


def is_over(seen: Seen, alert: Alert) -> bool:
    """Of an alert that `find` does not find: whether that says that it is over."""
    code, uuid = alert
    if code in (RESTORE_FAILED, WITHOUT_PLUGIN):
        answered = seen.surveyed.hosts.get(uuid)
        if uuid not in seen.topology.members:
            return True
        if code == WITHOUT_PLUGIN:
            if _is_without_plugin(seen, uuid):  # then no VM has requests any more, of those that can be read
                return not seen.state.unreadable
            return answered is not None
        return answered is not None and answered.inventory.failures is not None
    vm, entry = seen.state.vms.get(uuid), seen.state.entries.get(uuid)
    if vm is None:
        return True
    if entry is None or not entry.requests:
        return uuid not in seen.state.unreadable
    if code == REPLACED_TWICE:
        return vm.is_running
    where = seen.surveyed_of(vm)
    return not vm.is_running or (
        where is not None
        and where.inventory.owners_known
        and uuid not in where.inventory.starting.values()
        and not vm.operations
        and entry.move is None
    )


def _hosts(seen: Seen, _now: float) -> Iterator[Tuple[Alert, str]]:
    for uuid, one in seen.surveyed.hosts.items():
        if one.inventory.failures:
            yield Alert(RESTORE_FAILED, uuid), _of_restore(one.member.name, one.inventory.failures)
    if any(seen.has_requests(uuid) for uuid in seen.state.vms):
        for conflict in conflicts.hosts(seen):
            if conflict.host_uuid is not None and conflict.code == OF_HOST_WITHOUT_PLUGIN:
                alert = Alert(WITHOUT_PLUGIN, conflict.host_uuid)
                yield alert, f"{conflict.message} {conflict.hint}"


def _is_without_plugin(seen: Seen, uuid: str) -> bool:
    problem = seen.surveyed.problems.get(uuid)
    return problem is not None and problem.code == OF_HOST_WITHOUT_PLUGIN


def _of_restore(name: str, failures: Mapping[str, str]) -> str:
    errors = [line(error, LONGEST).rstrip(".") for _, error in sorted(failures.items())]
    shown = [*errors[:SHOWN], f"and {len(errors) - SHOWN} more"] if len(errors) > SHOWN else errors
    return (
        f"Host {name} does not have the VFs that its /etc/sriov.conf wants: {'; '.join(shown)}. "
        "VMs with VFs may not start there. Put that right and run `sriov-restore` on that host; its "
        "`journalctl -t sriov` says more."
    )


def _vms(seen: Seen, now: float) -> Iterator[Tuple[Alert, str]]:
    """VMs that run without VFs of their requests, or whose move does not come to its end; one that somebody
    has suspended or shut down meanwhile wants nobody before it is to run again. While something is done to a
    VM nothing is said of it."""
    moved = {conflict.vm_uuids[0]: conflict for conflict in moving.not_ended(seen)}
    for uuid, entry, lease in seen.leases():
        vm = seen.state.vms[uuid]
        where = seen.surveyed_of(vm)
        said = _lacks(seen, where, uuid, entry, lease) if where is not None else None
        if vm.operations or said == "":
            continue
        if entry.move is not None:
            is_late = not 0 <= now - entry.move.since < MOVE_SECONDS
            if uuid in moved and is_late and moving.may_run(seen, uuid, entry):
                yield Alert(VF_MISSING, uuid), f"{moved[uuid].message} {moved[uuid].hint}"
        elif where is not None and vm.is_running:
            text = f"{seen.vm(uuid)} runs on {where.member.name} without VFs of its requests: {said}. "
            text += "Shut it down and start it: it gets VFs, where some are free."
            yield Alert(VF_MISSING, uuid), text


def _lacks(seen: Seen, where: Surveyed, uuid: str, entry: Entry, lease: Lease) -> str:
    """What the VM has not of its lease there; empty: it has all, as far as the host tells, or is about to
    have it: a guest that reboots gets its VFs when it has its memory, which takes minutes of hundreds of GB.
    On another host than its lease's, where it came without our hook, any VFs are taken for its own."""
    if where.member.uuid != lease.host:
        has = sum(vm == uuid for vm in where.told.running.values())
        is_told = where.inventory.owners_known and has < len(lease.vfs)
        return f"those are of {seen.host(lease.host)}" if is_told else ""
    vfs = where.inventory.vfs
    own = [lease.vfs[one.number] for one in entry.requests if one.number in lease.vfs]
    gone = [address for address in own if address not in vfs]
    said = []
    if gone:
        remedy = "`sriov-restore` there makes what its /etc/sriov.conf wants"
        said.append(f"the host has no VF {listed(gone, SHOWN)} ({remedy})")
    if where.inventory.owners_known:
        owners = {address: vfs[address].assigned_to for address in own if address in vfs}
        starting = where.inventory.starting
        unplugged = [
            address
            for address, owner in owners.items()
            if (owner is None or owner.vm_uuid != uuid) and starting.get(address) != uuid
        ]
        said += [f"its domain does not have {listed(unplugged, SHOWN)}"] if unplugged else []
    return ", and ".join(said)
