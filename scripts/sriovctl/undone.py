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
from .pool import Pool, key_removal

KEY = "sriov-undone-"
_UNREADABLE = (ValueError, LookupError, TypeError, RecursionError)
_BEGINS_SECONDS = 60.0  # in which a program that has written its key shuts the VM down


def who() -> str:
    """Who is at work here. A container's user may have no name."""
    import getpass

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def begin(pool: Pool, vm: str, source: Optional[str], target: str) -> None:
    """A running VM is about to be shut down and to be started on the target. All are UUIDs."""
    now = clock.of_host(pool, pool.master_host)
    document = {"who": who(), "since": now, "from": source, "to": target}
    end(pool, vm)
    pool.call("pool.add_to_other_config", pool.ref, f"{KEY}{vm}", json.dumps(document, separators=(",", ":")))


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
            document: Dict[str, Any] = json.loads(text)
            if document["from"] != source:
                continue
            to, begun_by = str(document["to"]), safe(str(document["who"]))
        except _UNREADABLE:
            continue
        one = names.vm_of_uuid(pool, vm)
        if one and one.record["power_state"] == "Halted" and not one.record["current_operations"]:
            found.append(Halted(vm, one.name, to, begun_by))
    return found


def notices(pool: Pool, keys: Mapping[str, str]) -> Iterator[str]:
    """What every command says of them: of each a sentence, and the commands that go on."""
    for key in sorted(keys):
        vm = key[len(KEY) :]
        if key.startswith(KEY):
            text = _notice(pool, vm, keys[key])
            if text:
                yield text


def _notice(pool: Pool, vm: str, text: str) -> str:
    try:
        document: Dict[str, Any] = json.loads(text)
        begun_by, since = safe(str(document["who"])), float(document["since"])
        homes = [pool.host(str(document[end])) for end in ("to", "from")]
    except _UNREADABLE as error:
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
        if abs(clock.of_host(pool, pool.master_host) - since) > _BEGINS_SECONDS:
            end(pool, vm)
        return ""
    ways = [
        f"`sriovctl relocate {vm} {host.uuid} --start` has it run on host {host.name}{before}"
        for host, before in zip(homes, ("", ", where it was"))
        if host
    ]
    state = f"{record['power_state'].lower()}{f' ({doing})' if doing else ''}"
    to = homes[0].name if homes[0] else safe(str(document["to"]))
    if not ways:
        ways = [f"`xe vm-start uuid={vm}` starts it"]
    return (
        f"VM {one.name} was shut down by {begun_by}, to run on host {to}, and is {state}. If nobody is at "
        f"it: {'; '.join(ways)}."
    )
