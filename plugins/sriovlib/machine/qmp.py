"""QEMU's monitor (QMP) of a running HVM domain: which devices it has from the host, one more, one less.

QEMU serves one client of the socket at a time, and xenopsd opens it for each command of its own and waits for
its turn without an end (xen-api: ocaml/xenopsd/xc/device_common.ml, with_qmp_connection). So a connection of
ours lasts for a few commands, and nothing is waited for on it. DEVICE_DELETED goes only to who is connected
when the guest lets go; what tells it to whoever comes later is QEMU's object tree, which a device leaves once
it is unrealized, just before that event (QEMU: hw/core/qdev.c, device_unparent; from 5.2 on device_finalize
sends it).
"""

import json
import re
import socket
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, NamedTuple, Optional

from . import pci
from .host import Host

SOCKET = "/var/run/xen/qmp-libxl-{}"  # xenopsd's and libxl's name for it alike
SECONDS = 10  # for one connection: QEMU answers at once, unless it hangs or another client stays connected
DRIVER = "xen-pci-passthrough"
_FOLDERS = ("/machine/peripheral", "/machine/peripheral-anon")  # with an ID, and without one
_LONGEST = 1 << 20  # bytes of one answer
# In QEMU's own words; there is no class for it (softmmu/qdev-monitor.c, qmp_device_del; from 6.0 on).
_UNDER_WAY = re.compile("in the process of unplug")
_NO_CLASS = "GenericError"
_NOT_FOUND = "DeviceNotFound"
_ID = re.compile(r"pci-pt-([0-9a-f]{2})_([0-9a-f]{2})\.([0-7])")  # as xenopsd and libxl name them


class QmpError(Exception):
    """QEMU has not done it; the text says why, for people."""


class NoQemu(QmpError):
    """Nobody listens: the domain has no QEMU, or there is no domain (any more)."""


class Silent(QmpError):
    """QEMU did not answer in time, or hung up: what it did is unknown."""


class Refused(QmpError):
    """QEMU's own answer."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"QEMU refused: {why}")
        self.kind = kind
        self.why = why


class Monitor:
    """One connection, after its greeting."""

    def __init__(self, host: Host, stream: socket.socket, deadline: float) -> None:
        self._host = host
        self._stream = stream
        self._deadline = deadline
        self._read = b""
        self._number = 0
        if "QMP" not in self._message():
            raise Silent("what answered on QEMU's socket is no QEMU")
        self.command("qmp_capabilities")

    def command(self, name: str, **arguments: Any) -> Any:
        """Its result; raises QmpError."""
        begun, said = time.monotonic(), "done"
        try:
            return self._answer(name, arguments)
        except QmpError as error:
            said = str(error)
            raise
        finally:
            if self._host.debug:
                self._host.trace(f"QMP {name} {json.dumps(arguments)}", begun, said)

    def _answer(self, name: str, arguments: Dict[str, Any]) -> Any:
        self._number += 1
        message: Dict[str, Any] = {"execute": name, "id": self._number}
        if arguments:
            message["arguments"] = arguments
        self._in_time()
        try:
            self._stream.sendall(json.dumps(message).encode())
        except OSError as error:
            raise Silent(f"QEMU hung up: {error}") from error
        while True:
            answer = self._message()  # events may come between
            if "error" in answer and answer.get("id") in (None, self._number):
                said = answer["error"] if isinstance(answer["error"], dict) else {}
                raise Refused(str(said.get("class", _NO_CLASS)), str(said.get("desc", "no reason given")))
            if "return" in answer and answer.get("id") == self._number:
                return answer["return"]

    def _message(self) -> Dict[str, Any]:
        while b"\n" not in self._read:
            if len(self._read) > _LONGEST:
                raise Silent("QEMU's answer has no end")
            self._in_time()
            try:
                more = self._stream.recv(65536)
            except OSError as error:
                raise Silent(f"QEMU did not answer: {error}") from error
            if not more:
                raise Silent("QEMU hung up")
            self._read += more
        text, _, self._read = self._read.partition(b"\n")
        try:
            message = json.loads(text.decode())
        except (ValueError, RecursionError) as error:
            raise Silent("QEMU's answer is no JSON") from error
        if not isinstance(message, dict):
            raise Silent("QEMU's answer is no JSON object")
        return message

    def _in_time(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise Silent("QEMU did not answer in time")
        self._stream.settimeout(left)


@contextmanager
def connected(host: Host, domid: int, seconds: float = SECONDS) -> Iterator[Monitor]:
    """A connection to the QEMU of the domain, for a few commands; raises QmpError."""
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(seconds)
        try:
            stream.connect(host.path(SOCKET.format(domid)))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NoQemu(f"domain {domid} has no QEMU that answers") from error
        except OSError as error:
            raise Silent(f"QEMU of domain {domid} did not answer: {error}") from error
        yield Monitor(host, stream, deadline)


class Device(NamedTuple):
    """A device of the host in the guest."""

    address: str  # the host's
    name: str  # by which `device_del` knows it: its ID, or its place in QEMU's tree where it has none


def devices(monitor: Monitor) -> Dict[str, Device]:
    """By address, the host's devices that QEMU has: found by the address that each was made of, not by its
    ID, which names no PCI domain. Raises QmpError."""
    found = {}
    for folder in _FOLDERS:
        for item in _listed(monitor, folder):
            name = str(item.get("name", ""))
            if item.get("type") == f"child<{DRIVER}>":
                address = _address(monitor, f"{folder}/{name}", name)
                if address is not None:
                    found[address] = Device(address, name if folder == _FOLDERS[0] else f"{folder}/{name}")
    return found


def _listed(monitor: Monitor, folder: str) -> Any:
    try:
        items = monitor.command("qom-list", path=folder)
    except Refused as refused:
        if refused.kind == _NOT_FOUND:
            return []
        raise
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Silent(f"QEMU's list of {folder} is none")
    return items


def _address(monitor: Monitor, path: str, name: str) -> Optional[str]:
    """None for a device that went while it was asked for."""
    try:
        address = pci.parse_address(str(monitor.command("qom-get", path=path, property="hostaddr")))
    except Refused as refused:
        if refused.kind == _NOT_FOUND:
            return None
        address = None
    named = _ID.fullmatch(name)
    if address is None and named is not None:
        address = "0000:{}:{}.{}".format(*named.groups())
    if address is None:
        raise Silent(f"QEMU does not tell which device of the host {name} is")
    return address


def ask_for(monitor: Monitor, device: Device) -> None:
    """Asks the guest to let go of a device; it may take its time, or never do it. Raises QmpError."""
    try:
        monitor.command("device_del", id=device.name)
    except Refused as refused:
        if refused.kind != _NOT_FOUND and not _UNDER_WAY.search(refused.why):
            raise


def add(monitor: Monitor, address: str, slot: Optional[int]) -> None:
    """Gives the guest a device that Xen has assigned to the domain, as xenopsd does (ocaml/xenopsd/xc/
    device.ml, PCI._pci_add). `slot`: of the guest's bus; None: whichever QEMU takes. Raises QmpError."""
    _, bus, rest = address.split(":")
    name = f"pci-pt-{bus}_{rest}"
    place = {} if slot is None else {"addr": f"{slot:02x}.0"}
    monitor.command("device_add", driver=DRIVER, id=name, hostaddr=address, permissive=False, **place)
