"""A third machine on the wire of two hosts, which pings one guest ten times a second and notes what is lost.

It is no emulated host but a thread of the story, so it has its time from this machine and takes none from the
hosts. Its table of neighbours is like Linux's (net/ipv4/arp.c, net/core/neighbour.c): it believes
what a guest announces, and else sends to the MAC that it knows. It asks anew only when nothing has been
answered for as long as Linux takes to doubt (delay_first_probe_time 5 s, three unicast probes of 1 s).
"""

import os
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Dict, List, NamedTuple, Optional, Tuple

from lab.qemu import Wire

EVERY = 0.1
LOST_AFTER = 3.0  # seconds without an answer
ASKS_AGAIN_AFTER = 8.0
LOCKED = 1.0  # seconds that an entry is not changed after a change, but for who announces himself
LOOKS_UP_EVERY = 1.0  # seconds until a port on which nothing moves is left, if this is the end

ALL = b"\xff" * 6
MAC = bytes.fromhex("0216eefe0001")
IP, ARP = 0x0800, 0x0806
REQUEST, REPLY = 1, 2
ECHO, ECHO_REPLY = 8, 0


class Ping(NamedTuple):
    sent: float  # time.monotonic
    took: Optional[float] = None  # seconds; None: it is lost, or not answered yet
    mac: str = ""  # who answered


class Gap(NamedTuple):
    """Pings lost one after the other. `before` and `after` are the MACs that answered then."""

    lost: int
    before: str
    after: str
    began: float


class Peer:
    def __init__(self, wire: Wire, own: str, guest: str) -> None:
        """Both are IPv4 addresses."""
        self._far = wire.far
        self._own, self._guest = socket.inet_aton(own), socket.inet_aton(guest)
        self._neighbour = b""
        self._changed = 0.0
        self._answered = time.monotonic()
        self._pings: Dict[int, Ping] = {}
        self._end = threading.Event()
        self._port = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with suppress(FileNotFoundError):
            os.unlink(wire.near)  # an earlier run's
        self._port.bind(wire.near)
        self._port.settimeout(LOOKS_UP_EVERY)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._hear, self._ping)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._port.close()

    def pings(self, since: float = 0.0) -> List[Ping]:
        """Those sent since then whose fate is known, in their order."""
        known_until = time.monotonic() - LOST_AFTER
        return [ping for ping in list(self._pings.values()) if since <= ping.sent < known_until]

    # -- what it sends ---------------------------------------------------------------------------

    def _ping(self) -> None:
        number = 0
        while not self._end.wait(EVERY):
            now = time.monotonic()
            self._pings[number] = Ping(now)
            doubts = not self._neighbour or now > self._answered + ASKS_AGAIN_AFTER
            if doubts and number % round(1 / EVERY) == 0:
                self._send(ALL, ARP, _arp(REQUEST, MAC, self._own, bytes(6), self._guest))
            if self._neighbour:
                self._send(self._neighbour, IP, self._echo(number))
            number += 1

    def _echo(self, number: int) -> bytes:
        data = struct.pack("!BBHHH", ECHO, 0, 0, number >> 16, number & 0xFFFF) + bytes(48)
        message = data[:2] + struct.pack("!H", _checksum(data)) + data[4:]
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(message), number & 0xFFFF, 0, 64, 1, 0)
        addresses = self._own + self._guest
        return header[:10] + struct.pack("!H", _checksum(header + addresses)) + addresses + message

    def _send(self, to: bytes, kind: int, content: bytes) -> None:
        frame = to + MAC + struct.pack("!H", kind) + content
        with suppress(OSError):
            self._port.sendto(frame.ljust(60, b"\0"), self._far)

    # -- what it hears ---------------------------------------------------------------------------

    def _hear(self) -> None:
        while not self._end.is_set():
            try:
                frame = self._port.recv(1 << 16)
            except socket.timeout:  # for a while nobody has sent anything
                continue
            to, sender, content = frame[:6], frame[6:12], frame[14:]
            if to not in (MAC, ALL):
                continue
            if frame[12:14] == struct.pack("!H", ARP):
                self._heard_arp(content)
            elif frame[12:14] == struct.pack("!H", IP):
                self._heard_ip(sender, content)

    def _heard_arp(self, content: bytes) -> None:
        kind, mac, sender, target = content[7], content[8:14], content[14:18], content[24:28]
        now = time.monotonic()
        if sender == self._guest and (sender == target or now > self._changed + LOCKED):
            self._neighbour, self._changed = mac, now
        if kind == REQUEST and target == self._own:
            self._send(mac, ARP, _arp(REPLY, MAC, self._own, mac, sender))

    def _heard_ip(self, sender: bytes, content: bytes) -> None:
        message = content[(content[0] & 15) * 4 :]
        if content[9] != 1 or content[12:20] != self._guest + self._own or message[0] != ECHO_REPLY:
            return
        high, low = struct.unpack("!HH", message[4:8])
        number, now = high << 16 | low, time.monotonic()
        ping = self._pings.get(number)
        if ping is not None and ping.took is None and now - ping.sent < LOST_AFTER:
            self._answered = now
            self._pings[number] = Ping(ping.sent, now - ping.sent, _text(sender))


def gaps(pings: List[Ping]) -> List[Gap]:
    """Where pings were lost; a gap that has no end is not among them."""
    found, before, lost, began = [], "", 0, 0.0
    for ping in pings:
        if ping.took is None:
            lost, began = lost + 1, began or ping.sent
            continue
        if lost:
            found.append(Gap(lost, before, ping.mac, began))
        before, lost, began = ping.mac, 0, 0.0
    return found


def changes(pings: List[Ping]) -> List[Tuple[str, str]]:
    """The MACs that answered before and after each change of them."""
    macs = [ping.mac for ping in pings if ping.took is not None]
    return [(one, other) for one, other in zip(macs, macs[1:]) if one != other]


def _text(mac: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in mac)


def _arp(kind: int, mac: bytes, own: bytes, to: bytes, target: bytes) -> bytes:
    return struct.pack("!HHBBH", 1, IP, 6, 4, kind) + mac + own + to + target


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
