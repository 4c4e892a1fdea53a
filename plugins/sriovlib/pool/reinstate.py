"""Gives a VM VFs of one host for all its requests, for its start hook and the call `reinstate_vfs`."""

import time
from typing import Any, Dict, List, Optional

from ..errors import SriovError
from ..machine.host import Host
from ..xapi.session import Xapi
from . import hosts, inventories, locked, pci_entries, state
from .ledger import NO_ENTRY, Entry
from .locked import Work
from .state import Vm

# A VM is re-placed once to each host in that time: a start could go round for ever, and two starts on two
# hosts could take its VFs from each other for ever.
AGAIN_SECONDS = 120


def reinstate(
    host: Host,
    session: Any,
    vm_uuid: str,
    wanted: Optional[str],
    starting: bool,
    seconds: Optional[float] = None,
) -> Dict[str, Any]:
    """Returns what the call `reinstate_vfs` does. The host: `wanted`, else the lease's if it is live (then it
    must answer), else the VM's affinity, else the one with most free VFs. `starting`: the VM's start hook
    asks. `seconds`: the longest wait for the pool's lock."""
    xapi = Xapi(host, session)
    pool = hosts.read(host, xapi)
    _, record = state.vm_record(xapi, vm_uuid)
    if wanted is not None:
        hosts.member(pool, wanted)
    before = locked.entry_now(xapi, vm_uuid)
    choices = [request.choice for request in before.requests]
    concerned = locked.concerned(pool, choices, [wanted, before.lease.host if before.lease else None])
    surveyed = inventories.survey(host, session, pool, concerned)
    doing = f"reinstate_vfs for {record['name_label']} ({vm_uuid})"
    if seconds is None and starting:
        seconds = locked.HOOK_SECONDS
    with locked.work(host, session, pool, surveyed, doing, seconds) as at:
        vm = at.vm(vm_uuid)
        state.must_be_halted(vm, starting)
        left = at.entry(vm_uuid).lease
        answer = _reinstate(at, vm, at.entry(vm_uuid), wanted, starting)
        if not starting:
            at.transaction.collect_garbage()
    if left is not None and left.host != answer["host_uuid"]:
        locked.release(host, session, pool, left.host, vm_uuid, left.vfs.values())
    return answer


def _reinstate(at: Work, vm: Vm, entry: Entry, wanted: Optional[str], starting: bool) -> Dict[str, Any]:
    if not entry.requests:  # entries of ours may be left, by a revert or by a call that was cut off
        change = at.change(vm, entry, (), wanted or at.topology.own, {})
        changed = entry != NO_ENTRY and at.transaction.write(change, starting)
        return _answer(vm, wanted, changed, changed and change.pci != (vm.pci or ""), [], at)
    old = entry.lease
    target = wanted or _target(at, vm, entry)
    vfs = locked.place(at, vm, entry.requests, target, old.vfs if old else {})
    change = at.change(vm, entry, entry.requests, target, vfs)
    pci_changed = pci_entries.plugging_order(change.pci) != vm.named
    if starting and pci_changed:
        now = int(time.time())
        before = old.replaced if old else {}
        lately = {to: when for to, when in before.items() if 0 <= now - when < AGAIN_SECONDS}
        if target in lately:
            raise SriovError(
                "SRIOV_NOT_PLACED",
                f"VM {vm.name} got VFs of this host {now - lately[target]} seconds ago, and has other "
                "entries again.",
                "It is started on several hosts at once, or another client writes its other_config:pci: find "
                "out which, then start it again in two minutes.",
            )
        change = at.change(vm, entry, entry.requests, target, vfs, {**lately, target: now})
    changed = at.transaction.write(change, starting)
    rows = [
        {"request": one.number, "vf": vfs[one.number], "before": old.vfs.get(one.number) if old else None}
        for one in entry.requests
    ]
    return _answer(vm, target, changed, pci_changed, rows, at)


def _answer(
    vm: Vm, host: Optional[str], changed: bool, pci_changed: bool, rows: List[Dict[str, Any]], at: Work
) -> Dict[str, Any]:
    return {
        "vm_uuid": vm.uuid,
        "host_uuid": host,
        "changed": changed,
        "pci_changed": pci_changed,
        "vfs": rows,
        "warnings": [problem.message for problem in at.surveyed.problems],
    }


def _target(at: Work, vm: Vm, entry: Entry) -> str:
    leased = at.topology.live_host(entry.lease.host) if entry.lease else None
    if leased is not None:
        return leased
    return locked.best_host(at, vm, entry.requests, vm.affinity)
