"""A VM starts here: are the addresses that xapi will plug right, and if not, what instead.

The list of devices was read before the hook ran, so another one takes another start: the pool's master writes
it, the hook queues `VM.start_on` for this host, which xapi runs next, and ends the present start.
"""

from typing import Dict, NoReturn, Optional, Sequence

from ..errors import SriovError
from ..machine.host import Host
from ..pool import master, pci_entries, reinstate
from ..pool.ledger import Entry
from ..pool.networks import Record
from ..safetext import line, listed
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi, XapiError, XapiFailure
from . import facts, judge, pin
from .handover import Permitted
from .judge import Refusal, View

LEASE_SECONDS = 10  # for moving a lease, where the start does not need it
SHOWN = 5  # of what is wrong with a start: a user reads no more, and there may be thousands
MESSAGE_PRIORITY = 3  # of xapi's five: something changed that an administrator may want to know


class Restarting(SriovError):
    """This start ends, and another one is queued; its task."""

    def __init__(self, message: str, hint: str, task: str) -> None:
        super().__init__("SRIOV_RESTARTING", message, hint)
        self.task = task


def start(
    host: Host, session: OwnSession, ref: str, record: Record, plugs: Optional[Sequence[str]] = None
) -> Permitted:
    """For a VM with entries. Raises SriovError where the start may not go on, and XapiError. `plugs`: what
    xenopsd was told to plug (xenopsd.devices), where that is known."""
    _must_be_told(record, plugs)
    view = _look(host, Xapi(host, session), ref, record)
    refusals = judge.judge(view)
    if not all(refusal.curable for refusal in refusals):
        raise refused([refusal for refusal in refusals if not refusal.curable])
    lease = view.entry.lease if view.entry else None
    # What the master is to write besides: an earlier build's nomigrate goes, a move ends.
    is_left = bool(view.entry and (view.entry.nomigrate or view.entry.move))
    if is_left or refusals or (lease and lease.vfs and lease.host != view.host):
        _ask_master(host, session, view, refusals)
    return _permitted(host, session, view, plugs)


def resume(
    host: Host, session: OwnSession, ref: str, record: Record, plugs: Optional[Sequence[str]]
) -> Permitted:
    """As `start`, but what is wrong stays wrong: a VM in memory looks for just the VFs that it had."""
    view = _look(host, Xapi(host, session), ref, record)
    refusals = judge.judge(view)
    if refusals:
        shut_down = f"`xe vm-shutdown uuid={record['uuid']} --force`"
        hint = f"Resume it where it was suspended, or shut it down ({shut_down}) and start it."
        raise refused([refusal._replace(hint=hint) if refusal.curable else refusal for refusal in refusals])
    return _permitted(host, session, view, plugs)


def _permitted(host: Host, session: OwnSession, view: View, plugs: Optional[Sequence[str]]) -> Permitted:
    pin.pin(host, Xapi(host, session), view.vm, view.vm.named, view.pool.here.member)
    settings, requests = settings_of(view.entry), requests_of(view.entry)
    return Permitted(view.vm.named, settings, view.ended, view.seen, plugs, requests)


def _must_be_told(record: Record, plugs: Optional[Sequence[str]]) -> None:
    """Refuses entries that are not those that this start plugs. xapi tells xenopsd what the entries are
    before the hook runs, and lets them be written meanwhile (see machine/xenopsd.py)."""
    named = pci_entries.plugging_order(pci_entries.readable(record["other_config"]))
    untold = [] if plugs is None else [address for address in named if address not in plugs]
    if untold:
        raise SriovError(
            judge.NOT_PLACED,
            f"The entries of {line(record['name_label'])} were changed while it was starting: "
            f"{listed(untold)} would not be plugged; the devices of the earlier entries would be, "
            "unchecked.",
            "Start the VM again.",
        )


def _look(host: Host, xapi: Xapi, ref: str, record: Record) -> View:
    view = facts.look(host, xapi, ref, record)
    view.pool.state.entry(view.vm.uuid)  # refuses one that cannot be read
    return view


def settings_of(entry: Optional[Entry]) -> Dict[str, Dict[str, str]]:
    """VF -> what its request wants."""
    vfs = entry.lease.vfs if entry and entry.lease else {}
    return {vfs[one.number]: one.settings for one in (entry.requests if entry else ()) if one.number in vfs}


def requests_of(entry: Optional[Entry]) -> Dict[str, int]:
    """VF -> the number of its request."""
    vfs = entry.lease.vfs if entry and entry.lease else {}
    return {vf: number for number, vf in vfs.items()}


def refused(refusals: Sequence[Refusal]) -> SriovError:
    messages = list(dict.fromkeys(refusal.message for refusal in refusals))
    hints = list(dict.fromkeys(refusal.hint for refusal in refusals))
    more = [f"And {len(messages) - SHOWN} more."] if len(messages) > SHOWN else []
    return SriovError(refusals[0].code, " ".join(messages[:SHOWN] + more), " ".join(hints[:SHOWN]))


# -- the master -----------------------------------------------------------------------------------


def _ask_master(host: Host, session: OwnSession, view: View, refusals: Sequence[Refusal]) -> None:
    """Returns where the start may go on. Where nothing is wrong but the lease names another host, the
    master not moving it is no reason against the start."""
    vm = view.vm.uuid
    asked = {"vm_uuid": vm, "host_uuid": view.host, "starting": "true"}
    seconds = [] if refusals else [LEASE_SECONDS]
    try:
        answer = master.act(
            host,
            session,
            "reinstate_vfs",
            asked,
            lambda *_call: reinstate.reinstate(host, session, vm, view.host, True, *seconds),
            *seconds,
        )
        is_wrong = bool(answer["pci_changed"])
    except SriovError as error:
        if refusals:
            why = f"{error.message} {refused(refusals).message}"
            code = error.code if error.code == "SRIOV_NO_FREE_VF" else judge.NOT_PLACED
            raise SriovError(code, why, error.hint) from error
        host.log(f"{vm}: its lease stays on another host: {error}")
        is_wrong = _has_other_entries(host, session, view)
    if is_wrong:
        _start_again(host, Xapi(host, session), view)
    if refusals:  # the master sees nothing wrong: somebody has put it right, or has not noticed it yet
        raise refused(refusals)


def _entries_now(xapi: Xapi, view: View) -> Sequence[str]:
    return pci_entries.plugging_order(xapi.call("VM.get_other_config", view.vm.ref).get("pci", ""))


def _has_other_entries(host: Host, session: OwnSession, view: View) -> bool:
    """The master may have written before it failed."""
    try:
        return _entries_now(Xapi(host, session), view) != view.vm.named
    except XapiError as error:
        host.log(f"{view.vm.uuid}: {error}")
        return False


def _start_again(host: Host, xapi: Xapi, view: View) -> NoReturn:
    here, vm = view.pool.here.member, view.vm
    now = _entries_now(xapi, view)
    if view.entry and view.entry.is_parked:
        changed = f"VM {vm.name} is parked, and its entries for VFs that it had before were removed"
    elif not now:
        changed = f"VM {vm.name} has no requests, and its entries for VFs that it had before were removed"
    elif view.entry and view.entry.move:
        changed = f"VM {vm.name} was without its VFs since a move of it, and now has {', '.join(now)}"
    elif sorted(now) == sorted(vm.named):
        changed = f"VM {vm.name} had its VFs in another order than its requests, and now has {', '.join(now)}"
    else:
        lease = view.entry.lease if view.entry else None
        had = "could not keep its VFs on" if lease and lease.host == view.host else "had no VFs on"
        changed = f"VM {vm.name} {had} {here.name} and has been given {', '.join(now)}"
    if _is_cancelled(xapi, vm.ref):
        raise SriovError(
            judge.NOT_PLACED,
            f"{changed}. This start was cancelled, so the VM stays halted.",
            "Start it when you need it: its VFs are right for this host now.",
        )
    try:
        if not here.enabled:
            raise XapiFailure(["HOST_DISABLED", here.uuid])
        task = xapi.call("Async.VM.start_on", vm.ref, here.ref, False, False)
    except XapiFailure as failure:
        raise SriovError(
            judge.NOT_PLACED,
            f"{changed}. This start is stopped, and xapi refuses a new one on this host ({failure}), so the "
            "VM stays halted.",
            "Start it when the host takes VMs again, or on another host.",
        ) from failure
    try:
        uuid = xapi.call("task.get_uuid", task)
    except XapiError:
        uuid = task  # the start is queued all the same
    restarting = Restarting(
        f"{changed}. This start is stopped; a new one is queued on this host.",
        f"Nothing to do: `xe task-list uuid={uuid}` shows the new start. If that is refused, because the "
        "host is being evacuated or upgraded, the VM stays halted. It starts running, even if this start was "
        "to leave it paused. To avoid the second start, call `reinstate_vfs` before you start the VM.",
        uuid,
    )
    tell(host, xapi, vm.uuid, "SRIOV_RESTARTING", restarting.message)
    raise restarting


def tell(host: Host, xapi: Xapi, vm_uuid: str, code: str, message: str) -> None:
    """A message of xapi's for the VM; a start does not fail for want of one."""
    try:
        xapi.call("message.create", code, MESSAGE_PRIORITY, "VM", vm_uuid, message)
    except XapiError as error:
        host.log(f"{vm_uuid}: no message: {error}")


def _is_cancelled(xapi: Xapi, ref: str) -> bool:
    """Whether somebody has cancelled what is being done to the VM: xapi keeps that wish in the task's own
    current_operations (xen-api: ocaml/xapi/xapi_task.ml, cancel)."""
    for task in xapi.call("VM.get_current_operations", ref):
        try:
            if "cancel" in xapi.call("task.get_current_operations", task).values():
                return True
        except XapiFailure:  # a task that is not there any more
            continue
    return False
