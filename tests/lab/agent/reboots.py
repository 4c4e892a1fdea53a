"""host.reboot in the lab: dom0 reboots by its own command; the master's database outlives that of its dom0.

A real xapi writes its database to disk as it changes (xen-api: ocaml/database/db_cache_types.ml); here it is
written once, before a reboot that xapi was asked for, and read by the agent that starts then. A host that
loses its power begins with an empty one, as the stories expect.
"""

import os
import pickle
from contextlib import suppress
from typing import Dict, Set

import host_reboot
import lines
import mastership
from xapi import Xapi

KEPT = "/var/lib/xcp/lab-database"

_down: Set[str] = set()  # hosts that reboot, and have not been heard of since


def reboot(xapi: Xapi, host: str) -> bool:
    """Has the host reboot. False: it is not up yet, and tells so itself."""
    _down.add(host)
    if host == xapi.master:
        keep(xapi)
    with suppress(OSError):  # the connection may break before the answer
        xapi.dom0s[host].programs.run(
            [b"/usr/bin/env", b"systemctl", b"reboot"],
            {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            lines.unwatched,
        )
    return False


def is_up(xapi: Xapi, host: str) -> None:
    """It has been heard of again."""
    if host in _down:
        _down.discard(host)
        host_reboot.note_boot(xapi, host)


def keep(xapi: Xapi) -> None:
    with xapi.database.lock, open(KEPT + ".new", "wb") as file:
        pickle.dump((xapi.database.flushed(), sorted(_down)), file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(KEPT + ".new", KEPT)


def recall(xapi: Xapi) -> Dict[str, str]:
    """The hosts of a pool whose master has rebooted: UUID -> reference; none where there was no such pool."""
    try:
        with open(KEPT, "rb") as file:
            flushed, down = pickle.load(file)
    except FileNotFoundError:
        return {}
    os.unlink(KEPT)
    xapi.database.go_back_to(flushed)
    mastership.forget_callers(xapi)
    _down.update(down)
    return {xapi.database.get("host", ref, "uuid"): ref for ref in xapi.database.refs("host")}
