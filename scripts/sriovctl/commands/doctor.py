"""doctor: every problem of the pool, and what to do: what the hosts tell, and what only a look from outside
shows."""

import argparse
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from sriovlib import VERSION
from sriovlib.safetext import listed

from .. import clock, names, shown
from ..client import Client
from ..command import Command, hosts
from ..errors import DONE, FAILED, Failed
from ..output import by_key
from ..pool import Answer, Host
from ..rollout.plan import reason
from .looking import no_answer, troubles

PROBLEM, NOTE = "problem", "note"  # a note is as it should be, but good to know
CLOCK_SECONDS = 10.0  # by which clocks may differ: a start is kept from a loop by the master's for 120 s


class Finding(NamedTuple):
    """`name` is the host, VM or pool that it is about."""

    name: str
    level: str
    code: str
    message: str
    hint: str


FOUND = (
    by_key("NAME", "name"),
    by_key("LEVEL", "level", style=lambda one: "bad" if one["level"] == PROBLEM else "dim"),
    by_key("CODE", "code"),
)


def doctor(client: Client, args: argparse.Namespace) -> int:
    """Exit status 1 where there is a problem, so that a script can wait for none."""
    pool = client.pool
    asked = names.hosts(pool, args.hosts)
    answers = client.ask(asked, "status")
    found = [finding for answer in answers for finding in of_status(answer)]
    found += versions([answer for answer in answers if answer.value])
    live = [host for host in asked if host.live]
    found += clocks(pool.at_once(live, lambda host: _offset(client, host), client.patience))
    found += [finding for host in asked for finding in of_record(host)]
    found += _assignments(client, asked)
    found += _evacuation(client, live)
    client.show([one._asdict() for one in found], FOUND, "Nothing is wrong.")
    if client.explains:
        for one in found:
            client.say(f"\n{one.name}: {one.message}" + (f"\n  {one.hint}" if one.hint else ""))
        client.translate(one.hint for one in found)
    return FAILED if any(one.level == PROBLEM for one in found) else DONE


# -- what the hosts say ------------------------------------------------------------------------------------


def of_status(answer: Answer) -> Iterator[Finding]:
    name = answer.host.name
    if answer.error:
        code = no_answer(answer.error).upper().replace("-", "_")
        yield Finding(name, PROBLEM, code, answer.error.message, answer.error.hint)
        return
    for problem in troubles(answer.value):
        yield Finding(name, PROBLEM, problem["code"], problem["message"], problem["hint"])


def _assignments(client: Client, asked: Sequence[Host]) -> List[Finding]:
    """Conflicts, warnings of VMs, and VMs that HA restarts without choice of a host."""
    try:
        answer: Dict[str, Any] = client.pool.master("list_assignments")
    except Failed as failed:
        return [Finding(client.pool.master_host.name, PROBLEM, failed.code, failed.message, failed.hint)]
    uuids = {host.uuid for host in asked}
    called = {vm["vm_uuid"]: shown.sentence(vm["vm_name"]) for vm in answer["vms"]}
    found = [
        Finding(
            ",".join(called.get(uuid, uuid) for uuid in one.get("vm_uuids") or []) or "pool",
            PROBLEM,
            one["code"],
            one["message"],
            one["hint"],
        )
        for one in answer["conflicts"]
        if one.get("host_uuid") is None or one["host_uuid"] in uuids
    ]
    found += [
        Finding(shown.sentence(vm["vm_name"]), NOTE, "WARNING", warning, "")
        for vm in answer["vms"]
        for warning in vm.get("warnings") or []
    ]
    return found


# -- what only a look from outside shows -------------------------------------------------------------------


def versions(answers: Sequence[Answer]) -> Iterator[Finding]:
    by_version: Dict[str, List[str]] = {}
    for answer in answers:
        by_version.setdefault(str(answer.value.get("version")), []).append(answer.host.name)
    if len(by_version) > 1:
        said = "; ".join(f"{version} on {listed(hosts)}" for version, hosts in sorted(by_version.items()))
        yield Finding(
            "pool",
            PROBLEM,
            "VERSIONS_DIFFER",
            f"The hosts have several versions of xapi-sriov: {said}.",
            "Bring all to one: `sriovctl install RPM`.",
        )
    elif by_version and VERSION not in by_version:
        (version,) = by_version
        yield Finding(
            "pool",
            NOTE,
            "CLIENT_DIFFERS",
            f"The hosts have xapi-sriov {version}, and this sriovctl is of {VERSION}.",
            "Install the client of that version, if a command fails.",
        )


def of_record(host: Host) -> Iterator[Finding]:
    if host.live and not host.enabled:
        yield Finding(
            host.name,
            NOTE,
            "HOST_DISABLED",
            f"Host {host.name} is disabled, so no VM starts on it.",
            f"If nobody is at work on it: `xe host-enable uuid={host.uuid}`.",
        )


def _offset(client: Client, host: Host) -> Tuple[float, float]:
    """The host's clock less ours: at least, at most. Its answer was written between question and arrival,
    and has whole seconds."""
    before = time.time()
    told = clock.of_host(client.pool, host)
    after = time.time()
    return told - after, told + 1 - before


def clocks(answers: Sequence[Answer]) -> Iterator[Finding]:
    """Where the clocks of two hosts differ for certain. Our own does not count."""
    known = [answer for answer in answers if answer.value]
    if not known:
        return
    last = max(known, key=lambda answer: answer.value[0])
    first = min(known, key=lambda answer: answer.value[1])
    apart = last.value[0] - first.value[1]
    if apart > CLOCK_SECONDS:
        yield Finding(
            "pool",
            PROBLEM,
            "CLOCKS_DIFFER",
            f"The clock of {last.host.name} is {apart:.0f} s ahead of that of {first.host.name}.",
            "Give all hosts an NTP server (`chronyc sources` in dom0 shows what they have).",
        )


def _evacuation(client: Client, live: Sequence[Host]) -> List[Finding]:
    """Which VMs keep a host from being evacuated. That a VM with VFs cannot be migrated is as it should be;
    with HA on, an unprotected VM holds an evacuation up (xen-api: ocaml/xapi/xapi_host.ml)."""
    found: List[Finding] = []
    ask = client.pool.at_once(
        live,
        lambda host: client.pool.call("host.get_vms_which_prevent_evacuation", host.ref),
        client.patience,
    )
    for answer in ask:
        if answer.error:
            found.append(Finding(answer.host.name, PROBLEM, "NO_ANSWER", answer.error.message, ""))
        for ref, why in (answer.value or {}).items():
            found.append(cannot_leave(_vm_name(client, ref), answer.host.name, why))
    return found


def cannot_leave(vm: str, host: str, why: Sequence[str]) -> Finding:
    """What xapi says of a VM that keeps its host from being evacuated. Xen Orchestra's rolling update shuts
    it down where the reason is one of three, and does not begin at any other (6.7.1,
    packages/xo-server/src/xapi/mixins/pool.mjs)."""
    level, said = NOTE, reason(why)
    if why[0] == "VM_HAS_PCI_ATTACHED":
        hint = (
            "`sriovctl relocate VM HOST` brings it to another host, while it runs if that can be. "
            f"{_SETUP}, and so does Xen Orchestra's rolling update (6.7.0 and newer), which asks."
        )
    elif why[0] == "OPERATION_BLOCKED" and why[-1].startswith("xapi-sriov: "):
        said = "xapi has no PCI object of its VFs"
        hint = (
            "Xen Orchestra's rolling update does not begin while that is so: `xe-toolstack-restart` on "
            f"{host}, which ends no VM, lets xapi know network VFs. {_SETUP}."
        )
    else:
        level, hint = PROBLEM, "Mend that before you evacuate the host."
    return Finding(vm, level, why[0], f"VM {vm} cannot leave host {host} while it runs: {said}.", hint)


_SETUP = "`sriovctl setup --pinned shutdown` shuts the VM down and starts it again"


def _vm_name(client: Client, ref: str) -> str:
    try:
        return shown.sentence(client.pool.call("VM.get_name_label", ref))
    except Failed:
        return ref


COMMANDS: List[Command] = [
    Command(
        "doctor",
        "every problem of the pool, and what to do",
        hosts,
        doctor,
        looks=True,
        columns=FOUND,
    )
]
