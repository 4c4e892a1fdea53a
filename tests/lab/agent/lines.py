"""What master and members of the lab say to each other: one JSON text a line, and bytes that pass through."""

import json
import socket
import threading
from contextlib import suppress
from typing import Any

BEATS = 8101  # UDP, of the master: a member is there, and what it is
CALLS = 8102  # TCP, of the master: a member's UUID, then what a program of its dom0 says to xapi
PROGRAMS = 8103  # TCP, of a member: a program to be run in its dom0


def datagram(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def say(connection: socket.socket, value: Any) -> None:
    connection.sendall(datagram(value))


def hear(stream: Any) -> Any:
    """None where the other end is gone."""
    line = stream.readline()
    return json.loads(line.decode()) if line.endswith(b"\n") else None


def relay(one: socket.socket, other: socket.socket) -> None:
    """Passes on what either says, until both have ended."""
    back = threading.Thread(target=_pass_on, args=(other, one), daemon=True)
    back.start()
    _pass_on(one, other)
    back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        data = source.recv(1 << 16)
        while data:
            target.sendall(data)
            data = source.recv(1 << 16)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
