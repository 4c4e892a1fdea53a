"""dom0's own way to xapi: its Unix socket, as root, without a password.

On a member xapi hands what comes there on to the master (xen-api: ocaml/xapi/api_server.ml, callback1), so
any host of a pool will do.
"""

import os
import time
from contextlib import ExitStack
from typing import Any

from sriovlib.machine.host import this_machine
from sriovlib.xapi import session

from .connection import CHANGE_SECONDS, Connection
from .errors import Failed, Unreachable, XapiFailed


def is_dom0() -> bool:
    return os.path.exists(this_machine().path("/etc/xensource-inventory"))


class Local(Connection):
    """`seconds` is what a call may take at most."""

    def __init__(self, seconds: float = CHANGE_SECONDS) -> None:
        host = this_machine()
        self._path = host.path(session.SOCKET)
        self._seconds = seconds
        self._held = ExitStack()
        try:
            self._reference = self._held.enter_context(session.logged_in(host)).reference
        except session.XapiError as error:
            raise Failed(
                "NO_XAPI",
                f"xapi of this host gives no session: {error}.",
                "Check that the toolstack runs (`systemctl status xapi`), then call again.",
            ) from error

    def call(self, method: str, *params: Any) -> Any:
        deadline = time.monotonic() + self._seconds
        try:
            return session.call_json(self._path, method, [self._reference, *params], deadline)
        except session.XapiFailure as failure:
            raise XapiFailed(failure.details) from failure
        except session.XapiError as error:
            raise Unreachable(str(error)) from error

    def close(self) -> None:
        self._held.close()
