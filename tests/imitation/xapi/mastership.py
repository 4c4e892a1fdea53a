"""Which host is the pool's master: pool.conf in each dom0, who may log in where, a new master.

Facts from xen-api: ocaml/xapi/pool_role.ml (pool.conf is `master` or `slave:ADDRESS`), api_server.ml and
session_check.ml (a member forwards what comes over its Unix socket, and refuses over TCP), xapi_pool.ml
and xapi_pool_transition.ml (every xapi restarts when the master changes), dbsync_slave.ml
(refresh_localhost_info: agent_start_time, in whole seconds, as OCaml prints them), xapi_sync.ml (messages).
"""

import itertools
import os
import time
from typing import TYPE_CHECKING

import messages
from calls import Origin
from values import Failure

if TYPE_CHECKING:
    from xapi import Xapi

_STARTS = itertools.count()
POOL_CONF = "/etc/xensource/pool.conf"


def write_pool_conf(xapi: "Xapi", host: str) -> None:
    """Tells this dom0 who the master is."""
    machine = xapi.dom0s[host].machine
    if machine is not None:
        address = xapi.database.get("host", xapi.master, "address")
        path = machine.path(POOL_CONF)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write("master" if host == xapi.master else f"slave:{address}")


def refuse_clients_of_members(xapi: "Xapi", origin: Origin) -> None:
    """Over TCP a member refuses logins, before it looks at the password, and all that needs a session."""
    if not origin.local and origin.host != xapi.master:
        raise Failure("HOST_IS_SLAVE", xapi.database.get("host", xapi.master, "address"))


def refuse_without_master(xapi: "Xapi", origin: Origin) -> None:
    """A member whose master is gone waits for it, then restarts its xapi in emergency mode: here, at once
    (xapi_globs.ml: emergency_mode_error)."""
    if origin.host != xapi.master and not xapi.reach.answers(xapi.master):
        raise Failure("HOST_STILL_BOOTING")


def make_master(xapi: "Xapi", host: str) -> None:
    """From now on this host is the master. Every xapi restarts: sessions and tasks are gone."""
    with xapi.database.lock:
        xapi.database.set("pool", xapi.pool, "master", host)
        messages.forget(xapi.database)
        forget_callers(xapi)
        for reached in filter(xapi.reach.answers, xapi.dom0s):  # one that is gone keeps what it knew
            write_pool_conf(xapi, reached)


def note_start(xapi: "Xapi", host: str) -> None:
    """Its xapi has started; real ones take longer than a second for that, so no two have one time."""
    noted = dict(xapi.database.get("host", host, "other_config"))
    noted["agent_start_time"] = f"{int(time.time()) + next(_STARTS)}."
    xapi.database.set("host", host, "other_config", noted)


def forget_callers(xapi: "Xapi") -> None:
    """Sessions, tasks and calls that wait, and what was destroyed, are in no file of xapi's: they end with
    the master's process, and a new one starts."""
    xapi.database.generations.restarted()
    note_start(xapi, xapi.master)
    for class_name in ("session", "task"):
        for ref in xapi.database.refs(class_name):
            xapi.database.destroy(class_name, ref)
    xapi.life.forget_waiting()
