"""What takes several calls and leaves a VM down if it is cut off: kept in the pool until it is done, so that
whoever comes next is told, at any command.

pool.other_config has a key a VM, `sriov-undone-UUID`. It is written before the first of the calls, and goes
after the last. A VM that runs, or is gone, needs nothing more: whoever sees that takes the key out.
"""

import json
import os
import socket
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional

from sriovlib.safetext import safe, shortened

from . import clock, names
from .pool import UNREADABLE, Pool, key_removal

KEY = "sriov-undone-"
_BEGINS_SECONDS = 60.0  # in which a program that has written its key shuts the VM down


def who() -> str:
    """Who is at work here. A container's user may have no name."""
    import getpass

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class Relocation(NamedTuple):
    """Of a VM that ran, as a key has it. Hosts are UUIDs; `since` is the master's time."""

    who: str  # began, made harmless
    since: float
    source: Optional[str]
    target: str


def begin(pool: Pool, vm: str, source: Optional[str], target: str) -> None:
    """A running VM is about to be shut down and to be started on the target. All are UUIDs."""
    now = clock.of_host(pool, pool.master_host)
    document = {"who": who(), "since": now, "from": source, "to": target}
    end(pool, vm)
    pool.call("pool.add_to_other_config", pool.ref, f"{KEY}{vm}", json.dumps(document, separators=(",", ":")))


def _read(text: str) -> Relocation:
    """Raises one of UNREADABLE where it is none."""
    document: Dict[str, Any] = json.loads(text)
    source = document["from"]
    return Relocation(
        safe(str(document["who"])),
        float(document["since"]),
        None if source is None else str(source),
        str(document["to"]),
    )


def end(pool: Pool, vm: str) -> None:
    pool.call("pool.remove_from_other_config", pool.ref, f"{KEY}{vm}")


class Halted(NamedTuple):
    """A VM that was shut down on the way to host `to` (a UUID), and nobody has started since. `who` began."""

    uuid: str
    name: str
    to: str
    who: str


def halted(pool: Pool, source: str) -> List[Halted]:
    """Those that came from that host, and with which xapi does nothing. What cannot be read is left to
    `notices`."""
    found = []
    for key, text in sorted(pool.other_config().items()):
        if not key.startswith(KEY):
            continue
        vm = key[len(KEY) :]
        try:
            left = _read(text)
        except UNREADABLE:
            continue
        one = names.vm_of_uuid(pool, vm) if left.source == source else None
        if one and one.record["power_state"] == "Halted" and not one.record["current_operations"]:
            found.append(Halted(vm, one.name, left.target, left.who))
    return found


def notices(pool: Pool, keys: Mapping[str, str]) -> Iterator[str]:
    """What every command says of them: of each a sentence, and the commands that go on. Takes out the keys of
    VMs that need nothing more."""
    for key in sorted(keys):
        vm = key[len(KEY) :]
        if key.startswith(KEY):
            text = _notice(pool, vm, keys[key])
            if text:
                yield text


def _notice(pool: Pool, vm: str, text: str) -> str:
    try:
        left = _read(text)
    except UNREADABLE as error:
        key, why = safe(KEY + vm), shortened(safe(str(error)))
        return (
            f"The pool's record of a move, {key}, cannot be read: {why}. Is the VM halted? To drop it: "
            f"{key_removal(key)}."
        )
    one = names.vm_of_uuid(pool, vm)
    if one is None:
        end(pool, vm)
        return ""
    record, doing = one.record, ", ".join(one.record["current_operations"].values())
    if record["power_state"] == "Running" and not doing:
        if abs(clock.of_host(pool, pool.master_host) - left.since) > _BEGINS_SECONDS:
            end(pool, vm)
        return ""
    target, source = pool.host(left.target), pool.host(left.source or "")
    ways = [
        f"`sriovctl relocate {vm} {host.uuid} --start` has it run on host {host.name}{before}"
        for host, before in ((target, ""), (source, ", where it was"))
        if host
    ]
    state = f"{record['power_state'].lower()}{f' ({doing})' if doing else ''}"
    to = target.name if target else safe(left.target)
    if not ways:
        ways = [f"`xe vm-start uuid={vm}` starts it"]
    return (
        f"VM {one.name} was shut down by {left.who}, to run on host {to}, and is {state}. If nobody is at "
        f"it: {'; '.join(ways)}."
    )
