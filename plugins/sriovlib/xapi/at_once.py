"""Calls to xapi that are under way at the same time, in one thread: each has a connection of its own, and
answers are taken as they come."""

import select
import time
from _socket import socket
from typing import Any, Dict, Iterator, List, Tuple

from ..machine.host import Host
from .own_session import OwnSession
from .session import (
    SOCKET,
    XapiError,
    XapiSilent,
    answer_on,
    errors_as_silence,
    json_rpc,
    send,
    set_deadline,
)

_TIMED_OUT = "timed out"  # as the system says it of one call


class Calls:
    """Calls in one session, all of which have `seconds` from now on. Each has a name of whoever makes it.
    `with` gives up those that are not answered at its end."""

    def __init__(self, host: Host, session: OwnSession, seconds: float) -> None:
        self._path = host.path(SOCKET)
        self._session = session
        self._deadline = time.monotonic() + seconds
        self._under_way: Dict[int, Tuple[str, str, socket]] = {}  # by descriptor: name, method, connection
        self._failed: List[Tuple[str, XapiError]] = []

    def make(self, name: str, method: str, *params: Any) -> None:
        """The call is sent; what becomes of it, `answers` says."""
        body = json_rpc(method, [self._session.reference, *params])
        try:
            if time.monotonic() > self._deadline:
                raise XapiSilent(_TIMED_OUT)
            with errors_as_silence():
                connection = send(self._path, "/jsonrpc", "application/json", body, self._deadline)
            self._under_way[connection.fileno()] = name, method, connection
        except XapiError as error:
            self._failed.append((name, error))

    def answers(self) -> Iterator[Tuple[str, Any]]:
        """The name of each call, and its result or the XapiError that it ended with. What has come counts
        even when time is up."""
        waiting = select.poll()
        for descriptor in self._under_way:
            waiting.register(descriptor, select.POLLIN)
        yield from self._failed
        while self._under_way:
            left = max(self._deadline - time.monotonic(), 0)
            ready = waiting.poll(left * 1000)
            for descriptor, _events in ready:
                waiting.unregister(descriptor)
                yield self._taken(descriptor)
            if not ready:
                break
        for name, _method, _connection in self._under_way.values():
            yield name, XapiSilent(_TIMED_OUT)

    def __enter__(self) -> "Calls":
        return self

    def __exit__(self, *_exception: object) -> None:
        for _name, _method, connection in self._under_way.values():
            connection.close()

    def _taken(self, descriptor: int) -> Tuple[str, Any]:
        name, method, connection = self._under_way.pop(descriptor)
        try:
            set_deadline(connection, self._deadline)
            with errors_as_silence():
                return name, answer_on(connection).result(method)
        except XapiError as error:
            return name, error
        finally:
            connection.close()
