"""A VM starts here: are the addresses that xapi will plug right, and if not, what instead.

The list of devices was read before the hook ran, so another one takes another start: the pool's master writes
it, the hook queues `VM.start_on` for this host, which xapi runs next, and ends the present start.
"""

from typing import Any, Dict, NoReturn, Optional, Sequence

from ..errors import SriovError
from ..machine.host import Host
from ..pool import ledger, master, pci_entries, reinstate, state
from ..pool.ledger import Entry
from ..pool.networks import Record
from ..safetext import listed
from ..xapi.session import Xapi, XapiError, XapiFailure
from . import facts, judge
from .facts import View
from .handover import Permitted
from .judge import Refusal

LEASE_SECONDS = 10  # for moving a lease, where the start does not need it
SHOWN = 5  # of what is wrong with a start: a user reads no more, and there may be thousands
MESSAGE_PRIORITY = 3  # of xapi's five: something changed that an administrator may want to know


class Restarting(SriovError):
    """This start ends, and another one is queued; its task."""

    def __init__(self, message: str, hint: str, task: str) -> None:
        super().__init__("SRIOV_RESTARTING", message, hint)
        self.task = task


def start(host: Host, session: Any, ref: str, vm: Record, plugs: Optional[Sequence[str]] = None) -> Permitted:
    """For a VM with entries. Raises SriovError where the start may not go on, and what xapi fails with.
    `plugs`: what xenopsd was told to plug (xenopsd.devices), where that is known."""
    _must_be_told(vm, plugs)
    xapi = Xapi(host, session)
    view = _look(host, xapi, ref, vm)
    pci_text = vm["other_config"]["pci"]
    refusals = view.judge(vm["uuid"], pci_text)
    if refusals and not all(refusal.curable for refusal in refusals):
        raise refused([refusal for refusal in refusals if not refusal.curable])
    entry = view.entry
    if refusals or (entry and entry.lease and entry.lease.host != view.pool.member.uuid):
        _ask_master(host, session, view, ref, vm, refusals)
    return Permitted(pci_entries.plugging_order(pci_text), settings_of(entry), view.ended)


def resume(host: Host, session: Any, ref: str, vm: Record) -> Permitted:
    """As `start`, but what is wrong stays wrong: a VM in memory looks for just the VFs that it had."""
    view = _look(host, Xapi(host, session), ref, vm)
    pci_text = vm["other_config"]["pci"]
    refusals = view.judge(vm["uuid"], pci_text)
    if refusals:
        hint = "Resume it where it was suspended, or shut it down (`xe vm-shutdown --force`) and start it."
        raise refused([refusal._replace(hint=hint) if refusal.curable else refusal for refusal in refusals])
    return Permitted(pci_entries.plugging_order(pci_text), settings_of(view.entry), view.ended)


def _must_be_told(vm: Record, plugs: Optional[Sequence[str]]) -> None:
    """Refuses entries that are not those that this start plugs. xapi tells xenopsd what the entries are
    before the hook runs, and lets them be written meanwhile (see xenopsd.py)."""
    named = pci_entries.plugging_order(pci_entries.readable(vm["other_config"]))
    untold = [] if plugs is None else [address for address in named if address not in plugs]
    if untold:
        raise SriovError(
            judge.NOT_PLACED,
            f"The entries of {vm['name_label']} were changed as it was being started: {listed(untold)} would "
            "not be plugged, and what they named before would be, unchecked.",
            "Start the VM again.",
        )


def _look(host: Host, xapi: Xapi, ref: str, vm: Record) -> View:
    view = facts.look(host, xapi, ref, vm)
    why = view.pool.unreadable.get(vm["uuid"])
    if why is not None:
        raise SriovError(
            "SRIOV_LEDGER",
            f"pool.other_config:{ledger.PREFIX}{vm['uuid']} cannot be read: {why}.",
            state.put_right(vm["uuid"], view.pool.other_config),
        )
    return view


def settings_of(entry: Optional[Entry]) -> Dict[str, Dict[str, str]]:
    """VF -> what its request wants."""
    vfs = entry.lease.vfs if entry and entry.lease else {}
    return {vfs[one.number]: one.settings for one in (entry.requests if entry else ()) if one.number in vfs}


def refused(refusals: Sequence[Refusal]) -> SriovError:
    messages = list(dict.fromkeys(refusal.message for refusal in refusals))
    hints = list(dict.fromkeys(refusal.hint for refusal in refusals))
    more = [f"And {len(messages) - SHOWN} more."] if len(messages) > SHOWN else []
    return SriovError(refusals[0].code, " ".join(messages[:SHOWN] + more), " ".join(hints[:SHOWN]))


# -- the master -----------------------------------------------------------------------------------


def _ask_master(
    host: Host, session: Any, view: View, ref: str, vm: Record, refusals: Sequence[Refusal]
) -> None:
    """Returns where the start may go on. Where nothing is wrong but the lease names another host, the
    master not moving it is no reason against the start."""
    here = view.pool.member
    asked = {"vm_uuid": vm["uuid"], "host_uuid": here.uuid, "starting": "true"}
    try:
        seconds = [] if refusals else [LEASE_SECONDS]
        answer = master.act(
            host,
            session,
            "reinstate_vfs",
            asked,
            lambda *_call: reinstate.reinstate(host, session, vm["uuid"], here.uuid, True, *seconds),
            *seconds,
        )
        is_wrong = bool(answer["pci_changed"])
    except SriovError as error:
        if refusals:
            why = f"{error.message} {refused(refusals).message}"
            code = error.code if error.code == "SRIOV_NO_FREE_VF" else judge.NOT_PLACED
            raise SriovError(code, why, error.hint) from error
        host.log(f"{vm['uuid']}: its lease stays elsewhere: {error}")
        is_wrong = _has_other_entries(host, session, ref, vm)
    if is_wrong:
        _start_again(host, Xapi(host, session), view, ref, vm)
    if refusals:  # the master sees nothing wrong: somebody has put it right, or has not noticed it yet
        raise refused(refusals)


def _has_other_entries(host: Host, session: Any, ref: str, vm: Record) -> bool:
    """The master may have written before it failed."""
    try:
        now = Xapi(host, session).call("VM.get_other_config", ref)
    except XapiError as error:
        host.log(f"{vm['uuid']}: {error}")
        return False
    before = vm["other_config"].get("pci", "")
    return pci_entries.plugging_order(now.get("pci", "")) != pci_entries.plugging_order(before)


def _start_again(host: Host, xapi: Xapi, view: View, ref: str, vm: Record) -> NoReturn:
    here = view.pool.member
    now = pci_entries.plugging_order(xapi.call("VM.get_other_config", ref).get("pci", ""))
    before = pci_entries.plugging_order(vm["other_config"].get("pci", ""))
    has = f"The VM {vm['name_label']} did not have VFs of the host {here.name}, and has "
    those = "with those" if now else "without"
    if now and sorted(now) == sorted(before):
        has = f"The VM {vm['name_label']} would have been given its VFs in another order, and has "
    has += f"{', '.join(now)} of it now" if now else "none any more"
    if _is_cancelled(xapi, ref):
        raise SriovError(
            judge.NOT_PLACED,
            f"{has}; but this start was cancelled, so it stays halted.",
            "Start it when it shall run: its VFs are right for this host now.",
        )
    try:
        if not view.pool.enabled:
            raise XapiFailure(["HOST_DISABLED", here.uuid])
        task = xapi.call("Async.VM.start_on", ref, here.ref, False, False)
    except XapiFailure as failure:
        raise SriovError(
            judge.NOT_PLACED,
            f"{has}; but xapi refuses to start it here again ({failure}), so it stays halted.",
            "Start it when the host takes VMs again, or on another host.",
        ) from failure
    try:
        uuid = xapi.call("task.get_uuid", task)
    except XapiError:
        uuid = task  # the start is queued all the same
    restarting = Restarting(
        f"{has}. This start ends, and xapi starts it here again {those}.",
        f"There is nothing to do. `xe task-list uuid={uuid}` shows that start; should it be refused, because "
        "the host is evacuated or upgraded, the VM stays halted. It does not stay paused, if it was to be: "
        "call reinstate_vfs before such a start.",
        uuid,
    )
    try:
        xapi.call(
            "message.create", "SRIOV_RESTARTING", MESSAGE_PRIORITY, "VM", vm["uuid"], restarting.message
        )
    except XapiError as error:  # a message is a comfort
        host.log(f"{vm['uuid']}: no message: {error}")
    raise restarting


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
