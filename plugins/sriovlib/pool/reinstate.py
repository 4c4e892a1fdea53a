"""Gives a VM VFs of one host for all its requests, for its start hook and the call `reinstate_vfs`."""

import time
from typing import Any, Dict, Optional, Tuple

from ..errors import SriovError
from ..machine.host import Host
from ..safetext import plural
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi
from . import arrivals, locked, pci_entries
from .change import change_of
from .ledger import NO_ENTRY
from .locked import Work
from .transaction import Change

# A VM is re-placed once to each host in that time: a start could go round for ever, and two starts on two
# hosts could take its VFs from each other for ever.
AGAIN_SECONDS = 120
TELLING_SECONDS = 10  # for a message about that: the start's caller waits


class ReplacedTwice(SriovError):
    """The VM would be given other VFs of a host again, in too short a time."""


def reinstate(
    host: Host,
    session: OwnSession,
    vm_uuid: str,
    wanted: Optional[str],
    starting: bool,
    seconds: Optional[float] = None,
    *,
    dry_run: bool = False,
) -> Dict[str, Any]:
    """Returns what the call `reinstate_vfs` does. The host: `wanted`, else the lease's if it is live (then it
    must answer), else the VM's affinity, else the one with most free VFs. `starting`: the VM's start hook
    asks, and waits `seconds` for the pool's lock at most. `dry_run` writes nothing, so the VM may run."""
    call = locked.call(host, session, "reinstate_vfs", vm_uuid, wanted)
    entry = locked.entry_now(call)
    arrivals.check(call, entry)
    wait = (seconds or locked.HOOK_SECONDS) if starting else locked.CALL_SECONDS
    try:
        with locked.work(call, locked.concerned(call, entry, wanted), starting, wait, reads=dry_run) as at:
            left = at.entry.lease
            answer, change = _decided(at, wanted, starting)
            answer.update(at.transaction.carry_out(change, dry_run, starting))
    except ReplacedTwice as error:
        _tell(call, error)
        raise
    if dry_run:
        return answer
    if left is not None and left.host != answer["host_uuid"]:
        locked.release(call, left.host, left.vfs.values())
    return answer


def _tell(call: locked.Call, refusal: ReplacedTwice) -> None:
    from .alerts import REPLACED_TWICE, Alert, messages  # hardly ever wanted

    text = f"A start of VM {call.vm_name} was refused, and it stays halted. {refusal}"
    xapi = Xapi(call.host, call.session, TELLING_SECONDS)
    messages.tell(call.host, xapi, Alert(REPLACED_TWICE, call.vm_uuid), text)


def _decided(at: Work, wanted: Optional[str], starting: bool) -> Tuple[Dict[str, Any], Optional[Change]]:
    """The answer as if nothing were changed, and the change (None: the VM is not in the ledger). A start
    gives a VM that is parked no VFs."""
    vm, entry = at.vm, at.entry
    target, old = wanted, entry.lease
    before = old.vfs if old else {}
    vfs: Dict[int, str] = {}  # without requests entries may be left, by a revert or a call that was cut off
    requests = () if starting and entry.is_parked else entry.requests
    if requests:
        leased = at.topology.live_host(old.host) if old else None
        anywhere = dict.fromkeys(at.surveyed.hosts, requests)
        target = wanted or leased or locked.best_host(at, anywhere, vm.affinity)
        vfs = locked.place(at, requests, target, before)
    place = target or at.topology.own
    change = change_of(at, entry.requests, place, vfs)
    pci_changed = pci_entries.plugging_order(change.pci) != vm.named
    if starting and pci_changed and vfs:
        now = int(time.time())
        replaced = old.replaced if old else {}
        lately = {to: when for to, when in replaced.items() if 0 <= now - when < AGAIN_SECONDS}
        if place in lately and entry.move is None:  # a move has taken its entries away
            ago = f"{plural(now - lately[place], 'second')} ago"
            raise ReplacedTwice(
                "SRIOV_NOT_PLACED",
                f"VM {vm.name} got VFs of {at.topology.members[place].name} {ago}, and its entries have "
                "changed again.",
                "It is being started on several hosts at once, or another client writes its "
                "other_config:pci: find out which, then start it again in two minutes.",
            )
        now_replaced = {**lately, place: now}
        change = change_of(at, entry.requests, place, vfs, now_replaced)
    answer = {
        "vm_uuid": vm.uuid,
        "host_uuid": target,
        "changed": False,
        "pci_changed": pci_changed,
        "vfs": [
            {"request": one.number, "vf": vfs[one.number], "before": before.get(one.number)}
            for one in requests
        ],
        "warnings": [problem.message for problem in at.surveyed.problems.values()],
    }
    return answer, change if entry != NO_ENTRY else None
