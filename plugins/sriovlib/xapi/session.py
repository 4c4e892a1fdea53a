"""Calls to this host's xapi, in the session of whoever called us or in one of our own.

They go as JSON-RPC over xapi's Unix socket: Python reads the records of 2,000 VMs forty times as fast as
from XML. By a plain socket, as http.client takes longer to import than most calls take; and by Python's own
`_socket`, as `socket` takes a sixth of the time of a program that makes one call.
"""

import json
import time
from _socket import AF_UNIX, SOCK_STREAM, socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..machine.host import Host
from .own_session import OwnSession

if TYPE_CHECKING:
    from .arriving import Arriving

SOCKET = "/var/lib/xcp/xapi"
SECONDS = 60  # for all that one call of ours asks of xapi
PIECE = 1 << 16  # bytes, of an answer that is not to be in memory as a whole
_CUT_OFF = "xapi's answer was cut off"
_HEAD = (
    "POST {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    "Content-Type: {}\r\nContent-Length: {}\r\n\r\n"
)


class XapiError(Exception):
    """A call to xapi has no result: XapiFailure or XapiSilent. What the files of this host fail with is
    neither."""


class XapiFailure(XapiError):
    """What xapi answered instead of a result: a code and its details, `details[0]` the code."""

    def __init__(self, details: List[str]) -> None:
        super().__init__(*details)
        self.details = details

    def __str__(self) -> str:
        return " ".join(str(detail) for detail in self.details)


class XapiSilent(XapiError):
    """No answer: no connection, none in time, one that was cut off, or that is no answer of xapi's."""


class Xapi:
    """One session with xapi, for `seconds`."""

    def __init__(self, host: Host, session: OwnSession, seconds: float = SECONDS) -> None:
        self._path = host.path(SOCKET)
        self._session = session
        self._deadline = time.monotonic() + seconds

    def renewed(self, seconds: float = SECONDS) -> "Xapi":
        """The same session with all this time before it, for what must be done even when time is up."""
        again = type(self).__new__(type(self))
        again.__dict__.update(self.__dict__, _deadline=time.monotonic() + seconds)
        return again

    def call(self, method: str, *params: Any) -> Any:
        """The result of an API call, or XapiError."""
        return call_json(self._path, method, [self._session.reference, *params], self._deadline)

    def call_for_each(self, member: str, take: Callable[[Any], object], method: str, *params: Any) -> Any:
        """As `call`, for a result that is a struct: without its array `member`, each element of which `take`
        gets as it arrives, so that they need not all be in memory."""
        request = json_rpc(method, [self._session.reference, *params])
        with _answer(self._path, "/jsonrpc", "application/json", request, self._deadline) as answer:
            return _result(method, answer.code, lambda: answer.text().struct("result", member, take))


@contextmanager
def logged_in(host: Host, seconds: float = SECONDS) -> Iterator[OwnSession]:
    """A session of our own over xapi's Unix socket, as root of this host, until the end; XapiError where
    there is none."""
    deadline = time.monotonic() + seconds
    session = log_in(host, seconds)
    try:
        yield session
    finally:
        log_out(host, session, deadline - time.monotonic())


def log_in(host: Host, seconds: float) -> OwnSession:
    """A session that goes on until somebody ends it; XapiError where there is none."""
    user = ["root", "", "1.0", "xapi-sriov"]
    deadline = time.monotonic() + seconds
    return OwnSession(call_json(host.path(SOCKET), "session.login_with_password", user, deadline))


def log_out(host: Host, session: OwnSession, seconds: float) -> None:
    """What fails does not matter: xapi ends sessions that nobody uses."""
    try:
        call_json(host.path(SOCKET), "session.logout", [session.reference], time.monotonic() + seconds)
    except XapiError:
        pass


def call_json(path: str, method: str, params: Sequence[Any], deadline: float) -> Any:
    """The result of an API call, at `deadline` (of time.monotonic) at the latest, or XapiError."""
    with _answer(path, "/jsonrpc", "application/json", json_rpc(method, params), deadline) as answer:
        return answer.result(method)


def json_rpc(method: str, params: Sequence[Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, "id": 1, "params": params}).encode()


def _result(method: str, status: int, read: Callable[[], Any]) -> Any:
    try:
        answer = read()
        failure = answer.get("error")
        if not failure:
            return answer["result"]
        details = [str(detail) for detail in (failure["message"], *failure.get("data", []))]
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as wrong:
        raise XapiSilent(f"xapi answered {method} with HTTP status {status} and no result") from wrong
    raise XapiFailure(details)


def post(path: str, target: str, content_type: str, body: bytes, deadline: float) -> Tuple[int, bytes]:
    """HTTP status and body of what xapi answers at `deadline` at the latest, or XapiSilent."""
    with _answer(path, target, content_type, body, deadline) as answer:
        return answer.code, answer.body()


class _Answer(NamedTuple):
    """A response whose body has yet to be read; xapi names the length of each (xen-api:
    ocaml/libs/http-lib)."""

    code: int
    length: int
    stream: "_Stream"

    def pieces(self, size: int) -> Iterator[bytes]:
        left = self.length
        while left:
            piece = self.stream.read(min(size, left))
            if not piece:
                raise XapiSilent(_CUT_OFF)
            left -= len(piece)
            yield piece

    def body(self) -> bytes:
        return b"".join(self.pieces(self.length))

    def result(self, method: str) -> Any:
        """Of an API call."""
        content = self.body()
        return _result(method, self.code, lambda: json.loads(content.decode()))

    def text(self) -> "Arriving":
        from .arriving import Arriving  # few calls have an answer that is long

        return Arriving(self.pieces(PIECE))


@contextmanager
def _answer(path: str, target: str, content_type: str, body: bytes, deadline: float) -> Iterator[_Answer]:
    """What xapi answers at `deadline` at the latest, or XapiSilent."""
    with errors_as_silence():
        connection = send(path, target, content_type, body, deadline)
        try:
            yield answer_on(connection)
        finally:
            connection.close()


@contextmanager
def errors_as_silence() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise XapiSilent(str(error) or type(error).__name__) from error


def send(path: str, target: str, content_type: str, body: bytes, deadline: float) -> socket:
    """The connection on which the answer comes; raises OSError."""
    connection = socket(AF_UNIX, SOCK_STREAM)
    set_deadline(connection, deadline)
    try:
        connection.connect(path)
        connection.sendall(_HEAD.format(target, content_type, len(body)).encode() + body)
    except BaseException:
        connection.close()
        raise
    return connection


def set_deadline(connection: socket, deadline: float) -> None:
    """Each step takes no longer than until then, if it is not over yet."""
    connection.settimeout(max(deadline - time.monotonic(), 0.1))


class _Stream:
    """What comes over a connection."""

    def __init__(self, connection: socket) -> None:
        self._connection = connection
        self._unread = b""

    def readline(self) -> bytes:
        more = b"first"
        while more and b"\n" not in self._unread:
            more = self._connection.recv(PIECE)
            self._unread += more
        line, end, self._unread = self._unread.partition(b"\n")
        return line + end

    def read(self, most: int) -> bytes:
        """Nothing only at the end."""
        if not self._unread:
            return self._connection.recv(min(most, 4 * PIECE))
        found, self._unread = self._unread[:most], self._unread[most:]
        return found


def answer_on(connection: socket) -> _Answer:
    stream = _Stream(connection)
    status = stream.readline().split()
    length: Optional[int] = 0
    line = stream.readline()
    while line.strip():
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = _number(value)
        line = stream.readline()
    code = _number(status[1]) if len(status) > 1 else None
    if code is None or length is None:
        raise XapiSilent(_CUT_OFF)
    return _Answer(code, length, stream)


def _number(digits: bytes) -> Optional[int]:
    """A number of HTTP's, of a size that there is; None for anything else."""
    found = digits.strip()
    return int(found) if found.isdigit() and len(found) <= 15 else None
