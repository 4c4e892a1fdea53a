"""A pool's member in its own dom0: it says that it lives, runs programs for the master, and is a way to it.

As a real member does, it takes calls at its Unix socket and has the master answer them.
"""

import errno
import os
import socket
import socketserver
import threading
import time
from base64 import b64decode, b64encode
from contextlib import contextmanager, suppress
from typing import Any, Dict, Iterator

import lines
from hosts import HostDescription
from programs import HERE

BEAT_SECONDS = 1.0


class _Run(socketserver.StreamRequestHandler):
    """One request of the master: the names in a folder, or a program to run."""

    def handle(self) -> None:
        wanted = lines.hear(self.rfile)
        if wanted is not None:
            lines.say(self.connection, _answer(wanted))


def _answer(wanted: Dict[str, Any]) -> Dict[str, Any]:
    if "folder" in wanted:
        return {"names": HERE.names(wanted["folder"])}
    command = [b64decode(word) for word in wanted["command"]]
    try:
        ended = HERE.run(command, wanted["environment"], _unwatched)
    except OSError as error:
        return {"errno": error.errno or errno.EIO}
    stdout, stderr = (b64encode(text).decode() for text in (ended.stdout, ended.stderr))
    return {"status": ended.status, "stdout": stdout, "stderr": stderr}


@contextmanager
def _unwatched(_process: Any) -> Iterator[None]:
    yield


class _Pass(socketserver.BaseRequestHandler):
    """A program of this dom0 speaks to xapi: to the master's."""

    server: "_Door"

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection((self.server.master, lines.CALLS), 30) as master:
            master.settimeout(None)
            lines.say(master, self.server.uuid)
            lines.relay(self.request, master)


class _Door(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    master = uuid = ""


class _Programs(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True


def serve(description: HostDescription, master: str, path: str) -> None:
    """Returns when everything listens; threads do the rest."""
    with suppress(FileNotFoundError):
        os.unlink(path)
    door = _Door(path, _Pass)
    door.master, door.uuid = master, description.uuid
    programs = _Programs(("0.0.0.0", lines.PROGRAMS), _Run)
    for server in (door, programs):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=_beat, args=(description, master), daemon=True).start()


def _beat(description: HostDescription, master: str) -> None:
    """UDP, as HA's heartbeat is."""
    nics = [nic._asdict() for nic in description.nics]
    told = lines.datagram({**description._asdict(), "nics": nics})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beats:
        while True:
            with suppress(OSError):  # the network is not there yet
                beats.sendto(told, (master, lines.BEATS))
            time.sleep(BEAT_SECONDS)
