"""Gives a VM VFs of one host for all its requests, for its start hook and the call `reinstate_vfs`."""

import time
from typing import Any, Dict, Optional

from ..errors import SriovError
from ..machine.host import Host
from ..xapi.session import Xapi
from . import hosts, inventories, locked, pci_entries, state
from .change import change_of
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
    asks, and waits `seconds` for the pool's lock at most."""
    xapi = Xapi(host, session)
    pool = hosts.read(host, xapi)
    _, record = state.vm_record(xapi, vm_uuid)
    if wanted is not None:
        hosts.member(pool, wanted)
    surveyed = inventories.survey(host, session, pool, locked.concerned(xapi, pool, vm_uuid, wanted))
    doing = f"reinstate_vfs for {record['name_label']} ({vm_uuid})"
    wait = (seconds or locked.HOOK_SECONDS) if starting else None
    with locked.work(host, session, pool, surveyed, doing, wait) as at:
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
    target, old = wanted, entry.lease
    before = old.vfs if old else {}
    vfs: Dict[int, str] = {}  # without requests entries may be left, by a revert or a call that was cut off
    if entry.requests:
        leased = at.topology.live_host(old.host) if old else None
        anywhere = dict.fromkeys(at.surveyed.hosts, entry.requests)
        target = wanted or leased or locked.best_host(at, vm, anywhere, vm.affinity)
        vfs = locked.place(at, vm, entry.requests, target, before)
    place = target or at.topology.own
    change = change_of(at.state, at.surveyed, vm, entry, entry.requests, place, vfs)
    pci_changed = pci_entries.plugging_order(change.pci) != vm.named
    if starting and pci_changed and vfs:
        now = int(time.time())
        replaced = old.replaced if old else {}
        lately = {to: when for to, when in replaced.items() if 0 <= now - when < AGAIN_SECONDS}
        if place in lately:
            raise SriovError(
                "SRIOV_NOT_PLACED",
                f"VM {vm.name} got VFs of this host {now - lately[place]} seconds ago, and its "
                "entries have changed again.",
                "It is being started on several hosts at once, or another client writes its "
                "other_config:pci: find out which, then start it again in two minutes.",
            )
        now_replaced = {**lately, place: now}
        change = change_of(at.state, at.surveyed, vm, entry, entry.requests, place, vfs, now_replaced)
    return {
        "vm_uuid": vm.uuid,
        "host_uuid": target,
        "changed": entry != NO_ENTRY and at.transaction.write(change, starting),
        "pci_changed": pci_changed,
        "vfs": [
            {"request": one.number, "vf": vfs[one.number], "before": before.get(one.number)}
            for one in entry.requests
        ],
        "warnings": [problem.message for problem in at.surveyed.problems.values()],
    }
