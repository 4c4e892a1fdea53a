"""A VM that was moved, has arrived, and of which xapi has not heard: before anybody gives it VFs elsewhere,
or starts it a second time, the host where it was to go is asked.

xapi hears of an arrival last. The guest runs already when the hook vm-post-migrate may fail, when the
toolstack or the network of the host that it leaves may go down, and when an answer may be lost (xen-api:
ocaml/xenopsd/lib/xenops_server.ml, VM_migrate, VM_receive_memory). The VM's record goes on saying that it
runs where it was, until the xapi of that host starts again: then it says Halted. What the xapi of the host
where it arrived does as it starts goes by that record: a VM that is nowhere is taken over, one that is
elsewhere is ended (ocaml/xapi/xapi_xenops.ml, resync_resident_on).
"""

from typing import Any, Mapping, NamedTuple, Optional

from ..errors import SriovError
from ..xapi.session import Xapi, XapiError
from . import host_answers, master, state
from .hosts import Member
from .ledger import ARRIVED, MOVING, Entry
from .locked import Call

UNKNOWN = "SRIOV_UNKNOWN_TO_XAPI"


class Said(NamedTuple):
    """What is so, and what to do about it."""

    message: str
    hint: str


def check(call: Call, entry: Entry) -> None:
    """Refuses a VM that has a domain where it was going, if xapi does not know; and one that is halted, if
    that host cannot tell. `entry`: the VM's in the ledger."""
    there = call.topology.members.get(may_be_on(entry) or "")
    if there is None:
        return
    _, record = state.vm_record(call.xapi.renewed(), call.vm_uuid, template=True)
    is_moved = "pool_migrate" in record["current_operations"].values()
    if not there.live or is_moved or is_on(record, there):
        return
    runs = record["power_state"] == "Running"
    try:
        xapi = Xapi(call.host, call.session, host_answers.SECONDS)
        # A question only: it is leased no VF of that host, so none is unplugged.
        master.ask(xapi, there.ref, "unplug_vfs", {"vm_uuid": call.vm_uuid, "timeout": "0"})
    except SriovError as error:
        if error.code == UNKNOWN:
            names = {member.ref: member.name for member in call.topology.members.values()}
            was = names.get(record["resident_on"], "another host") if runs else None
            raise SriovError("SRIOV_NOT_MOVED", *unknown(call.vm_name, there.name, was)) from error
        why: Optional[Exception] = error if error.code != "SRIOV_VM_NOT_HERE" else None
    except XapiError as error:
        why = error
    else:
        why = None
    if why is not None and not runs:
        raise SriovError("SRIOV_BUSY", *untold(call.vm_name, there, str(why))) from why


def may_be_on(entry: Entry) -> Optional[str]:
    """The host where the VM was to go, if xapi has not known it there yet."""
    move = entry.move
    if move is None or move.state not in (MOVING, ARRIVED):
        return None
    return None if entry.lease is not None and entry.lease.host == move.host else move.host


def is_on(record: Mapping[str, Any], there: Member) -> bool:
    """Whether the VM of this record runs there, for xapi."""
    return bool(record["power_state"] == "Running" and record["resident_on"] == there.ref)


def unknown(vm_name: str, there: str, was: Optional[str]) -> Said:
    """The VM has a domain there. `was`: the host where it runs for xapi; None: it is halted."""
    says, adopt = "halted", f"`xe-toolstack-restart` on {there} lets xapi take it over"
    if was is not None:
        says = f"running on {was}"
        adopt = (
            f"`xe-toolstack-restart` on {was}, and when that is over on {there}, lets xapi take it over "
            f"(on {there} first would end the VM)"
        )
    return Said(
        f"VM {vm_name} runs on host {there}, where it was moved to, and xapi does not know that: for xapi it "
        f"is {says}.",
        f"Do not start it: it would run twice. {adopt}; then `attach_vfs` gives it its VFs.",
    )


def untold(vm_name: str, there: Member, why: str) -> Said:
    """It is halted for xapi, and it is not known whether it has a domain there."""
    dead = f"`xe host-declare-dead uuid={there.uuid}`"
    return Said(
        f"VM {vm_name} was being moved to host {there.name}, which does not tell whether it runs there: "
        f"{why}",
        f"Call again when that host answers; if it is down for good: {dead}.",
    )
