"""explain: why a VM has its VFs, or cannot have them, on each host of the pool."""

import argparse
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

from sriovlib.safetext import listed

from .. import names, relocation
from ..client import Client
from ..command import Command
from ..errors import DONE, NO_ANSWER, Failed
from ..names import Vm
from ..output import Record, by_key
from ..pool import Answer, Host, Pool, is_too_old


class Verdict(NamedTuple):
    """On one host: `can` start there with its VFs (None: not known), and the sentences that say why."""

    host: Host
    can: Optional[bool]
    why: Sequence[str]


EXPLAINED = (
    by_key("NAME", "host"),
    by_key("CAN", "can", style=lambda row: {True: "good", False: "bad"}.get(row["can"], "warn")),
    by_key("HAS", "vfs"),
)


def explain(client: Client, args: argparse.Namespace) -> int:
    pool = client.pool
    vm = names.vm(pool, args.vm)
    answer = _assignments(pool, vm)
    (row,) = answer["vms"] or [None]
    requests = row["requests"] if row else []
    boots = pool.at_once(pool.hosts, lambda host: _boots(pool, vm, host), client.patience)
    places = {one["host_uuid"]: one for one in _places(client, vm, row)} if requests else {}
    has = {row["host_uuid"]: [request["vf"] for request in requests]} if row else {}
    by_hand = bool(row and row["pci"] and not requests)
    verdicts = [verdict(one, places.get(one.host.uuid), has.get(one.host.uuid), by_hand) for one in boots]
    records = [
        {
            **one.host.row,
            "can": one.can,
            "vfs": has.get(one.host.uuid),
            "why": one.why,
        }
        for one in verdicts
    ]
    client.show(records, EXPLAINED)
    if client.explains:
        _say(client, vm, row, verdicts, answer["conflicts"])
    return DONE


def _say(
    client: Client, vm: Vm, row: Optional[Record], verdicts: Sequence[Verdict], conflicts: Sequence[Record]
) -> None:
    if not (row and row["requests"]):
        other = f" Its entries `{row['pci']}` are not ours." if row and row["pci"] else ""
        how = f"`sriovctl assign {vm.uuid} --network NET`"
        client.say(f"VM {vm.name} asks for no VF.{other} {how} gives it one.")
    for request in row["requests"] if row else []:
        shown = client.pool.called(request["by"], request["value"])
        client.say(f"Request {request['request']}: a VF by {request['by']} {shown}.")
    for one in verdicts:
        for sentence in one.why:
            client.say(f"{one.host.name}: {sentence}")
    running = vm.record["power_state"] == "Running"
    moves = list(_of_running(client.pool, vm, row, verdicts)) if running else []
    for sentence in moves:
        client.say(sentence)
    for conflict in conflicts:
        client.say(f"{conflict['code']}: {conflict['message']}\n  {conflict['hint']}")
    client.warnings(row or {})
    whys = [sentence for one in verdicts for sentence in one.why]
    client.translate([*whys, *moves, *(conflict["hint"] for conflict in conflicts)], "")


def _of_running(pool: Pool, vm: Vm, row: Optional[Record], verdicts: Sequence[Verdict]) -> Iterator[str]:
    """How it can be moved, and where HA would start it."""
    name, home = f"VM {vm.name}", pool.host(vm.record["resident_on"])
    able = [one.host for one in verdicts if one.can and one.host != home]
    others = listed([host.name for host in able])
    unknown = listed([one.host.name for one in verdicts if one.can is None and one.host != home])
    targets = f"to {others}" if others else "but no other host is known to be able to have it"
    targets += f" (of {unknown} it is not known)" if unknown else ""
    yield f"{name} runs on host {home.name if home else '?'}."
    try:
        pool.call("VM.assert_operation_valid", vm.ref, "pool_migrate")
        yield f"xapi moves it while it runs, {targets}."
    except Failed as failed:
        yield f"xapi alone does not move it while it runs: {failed}"
    if row and row["requests"]:
        yield from _migrates(pool, vm, able)
        again = f"`sriovctl relocate {vm.uuid} HOST`"
        try:
            relocation.check_operations(vm, True, True, again)
            yield f"{again} shuts it down, and starts it elsewhere with VFs of that host: {targets}."
        except Failed as failed:
            yield f"{again} would not move it: {failed}"
    if pool.record["ha_enabled"]:
        priority = vm.record["ha_restart_priority"]
        yield (
            f"HA starts it again when its host fails (ha_restart_priority is {priority}), {targets}."
            if priority
            else "HA is on and does not protect it (it has no ha_restart_priority): it stays down when its "
            "host fails, and xapi does not move it when its host is evacuated."
        )


def _migrates(pool: Pool, vm: Vm, others: Sequence[Host]) -> Iterator[str]:
    """Whether it can be moved with its VFs to the first of these hosts, as far as that is known before."""
    if not others:
        return
    command = f"`sriovctl migrate {vm.uuid} {names.word(pool, others[0])}`"
    where = {"vm_uuid": vm.uuid, "host_uuid": others[0].uuid}
    moves = "moves it while it runs, over its VIFs meanwhile, with VFs there."
    try:
        if pool.rehearsed(pool.master_host, "migrate_vm", **where):
            yield f"{command} {moves}"
        return
    except Failed as failed:
        refused = failed
    try:
        if pool.rehearsed(pool.master_host, "migrate_vm", **where, unconfirmed="true"):
            yield f"`{command[1:-1]} --unconfirmed` {moves} {refused.message}"
    except Failed as failed:
        yield f"{command} would not move it: {failed}"


# -- what is asked, and what of it ---------------------------------------------------------------------------


def _assignments(pool: Pool, vm: Vm) -> Dict[str, Any]:
    """What the plugin says of the VM: of all hosts by one look at the pool, if it is new enough."""
    try:
        found = pool.master("list_assignments", vm_uuid=vm.uuid, places="true")
    except Failed as failed:
        if not is_too_old(failed, "places"):
            raise
        found = pool.master("list_assignments", vm_uuid=vm.uuid)
    return dict(found)


def _places(client: Client, vm: Vm, row: Record) -> List[Record]:
    """As `places` of list_assignments; of an older plugin host by host."""
    if row.get("places") is not None:
        return list(row["places"])
    pool = client.pool
    told = pool.at_once(pool.hosts, lambda host: _rehearsed(pool, vm, host), client.patience)
    return [one.value or _place(one.host, None, [], one.error) for one in told]


def _rehearsed(pool: Pool, vm: Vm, host: Host) -> Record:
    try:
        answer = pool.master("reinstate_vfs", vm_uuid=vm.uuid, host_uuid=host.uuid, dry_run="true")
    except Failed as failed:
        unknown = failed.code in ("SRIOV_VM_NOT_HALTED", "SRIOV_BUSY", NO_ANSWER)
        return _place(host, None if unknown else False, [], failed)
    return _place(host, True, answer["vfs"], None)


def _place(host: Host, can: Optional[bool], vfs: List[Record], why: Optional[Failed]) -> Record:
    problem = {"code": why.code, "message": why.message, "hint": why.hint} if why else None
    return {"host_uuid": host.uuid, "can": can, "vfs": vfs, "problem": problem}


def _boots(pool: Pool, vm: Vm, host: Host) -> None:
    """Failed with xapi's reason why the VM cannot be started there. Of the host where it runs nothing is
    asked: its memory would count twice."""
    if vm.record["power_state"] in ("Halted", "Running") and vm.record["resident_on"] != host.ref:
        pool.call_for(host, "VM.assert_can_boot_here", vm.ref, host.ref)


def verdict(boots: Answer, place: Optional[Record], has: Optional[List[str]], by_hand: bool) -> Verdict:
    """xapi says whether the VM can be started there (`boots`), and the plugin which VFs it would get: None
    for a VM without requests. `has`: the VFs that it has there. `by_hand`: it has entries, and no requests;
    whether they are refused there, the hook of its start decides."""
    can: Optional[bool] = True
    why: List[str] = []
    if boots.error:
        can = None if boots.error.code == NO_ANSWER else False
        why.append(f"xapi does not start the VM here: {boots.error}")
    if place is None:
        if by_hand and can:
            return Verdict(boots.host, None, ["Its entries are judged when it starts here."])
        return Verdict(boots.host, can, why)
    if place["can"]:
        vfs = listed([f"{one['vf']} for request {one['request']}" for one in place["vfs"]])
        same = has == [one["vf"] for one in place["vfs"]]
        return Verdict(boots.host, can, [*why, f"It {'has' if same else 'would get'} VFs here: {vfs}."])
    problem = place["problem"] or {"message": "The plugin does not say why.", "hint": ""}
    why.append(f"{problem['message']} {problem['hint']}".strip())
    return Verdict(boots.host, place["can"] if can else can, why)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vm", metavar="VM", help="the VM")


COMMANDS = [
    Command(
        "explain",
        "why a VM has its VFs, or cannot have them, on each host",
        _arguments,
        explain,
        columns=EXPLAINED,
    )
]
