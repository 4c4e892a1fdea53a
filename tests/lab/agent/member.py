"""A pool's member in its own dom0: it says that it lives, runs programs for the master, and is a way to it.

As a real member does, it takes calls at its Unix socket and has the master answer them.
"""

import os
import pickle
import socket
import socketserver
import threading
import time
from contextlib import suppress
from typing import Any

import lines
from hosts import HostDescription
from programs import HERE

BEAT_SECONDS = 1.0


class _Run(socketserver.StreamRequestHandler):
    """One request of the master."""

    def handle(self) -> None:
        wanted = lines.hear(self.rfile)
        if wanted is not None:
            lines.say(self.connection, _answer(*wanted))


def _answer(function: str, *arguments: Any) -> Any:
    try:
        return getattr(HERE, function)(*arguments)
    except OSError as error:
        return error


class _Pass(socketserver.BaseRequestHandler):
    """A program of this dom0 speaks to xapi: to the master's."""

    server: "_Door"

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection((self.server.master, lines.CALLS), 30) as master:
            master.settimeout(None)
            master.sendall(self.server.uuid.encode() + b"\n")
            lines.relay(self.request, master)


class _Door(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    master = uuid = ""


def serve(description: HostDescription, master: str, path: str) -> None:
    """Returns when everything listens; threads do the rest."""
    with suppress(FileNotFoundError):
        os.unlink(path)
    door = _Door(path, _Pass)
    door.master, door.uuid = master, description.uuid
    lines.serve(door)
    lines.serve(lines.Server(("0.0.0.0", lines.PROGRAMS), _Run))
    threading.Thread(target=_beat, args=(pickle.dumps(description), master), daemon=True).start()


def _beat(told: bytes, master: str) -> None:
    """UDP, as HA's heartbeat is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beats:
        while True:
            with suppress(OSError):  # the network is not there yet
                beats.sendto(told, (master, lines.BEATS))
            time.sleep(BEAT_SECONDS)
