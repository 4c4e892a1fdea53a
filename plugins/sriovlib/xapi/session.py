"""Calls to this host's xapi, in the session of whoever called us or in one of our own."""

import copy
import socket
import time
from contextlib import contextmanager
from typing import Any, Iterator

from ..machine.host import Host
from . import jsonrpc
from .jsonrpc import NoJson, TornAnswer, XapiFailure

__all__ = ["CONNECTION_FAILS", "SECONDS", "SOCKET", "OwnSession", "Xapi", "XapiFailure", "logged_in"]

SOCKET = "/var/lib/xcp/xapi"
SECONDS = 60  # for all that one call of ours asks of xapi

# What a connection raises and no file does; where there is no socket it is FileNotFoundError without a name.
# A listener that takes no more of them is BlockingIOError.
CONNECTION_FAILS = (ConnectionError, BlockingIOError, socket.timeout, NoJson, TornAnswer)


class Xapi:
    """One session with xapi, for `seconds`. Calls go as JSON-RPC over the Unix socket: Python reads the
    records of 2,000 VMs forty times as fast as from XML. Where there is no such door, as XML-RPC by the
    `XenAPI.Session` that XenAPIPlugin gave us."""

    def __init__(self, host: Host, session: Any, seconds: float = SECONDS) -> None:
        self._path = host.path(SOCKET)
        self._session = session
        self._deadline = time.monotonic() + seconds

    def renewed(self) -> "Xapi":
        """The same session with all its time before it, for what must be done even when time is up."""
        again = copy.copy(self)
        again._deadline = time.monotonic() + SECONDS
        return again

    def call(self, method: str, *params: Any) -> Any:
        """The result of an API call; XapiFailure, or what the connection raises (OSError and others)."""
        try:
            return jsonrpc.call(self._path, method, [self._session._session, *params], self._deadline)
        except (NoJson, FileNotFoundError, ConnectionRefusedError):
            if isinstance(self._session, OwnSession):
                raise
        return self._by_xml(method, params)

    def _by_xml(self, method: str, params: Any) -> Any:
        try:
            return self._session.xenapi_request(method, params)
        except Exception as error:
            details = getattr(error, "details", None)  # XenAPI.Failure, which takes long to import
            if isinstance(details, list):
                raise XapiFailure(details) from error
            raise


class OwnSession:
    """A session that was made by JSON-RPC: `Xapi` takes it in the place of a `XenAPI.Session`."""

    def __init__(self, reference: str) -> None:
        self._session = reference


@contextmanager
def logged_in(host: Host, seconds: float = SECONDS) -> Iterator[Any]:
    """A session of our own over xapi's Unix socket, as root of this host, until the end. Raises what the
    connection raises, or XapiFailure. XenAPI is imported only where xapi knows no JSON-RPC: that takes
    longer than all the rest."""
    deadline = time.monotonic() + seconds
    user = ["root", "", "1.0", "xapi-sriov"]
    try:
        made = jsonrpc.call(host.path(SOCKET), "session.login_with_password", user, deadline)
    except NoJson:
        import XenAPI

        session = XenAPI.xapi_local()
        try:
            session.xenapi.login_with_password(*user)
        except Exception as error:  # the client's errors have no common class
            raise ConnectionError(str(error)) from error
        try:
            yield session
        finally:
            session.logout()
        return
    try:
        yield OwnSession(made)
    finally:
        try:
            jsonrpc.call(host.path(SOCKET), "session.logout", [made], deadline)
        except (OSError, XapiFailure):
            pass  # xapi ends sessions that nobody uses
