"""What master and members of the lab say to each other: pickled values, and bytes that pass through."""

import pickle
import socket
import socketserver
import threading
from contextlib import contextmanager, suppress
from typing import Any, Iterator

BEATS = 8101  # UDP, of the master: a member is there, and what it is
CALLS = 8102  # TCP, of the master: a line with a member's UUID, then what a program of its dom0 says to xapi
PROGRAMS = 8103  # TCP, of a member: which of its `Programs`' functions to call, with which arguments
GUESTS = 8104  # TCP, of either: a guest comes here (guest-receive)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    request_queue_size = 128


def serve(server: socketserver.BaseServer) -> None:
    threading.Thread(target=server.serve_forever, daemon=True).start()


def say(connection: socket.socket, value: Any) -> None:
    connection.sendall(pickle.dumps(value))


def hear(stream: Any) -> Any:
    """None where the other end is gone."""
    with suppress(EOFError, pickle.UnpicklingError):
        return pickle.load(stream)


@contextmanager
def unwatched(_process: Any) -> Iterator[None]:
    """A program that nobody ends (programs.AtWork)."""
    yield


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
