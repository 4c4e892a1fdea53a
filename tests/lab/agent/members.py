"""The members of the lab's pool, as their master sees them: they come, do what it asks, and fall silent.

A new one is taken into the pool; one that is silent for `SILENT_SECONDS` is lost, and HA takes over (ha.py).
"""

import errno
import json
import os
import socket
import socketserver
import threading
import time
from base64 import b64decode, b64encode
from contextlib import suppress
from typing import Any, Callable, Dict, List, Mapping, Sequence

import ha
import lines
from hosts import HostDescription, Nic
from plugin_calls import Dom0
from programs import AtWork, Ended, Programs
from xapi import Xapi

SILENT_SECONDS = 15.0  # an emulated host may take long for a second
SOCKETS = "/run/lab-members"


class _Connection:
    """What runs there, to whoever ends it (programs.Process)."""

    left = False

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def kill(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    end = kill


class InMember(Programs):
    """The programs of a member's dom0."""

    def __init__(self, address: str) -> None:
        self._address = address

    def names(self, folder: str) -> List[str]:
        with self._connected() as connection:
            lines.say(connection, {"folder": folder})
            answer = lines.hear(connection.makefile("rb"))
        return list(self._checked(answer)["names"])

    def run(self, command: Sequence[bytes], environment: Mapping[str, str], at_work: AtWork) -> Ended:
        words = [b64encode(word).decode() for word in command]
        with self._connected() as connection:
            connection.settimeout(None)
            with at_work(_Connection(connection)):
                answer: Any = None
                with suppress(OSError):
                    lines.say(connection, {"command": words, "environment": dict(environment)})
                    answer = lines.hear(connection.makefile("rb"))
        self._checked(answer)
        return Ended(answer["status"], b64decode(answer["stdout"]), b64decode(answer["stderr"]))

    def _connected(self) -> socket.socket:
        return socket.create_connection((self._address, lines.PROGRAMS), SILENT_SECONDS)

    def _checked(self, answer: Any) -> Any:
        if answer is None:
            raise OSError(errno.ECONNRESET, f"{self._address} is gone")
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return answer


class _Calls(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


class _FromMember(socketserver.BaseRequestHandler):
    """A call from a member's dom0: at the socket where xapi knows it for that."""

    def handle(self) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as xapi:
            uuid = b""
            while not uuid.endswith(b"\n"):
                uuid += self.request.recv(1)  # not a byte of what follows
            xapi.connect(socket_of(json.loads(uuid.decode())))
            lines.relay(self.request, xapi)


def socket_of(uuid: str) -> str:
    return os.path.join(SOCKETS, uuid)


class Members:
    def __init__(self, xapi: Xapi, plugins: str, give_guests: Callable[[Xapi, str, Programs], None]) -> None:
        self._xapi = xapi
        self._plugins = plugins
        self._give_guests = give_guests
        self._seen: Dict[str, float] = {}  # reference -> when
        self._known: Dict[str, str] = {}  # UUID -> reference
        self._ha = threading.Lock()

    def listen(self) -> None:
        os.makedirs(SOCKETS, exist_ok=True)
        calls = _Calls(("0.0.0.0", lines.CALLS), _FromMember)
        threading.Thread(target=calls.serve_forever, daemon=True).start()
        beats = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        beats.bind(("0.0.0.0", lines.BEATS))
        beats.settimeout(1.0)
        threading.Thread(target=self._hear, args=(beats,), daemon=True).start()

    def _hear(self, beats: socket.socket) -> None:
        while True:
            try:
                told, (address, _) = beats.recvfrom(1 << 16)
                self._note(json.loads(told.decode()), address)
            except socket.timeout:
                pass
            now = time.monotonic()
            for host in [host for host, when in self._seen.items() if now - when > SILENT_SECONDS]:
                del self._seen[host]
                self._lose(host)

    def _note(self, told: Dict[str, Any], address: str) -> None:
        uuid = told["uuid"]
        if uuid not in self._known:
            nics = [Nic(**nic) for nic in told["nics"]]
            description = HostDescription(**{**told, "nics": nics, "address": address})
            programs = InMember(address)
            self._known[uuid] = self._xapi.add_host(
                description, Dom0(self._plugins, programs=programs), socket_of(uuid)
            )
            self._give_guests(self._xapi, self._known[uuid], programs)
            print(f"{description.name} ({uuid}) is a member now")
        host = self._known[uuid]
        if host not in self._seen and not self._xapi.reach.answers(host):
            self._xapi.find_host_again(host)
        self._seen[host] = time.monotonic()

    def _lose(self, host: str) -> None:
        print(f"{self._xapi.database.get('host', host, 'name_label')} is lost")
        self._xapi.lose_host(host)
        threading.Thread(target=self._restart, args=(host,), daemon=True).start()

    def _restart(self, host: str) -> None:
        """HA's rounds, until the host is back."""
        while not self._xapi.reach.answers(host):
            began = time.monotonic()
            with self._ha:
                print(f"HA: {ha.run_round(self._xapi)}")
            time.sleep(max(0.0, ha.ROUND - (time.monotonic() - began)))
