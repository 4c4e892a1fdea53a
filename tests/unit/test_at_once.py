"""Calls that are under way at the same time: each has its own answer, whatever becomes of the others."""

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import pytest
from answering_socket import with_body
from sriovlib.machine.host import Host
from sriovlib.xapi.at_once import Calls
from sriovlib.xapi.own_session import OwnSession
from sriovlib.xapi.session import SOCKET, XapiFailure, XapiSilent


class Xapi:
    """Answers each call by its first parameter: with the bytes that `said` has for it, when all of `together`
    were made; never where it has None."""

    def __init__(self, root: str, said: Dict[str, Optional[bytes]]) -> None:
        self._said = said
        self._made = threading.Barrier(len(said))
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._silent: List[socket.socket] = []
        path = Path(root + SOCKET)
        path.parent.mkdir(parents=True)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._threads = [threading.Thread(target=self._serve) for _ in said]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection.makefile("rb") as stream:
            head = b"".join(iter(stream.readline, b"\r\n"))
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            name = json.loads(stream.read(length))["params"][1]
        self._made.wait()
        said = self._said[name]
        if said is None:
            self._silent.append(connection)
            return
        with connection:
            connection.sendall(said)

    def close(self) -> None:
        for thread in self._threads:
            thread.join()
        for connection in [self._listener, *self._silent]:
            connection.close()


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Any]:
    opened: List[Xapi] = []

    def all_of(said: Dict[str, Optional[bytes]]) -> Dict[str, Any]:
        """Time is up when all that come have come."""
        opened.append(Xapi(str(tmp_path), said))
        comes, found = sum(text is not None for text in said.values()), {}
        with Calls(Host(str(tmp_path)), OwnSession("session"), 60) as calls:
            for name in said:
                calls.make(name, "host.call_plugin", name)
            for name, answer in calls.answers():
                found[name] = answer
                if len(found) == comes:
                    calls._deadline = time.monotonic()
        return found

    yield all_of
    for xapi in opened:
        xapi.close()


def result(value: str) -> bytes:
    return with_body(json.dumps({"jsonrpc": "2.0", "result": value, "id": 1}))


def test_all_are_under_way_before_one_is_answered(ask: Any) -> None:
    """Else the barrier of the answering threads would not open."""
    said = {f"host{number}": result(f"of {number}") for number in range(20)}
    assert ask(said) == {f"host{number}": f"of {number}" for number in range(20)}


def test_one_that_fails_breaks_off_or_is_silent_costs_no_other(ask: Any) -> None:
    refused = with_body(json.dumps({"error": {"code": 1, "message": "HOST_OFFLINE", "data": ["x"]}, "id": 1}))
    long = result("x" * 10**6)
    said = {"off": refused, "cut": long[:-9], "never": None, "none": b"", "fine": result("7"), "long": long}
    found = ask(said)
    assert (found["fine"], found["long"]) == ("7", "x" * 10**6)
    assert isinstance(found["off"], XapiFailure)
    assert found["off"].details == ["HOST_OFFLINE", "x"]
    for name in ("cut", "never", "none"):
        assert isinstance(found[name], XapiSilent)
    assert str(found["never"]) == "timed out"


def test_nobody_listens(tmp_path: Path) -> None:
    calls = Calls(Host(str(tmp_path)), OwnSession("session"), 60)
    calls.make("host1", "host.call_plugin")
    ((name, error),) = calls.answers()
    assert name == "host1"
    assert isinstance(error, XapiSilent)
    assert list(Calls(Host(str(tmp_path)), OwnSession("session"), 60).answers()) == []


def test_what_came_in_time_counts_when_time_is_up(tmp_path: Path) -> None:
    """As where this host's own inventory took longest."""
    xapi = Xapi(str(tmp_path), {"host1": result("7")})
    calls = Calls(Host(str(tmp_path)), OwnSession("session"), 60)
    calls.make("host1", "host.call_plugin", "host1")
    xapi.close()
    calls._deadline = time.monotonic() - 1
    assert dict(calls.answers()) == {"host1": "7"}
    calls.make("host2", "host.call_plugin", "host2")
    assert str(dict(calls.answers())["host2"]) == "timed out"


def test_where_nobody_takes_the_answers_the_connections_are_closed(tmp_path: Path) -> None:
    xapi = Xapi(str(tmp_path), {"host1": None})
    with Calls(Host(str(tmp_path)), OwnSession("session"), 60) as calls:
        calls.make("host1", "host.call_plugin", "host1")
        ((_, _, connection),) = calls._under_way.values()
    xapi.close()
    assert connection.fileno() == -1
