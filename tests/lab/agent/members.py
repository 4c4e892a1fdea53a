"""The members of the lab's pool, as their master sees them: they come, do what it asks, and fall silent.

A new one is taken into the pool; one that is silent for `SILENT_SECONDS` is lost, and HA takes over (ha.py).
"""

import errno
import os
import pickle
import socket
import socketserver
import threading
import time
from contextlib import suppress
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

import ha
import lines
import reboots
from hosts import HostDescription
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
        return list(self._ask(SILENT_SECONDS, lines.unwatched, "names", folder))

    def run(self, command: Sequence[bytes], environment: Mapping[str, str], at_work: AtWork) -> Ended:
        ended = self._ask(None, at_work, "run", list(command), dict(environment), lines.unwatched)
        return Ended(*ended)

    def _ask(self, seconds: Optional[float], at_work: AtWork, *wanted: Any) -> Any:
        answer: Any = None
        with socket.create_connection((self._address, lines.PROGRAMS), SILENT_SECONDS) as connection:
            connection.settimeout(seconds)
            with at_work(_Connection(connection)), suppress(OSError):
                lines.say(connection, wanted)
                answer = lines.hear(connection.makefile("rb"))
        if answer is None:
            raise OSError(errno.ECONNRESET, f"{self._address} is gone")
        if isinstance(answer, OSError):
            raise answer
        return answer


class _FromMember(socketserver.BaseRequestHandler):
    """A call from a member's dom0: at the socket where xapi knows it for that."""

    def handle(self) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as xapi:
            uuid = b""
            while not uuid.endswith(b"\n"):
                uuid += self.request.recv(1)  # not a byte of what follows
            xapi.connect(socket_of(uuid.decode().strip()))
            lines.relay(self.request, xapi)


def socket_of(uuid: str) -> str:
    return os.path.join(SOCKETS, uuid)


class Members:
    """`known` are those of a pool whose master has rebooted: UUID -> reference."""

    def __init__(
        self,
        xapi: Xapi,
        plugins: str,
        give_guests: Callable[[Xapi, str, Programs], None],
        known: Mapping[str, str],
    ) -> None:
        self._xapi = xapi
        self._plugins = plugins
        self._give_guests = give_guests
        self._seen: Dict[str, float] = {}  # reference -> when
        self._known = dict(known)  # UUID -> reference
        self._ha = threading.Lock()

    def listen(self) -> None:
        os.makedirs(SOCKETS, exist_ok=True)
        lines.serve(lines.Server(("0.0.0.0", lines.CALLS), _FromMember))
        beats = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        beats.bind(("0.0.0.0", lines.BEATS))
        beats.settimeout(1.0)
        threading.Thread(target=self._hear, args=(beats,), daemon=True).start()

    def _hear(self, beats: socket.socket) -> None:
        while True:
            try:
                told, (address, _) = beats.recvfrom(1 << 16)
                self._note(pickle.loads(told)._replace(address=address))
            except socket.timeout:
                pass
            now = time.monotonic()
            for host in [host for host, when in self._seen.items() if now - when > SILENT_SECONDS]:
                del self._seen[host]
                self._lose(host)

    def _note(self, description: HostDescription) -> None:
        uuid = description.uuid
        if self._known.get(uuid) not in self._xapi.dom0s:
            self._meet(description)
        host = self._known[uuid]
        if host not in self._seen and not self._xapi.reach.answers(host):
            reboots.is_up(self._xapi, host)
            self._xapi.find_host_again(host)
        self._seen[host] = time.monotonic()

    def _meet(self, description: HostDescription) -> None:
        """The first beat that this agent hears of a member."""
        uuid, programs = description.uuid, InMember(description.address)
        dom0 = Dom0(self._plugins, programs=programs)
        if uuid in self._known:
            self._xapi.replace_host(self._known[uuid], dom0, socket_of(uuid))
        else:
            self._known[uuid] = self._xapi.add_host(description, dom0, socket_of(uuid))
        self._give_guests(self._xapi, self._known[uuid], programs)
        print(f"{description.name} ({uuid}) is a member now")

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
