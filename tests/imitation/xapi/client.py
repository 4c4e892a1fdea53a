"""XML-RPC to a xapi, over TCP or a Unix socket, with the standard library alone."""

import http.client
import socket
import xmlrpc.client
from typing import Any

from values import Failure

DOM0_SOCKET = "/var/lib/xcp/xapi"  # where programs of dom0 find the real one


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the Unix socket of this path."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = self._connection[1] or UnixConnection(self._path)
        self._connection = host, connection
        return connection


class Client:
    """A session; calls raise Failure."""

    def __init__(self, address: str, user: str, password: str, originator: str) -> None:
        """`address` is a url, or the path of a Unix socket."""
        local = address.startswith("/")
        transport = _UnixTransport(address) if local else None
        self._proxy = xmlrpc.client.ServerProxy("http://localhost" if local else address, transport)
        self.session = ""
        self.session = self._request("session.login_with_password", user, password, "1.0", originator)

    def call(self, method: str, *params: Any) -> Any:
        return self._request(method, self.session, *params)

    def _request(self, method: str, *params: Any) -> Any:
        answer: Any = getattr(self._proxy, method)(*params)
        if answer["Status"] != "Success":
            raise Failure(*answer["ErrorDescription"])
        return answer["Value"]

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_exception: Any) -> None:
        try:
            self.call("session.logout")
        finally:
            self._proxy("close")()
