#!/usr/bin/env python3
"""An imitation of xapi: one pool's database, and its calls over XML-RPC and JSON-RPC.

In a process, `with Xapi() as xapi: ... xapi.url`; as a program, the xapi of the machine that it runs on.
What a call does is in the modules whose tables of calls are joined here; later kinds of calls are further
tables. Python 3.6 and its standard library are all that it needs, so it runs in a real dom0 too.
"""

import argparse
import signal
import threading
from typing import Any, Dict, List, Optional, Tuple

import objects
import plugin_calls
import sessions
import tasks
from calls import Calls, Origin
from database import Database, new_ref
from dispatch import answer
from hosts import HostDescription, add_host, describe_this_machine
from plugin_calls import Dom0
from server import Server


class Xapi:
    """A pool. Its hosts are added one by one, the master first; then it can be listened for."""

    def __init__(self, password: str = "password") -> None:
        self.password = password  # root's, asked for over TCP
        self.database = Database()
        self.dom0s: Dict[str, Dom0] = {}
        self.calls: Calls = {**objects.CALLS, **sessions.CALLS, **tasks.CALLS, **plugin_calls.CALLS}
        self.url = ""
        self._server = Server(self)

    def add_host(self, description: HostDescription, dom0: Dom0, socket: Optional[str] = None) -> str:
        """A host more, with the Unix socket that its dom0 reaches xapi by; its reference."""
        ref = new_ref()
        self.dom0s[ref] = dom0
        add_host(self.database, description, ref)
        if socket is not None:
            self._server.listen_unix(socket, ref)
        return ref

    @property
    def master(self) -> str:
        (pool,) = self.database.refs("pool")
        return str(self.database.get("pool", pool, "master"))

    def is_live(self, host: str) -> bool:
        if host not in self.dom0s:
            return False
        metrics = self.database.get("host", host, "metrics")
        return bool(self.database.get("host_metrics", metrics, "live"))

    def call(self, method: str, *params: Any) -> Any:
        """A call of the API from inside, in root's name; raises Failure."""
        origin = Origin(self.master, local=True)
        session = answer(self, origin, "session.login_with_password", ["root", ""])
        try:
            return answer(self, origin, method, [session, *params])
        finally:
            answer(self, origin, "session.logout", [session])

    def listen(self, address: Tuple[str, int] = ("127.0.0.1", 0)) -> str:
        """Serves the master's clients over TCP; the url."""
        self.url = self._server.listen_tcp(address, self.master)
        return self.url

    def close(self) -> None:
        self._server.close()

    def __enter__(self) -> "Xapi":
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.close()


def main(arguments: Optional[List[str]] = None) -> None:
    parser = argparse.ArgumentParser(description="The xapi of this machine, imitated.")
    parser.add_argument("--tcp", default="127.0.0.1:0", metavar="ADDRESS:PORT", help="port 0: any free one")
    parser.add_argument("--unix", metavar="SOCKET", help="where programs of dom0 reach it")
    parser.add_argument("--plugins", default="/etc/xapi.d/plugins", metavar="FOLDER")
    parser.add_argument("--inventory", default="/etc/xensource-inventory", metavar="FILE")
    parser.add_argument("--password", default="password", help="root's, over TCP")
    options = parser.parse_args(arguments)
    address, _, port = options.tcp.rpartition(":")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with Xapi(options.password) as xapi:
        xapi.add_host(describe_this_machine(options.inventory), Dom0(options.plugins), options.unix)
        print(xapi.listen((address, int(port))), flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
