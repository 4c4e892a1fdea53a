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

from . import clock, shown
from .errors import Failed
from .pool import Pool, key_removal

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
            record = pool.call("VM.get_record", pool.call("VM.get_by_uuid", vm))
            one = Halted(
                vm, shown.sentence(record["name_label"]), str(document["to"]), safe(str(document["who"]))
            )
        except Failed as failed:
            if failed.code not in ("UUID_INVALID", "HANDLE_INVALID"):
                raise
            continue
        except (ValueError, LookupError, TypeError, RecursionError):
            continue
        if record["power_state"] == "Halted" and not record["current_operations"]:
            found.append(one)
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
        record = pool.call("VM.get_record", pool.call("VM.get_by_uuid", vm))
    except Failed as failed:
        if failed.code not in ("UUID_INVALID", "HANDLE_INVALID"):
            raise
        end(pool, vm)
        return ""
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        key, why = safe(KEY + vm), shortened(safe(str(error)))
        return (
            f"The pool's record of a move, {key}, cannot be read: {why}. Is the VM halted? To drop it: "
            f"{key_removal(key)}."
        )
    name, doing = shown.sentence(record["name_label"]), ", ".join(record["current_operations"].values())
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
        f"VM {name} was shut down by {begun_by}, to run on host {to}, and is {state}. If nobody is at it: "
        f"{'; '.join(ways)}."
    )
