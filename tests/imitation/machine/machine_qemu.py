"""The QEMUs of a machine's running HVM domains: real sockets below its root, on which one answers QMP for
each domain, one client at a time as QEMU does, in threads of this process.

Imitates QEMU 4.2 (XCP-ng 8.3) and, with another `version`, 7.2: qdev-monitor.c (qmp_device_add,
qmp_device_del), qdev.c (device_unparent: DEVICE_DELETED), monitor/qmp.c, xen-host-pci-device.c.
"""

import json
import os
import socket
import threading
from contextlib import contextmanager, suppress
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import kernel_xen
from machine import Machine

FOLDER = "/var/run/xen"
DRIVER = "xen-pci-passthrough"
IN_PROCESS = (6, 2)  # from which on a guest is not asked twice
_PERIPHERAL = "/machine/peripheral"


class _Refused(Exception):
    """QEMU's error: class and desc."""


class Qemu:
    """Of one domain, and its guest, which lets go of a device at once; or when `let_go` is called, where it
    `keeps` devices; or after so many further `looks` of whoever waits."""

    def __init__(self, machine: Machine, domid: int) -> None:
        self.version: Tuple[int, int] = (4, 2)
        self.keeps = False
        self.looks = 0
        self.places: Dict[str, Optional[str]] = {}  # address -> where device_add was told to put it
        self.hangs = False  # takes connections, and says nothing
        self.hangs_up_at: Tuple[str, ...] = ()  # commands that it does and does not answer
        self.asked: List[str] = []  # the IDs of devices that the guest was asked to let go of
        self.commands: List[str] = []  # that it was given
        self._machine = machine
        self._domid = domid
        self._client: Any = None
        self._gone: List[str] = []  # IDs, of which nobody has been told yet
        self._path = machine.path(f"{FOLDER}/qmp-libxl-{domid}")
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self._path)
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._serve, name=f"qemu {domid}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        self.hangs = False
        for one in (self._listener, self._client):
            with suppress(OSError, AttributeError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def let_go(self) -> None:
        """The guest lets go of all that it was asked for."""
        with self._machine.changed() as sysfs:
            self._let_go(kernel_xen.find(sysfs, self._domid) or {"qemu": {}})
        self._tell_events()

    # -- the monitor ---------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            try:
                self._client, _ = self._listener.accept()
            except OSError:
                return
            with self._client, suppress(OSError):
                self._talk(self._client)

    def _talk(self, client: socket.socket) -> None:
        """Until the client or we hang up."""
        if not self.hangs:
            major, minor = self.version
            version = {"qemu": {"micro": 1, "minor": minor, "major": major}, "package": ""}
            self._say({"QMP": {"version": version, "capabilities": ["oob"]}})
        text, negotiated = "", False
        while True:
            more = client.recv(65536)
            if not more:
                return
            text = (text + more.decode()).lstrip()
            while text and not self.hangs:
                message, end = json.JSONDecoder().raw_decode(text)
                text = text[end:].lstrip()
                name = message["execute"]
                self.commands.append(name)
                answer = self._answer(name, message.get("arguments", {}), negotiated)
                negotiated = negotiated or name == "qmp_capabilities"
                if name in self.hangs_up_at:
                    return
                self._say({**answer, **({"id": message["id"]} if "id" in message else {})})
                self._tell_events()

    def _say(self, message: Any) -> None:
        self._client.sendall(json.dumps(message).encode() + b"\r\n")

    def _tell_events(self) -> None:
        """To who is connected; else nobody hears of it."""
        while self._gone:
            name = self._gone.pop(0)
            data = {"device": name, "path": f"{_PERIPHERAL}/{name}"}
            stamp = {"seconds": 1764412345, "microseconds": 1}
            with suppress(OSError, AttributeError):
                self._say({"timestamp": stamp, "event": "DEVICE_DELETED", "data": data})

    def _answer(self, name: str, arguments: Dict[str, Any], negotiated: bool) -> Dict[str, Any]:
        known: Dict[str, Callable[[Dict[str, Any]], Any]] = {
            "qmp_capabilities": lambda _domain: {},
            "qom-list": lambda domain: self._list(domain, arguments["path"]),
            "qom-get": lambda domain: self._get(domain, arguments["path"], arguments["property"]),
            "device_del": lambda domain: self._delete(domain, arguments["id"]),
            "device_add": lambda domain: self._add(domain, arguments),
        }
        try:
            if not negotiated and name != "qmp_capabilities":
                raise _Refused(
                    "CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'"
                )
            if name not in known:
                raise _Refused("CommandNotFound", f"The command {name} has not been found")
            with self._machine.changed() as sysfs:
                return {"return": known[name](kernel_xen.find(sysfs, self._domid) or {"qemu": {}})}
        except _Refused as refused:
            kind, why = refused.args
            return {"error": {"class": kind, "desc": why}}

    # -- devices -------------------------------------------------------------------------------------

    def _list(self, domain: Dict[str, Any], path: str) -> List[Dict[str, str]]:
        if self.asked and not self.keeps:
            self.looks -= 1
            if self.looks <= 0:
                self._let_go(domain)
        if path == "/machine/peripheral-anon":
            return [{"name": "type", "type": "string"}]
        if path != _PERIPHERAL:
            raise _Refused("DeviceNotFound", f"Device '{path}' not found")
        own = [{"name": name, "type": f"child<{DRIVER}>"} for name in domain["qemu"]]
        return [{"name": "type", "type": "string"}, {"name": "ehci", "type": "child<usb-ehci>"}, *own]

    @staticmethod
    def _get(domain: Dict[str, Any], path: str, name: str) -> str:
        device = path.rpartition("/")[2]
        if device not in domain["qemu"]:
            raise _Refused("DeviceNotFound", f"Device '{path}' not found")
        if name != "hostaddr":
            raise _Refused("GenericError", f"Property '.{name}' not found")
        return str(domain["qemu"][device])

    def _delete(self, domain: Dict[str, Any], name: str) -> Dict[str, Any]:
        if name not in domain["qemu"]:
            raise _Refused("DeviceNotFound", f"Device '{name}' not found")
        if name in self.asked and self.version >= IN_PROCESS:
            raise _Refused("GenericError", f"Device {name} is already in the process of unplug")
        if name not in self.asked:
            self.asked.append(name)
        if not self.keeps and not self.looks:
            self._let_go(domain)
        return {}

    def _let_go(self, domain: Dict[str, Any]) -> None:
        for name in [one for one in self.asked if one in domain["qemu"]]:
            del domain["qemu"][name]
            self._gone.append(name)
        self.asked = []

    def _add(self, domain: Dict[str, Any], arguments: Dict[str, Any]) -> Dict[str, Any]:
        name, address = arguments["id"], arguments["hostaddr"]
        if arguments["driver"] != DRIVER:
            raise _Refused("GenericError", f"'{arguments['driver']}' is not a valid device model name")
        if name in domain["qemu"]:
            raise _Refused("GenericError", f"Duplicate ID '{name}' for device")
        config = f"/sys/bus/pci/devices/{address}/config"
        if not self._machine.exists(config):
            raise _Refused("GenericError", f"Could not open '{config}': No such file or directory")
        self.places[address] = arguments.get("addr")
        domain["qemu"][name] = address
        return {}


class Qemus:
    """Those of one machine's domains, by number."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._running: Dict[int, Qemu] = {}

    def start(self, domid: int) -> None:
        self._running[domid] = Qemu(self._machine, domid)

    def stop(self, domid: int) -> None:
        if domid in self._running:
            self._running.pop(domid).end()

    def end(self) -> None:
        for domid in list(self._running):
            self.stop(domid)

    def __getitem__(self, domid: int) -> Qemu:
        return self._running[domid]


@contextmanager
def of(machine: Machine) -> Iterator[Qemus]:
    """The machine's HVM domains have QEMUs, until the end."""
    machine.qemus = Qemus(machine)
    try:
        yield machine.qemus
    finally:
        machine.qemus.end()
        machine.qemus = None
