"""How a workstation reaches a pool: a session of its master, over connections whose certificates are checked.

A member says who its master is (HOST_IS_SLAVE, xen-api: ocaml/xapi/pool_role.ml) and the master's certificate
is looked at like any other. Nothing is sent to a host before its certificate was.
"""

import http.client
import ipaddress
import select
import xmlrpc.client
from typing import Any, Dict, Optional, Tuple

from sriovlib.safetext import safe

from . import password, settings, tls, trust
from .client import Client
from .connection import Connection, Opened, Remote, answered
from .errors import Failed, Unreachable, Usage, XapiFailed, of_xapi
from .settings import Address, Target

_MOST_MASTERS = 3  # that are followed: a pool in the middle of a change of masters may point in circles
_ORIGINATOR = "sriovctl"


def connect(client: Client) -> Connection:
    """Logged in; raises Failed."""
    return Remote(Login(client, settings.target(client.options)))


class Login:
    """Logs in, as often as the pool asks for it: sessions end when the master's xapi restarts."""

    def __init__(self, client: Client, target: Target, word: Optional[str] = None) -> None:
        self._client = client
        self._target = target
        self._password = word
        self._accepted: Dict[Address, Optional[tls.Accepted]] = {}  # None: without TLS
        self._address = target.address  # the master, once it is known

    def __call__(self) -> Opened:
        seen = [self._address]
        while True:
            try:
                return self._log_in(self._address)
            except XapiFailed as failure:
                if failure.details[0] != "HOST_IS_SLAVE" or len(failure.details) < 2:
                    raise of_xapi(failure.details, f"the xapi at {self._address}") from failure
                self._address = _master(self._target.address, failure.details[1])
            except Failed:
                if self._address == self._target.address:
                    raise
                # The master that was known may be gone: whom the named host follows now counts.
                if self._target.address in seen:
                    raise
                self._address = self._target.address
            if self._address in seen or len(seen) > _MOST_MASTERS:
                said = ", ".join(map(str, [*seen, self._address]))
                raise Failed(
                    "NO_MASTER",
                    f"These hosts each say that another is the pool's master: {said}.",
                    "The pool may be changing its master: call again in a minute.",
                )
            seen.append(self._address)

    def _log_in(self, address: Address) -> Opened:
        import XenAPI

        accepted = self._certificates(address)
        if self._password is None:
            self._password = password.password(self._target, self._client.options, self._client.warn)

        def session() -> Any:
            transport = Transport(address, accepted, self._client.longest)
            return XenAPI.Session(address.url, transport=transport)

        first, word = session(), self._password
        try:
            answered(lambda: first.login_with_password(self._target.user, word, "1.0", _ORIGINATOR))
            first.last_login_method = None  # or it would log in by itself again, once a connection
            return Opened(first._session, session, first)
        except Unreachable as error:
            first("close")()
            raise Failed(
                "NO_ANSWER",
                f"The xapi of {address} does not answer: {safe(str(error))}.",
                "In that host's dom0: `systemctl status xapi`.",
            ) from error
        except BaseException:
            first("close")()
            raise

    def _certificates(self, address: Address) -> Optional[tls.Accepted]:
        """None where the connection has none. What was accepted once counts until this process ends, and
        each connection is held against it."""
        if address not in self._accepted:
            if address.scheme == "https":
                self._accepted[address] = trust.accepted(self._client, self._target, address)
            else:
                self._accepted[address] = None
                if not _is_this_machine(address.host):
                    self._client.warn(f"Password and all else go to {address} unencrypted.")
        return self._accepted[address]


def _master(named: Address, address: str) -> Address:
    """xapi tells the bare address of the master's management interface: it listens there at the usual port,
    without TLS only where the person has written http:// for the host that she named."""
    try:
        return settings.address(f"{named.scheme}://{address}")
    except Usage as error:
        raise Failed("NO_MASTER", f"{named} names no master: `{safe(address)}`.", "") from error


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Transport(xmlrpc.client.Transport):
    """One HTTP connection that stays open, as XML-RPC uses it."""

    def __init__(self, address: Address, accepted: Optional[tls.Accepted], seconds: float) -> None:
        super().__init__()
        self._address = address
        self._accepted = accepted
        self._seconds = seconds
        self._open: Optional[http.client.HTTPConnection] = None

    def make_connection(self, _host: Any) -> http.client.HTTPConnection:
        """A new one in place of one that xapi has closed meanwhile: it does so after ten idle seconds
        (xen-api: ocaml/xapi/xapi_globs.ml, header_read_timeout_tcp)."""
        if self._open is not None and _is_closed(self._open):
            self.close()
        if self._open is None:
            if self._accepted is None:
                self._open = tls.ClearConnection(self._address, self._seconds)
            else:
                self._open = tls.Connection(self._address, self._accepted, self._seconds)
        self._extra_headers: Any = []
        return self._open

    def request(self, host: Any, handler: str, request_body: Any, verbose: bool = False) -> Any:
        """Once: the standard library's sends a request again whose connection broke, and xapi may have done
        the first already. What assigns a VF must not be done twice."""
        return self.single_request(host, handler, request_body, verbose)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _is_closed(connection: http.client.HTTPConnection) -> bool:
    """Whether the other end has hung up: nothing but that can be read between two requests."""
    sock = connection.sock
    if sock is None:
        return False  # it connects when it is used
    readable: Tuple[Any, ...] = select.select([sock], [], [], 0)
    return bool(readable[0])
