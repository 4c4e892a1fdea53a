"""Plays a transcript against the imitation: makes its pool anew, and does and compares step by step.

How answers are compared is transcript_match.py's. The text that follows INTERNAL_ERROR changes between
releases of xapi: only the code is compared.
"""

import contextlib
import glob
import http.client
import json
import os
import socket
import time
import xmlrpc.client
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Tuple

import temporary
from box import dom0_environment, dom0_python
from database import Database
from hosts import HostDescription
from plugin_calls import Dom0
from schema import CLASSES
from transcript_match import Mismatch, Symbols, cut, cut_events, like
from values import internal_error, take
from vm_operations import new_vm
from xapi import Xapi

Step = Dict[str, Any]
SECONDS = 60.0  # a task that takes longer hangs
_LOG = "/var/log/"  # where recorded hooks write
_HOST = HostDescription(
    name="recorded",
    uuid="8f6e6a0c-0000-4000-8000-000000000001",
    control_domain_uuid="8f6e6a0c-0000-4000-8000-000000000002",
)
_INTEL = {"class_id": "0200", "class_name": "Ethernet controller", "vendor_id": "8086"}
_PF = {
    "pci_id": "0000:04:00.0",
    "device_id": "158b",
    "driver_name": "i40e",
    "device_name": "Ethernet Controller XXV710 for 25GbE SFP28",
}
_VF = {
    "device_id": "154c",
    "device_name": "Ethernet Virtual Function 700 Series",
    "subsystem_vendor_id": "8086",
    "subsystem_vendor_name": "Intel Corporation",
    "subsystem_device_id": "0001",
    "subsystem_device_name": "Device 0001",
}


class UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


class Place(NamedTuple):
    """Where the transcript's dom0 is: the socket of its xapi, and its files under other paths."""

    xapi: Xapi
    socket: str
    paths: Mapping[str, str]  # a path in the transcript -> where it is


@contextlib.contextmanager
def recorded_pool() -> Iterator["Player"]:
    """A player in front of a pool like the one that transcripts were recorded on: a host with a card."""
    with temporary.folder() as folder, Xapi() as xapi:
        plugins = os.path.join(folder, "xapi.d", "plugins")
        os.makedirs(plugins)
        os.makedirs(os.path.join(folder, "log"))
        socket_path = os.path.join(folder, "xapi")
        environment = dom0_environment(dom0_python(os.path.join(folder, "python")), socket_path)
        host = xapi.add_host(_HOST, Dom0(plugins, environment), socket_path)
        xapi.listen()
        paths = {"/etc/xapi.d": os.path.dirname(plugins), "/var/log": os.path.join(folder, "log")}
        yield Player(Place(xapi, socket_path, paths), _first_symbols(xapi.database, host))


def _first_symbols(database: Database, host: str) -> Dict[str, str]:
    """The host, its dom0, the pool, and the card that transcripts take for granted."""
    database.set("host_metrics", database.get("host", host, "metrics"), "memory_total", 16 << 30)
    card = {**_INTEL, "vendor_name": "Intel Corporation", "host": host}
    vfs = [database.create("PCI", {**card, **_VF, "pci_id": f"0000:04:02.{number}"}) for number in range(4)]
    return {
        "$host": host,
        "$dom0": database.get("host", host, "control_domain"),
        "$pool": database.refs("pool")[0],
        "$pf": database.create("PCI", {**card, **_PF}),
        "$vf0.uuid": database.get("PCI", vfs[0], "uuid"),
        **{f"$vf{number}": vf for number, vf in enumerate(vfs)},
    }


class Player:
    """What its symbols stand for is what a transcript's steps share."""

    def __init__(self, place: Place, known: Dict[str, str]) -> None:
        self.place = place
        self.symbols = Symbols(known)
        session = self._call("session.login_with_password", ["root", "", "1.0", "the player"], "unix")[
            "Value"
        ]
        record = self._call("session.get_record", [session, session], "unix")["Value"]
        self.symbols.known.update({"$session": session, "$session.uuid": record["uuid"]})

    def play(self, step: Step) -> None:
        """Raises Mismatch where the step went another way."""
        if "call" in step:
            self._expect_answer(step, self._call(*self._wanted(step)))
        elif "http" in step:
            self._play_http(step)
        elif "wait" in step:
            self._wait(step["wait"])
        elif "file" in step:
            self._put(step)
        elif "remove" in step:
            for path in glob.glob(self._moved(step["remove"])):
                os.unlink(path)
        elif step.get("given") == "event.from":
            answer = self._call(*self._wanted({"call": "event.from", "params": [step["classes"], "", 0.0]}))
            self.symbols.known[step["name"]] = answer["Value"]["token"]
        elif "given" in step:
            self._create_vm(step)
        elif "pci" in step:
            self._start_with_list(step)
        elif "observe" in step:
            self.symbols.expect(step["value"], self._seen(step["observe"], step["value"]))
        elif set(step) != {"note"}:
            raise Mismatch("no such kind of step: " + ", ".join(step))

    # -- calls of the API --------------------------------------------------------------------------

    def _wanted(self, step: Step) -> Tuple[str, List[Any], str]:
        params = self.symbols.given(step["params"])
        session = step.get("session", "$session")
        if session is not None:
            params = [self.symbols.given(session), *params]
        password = self.place.xapi.password
        params = [password if param == "<the right password>" else param for param in params]
        return step["call"], params, step.get("transport", "unix")

    def _call(self, method: str, params: List[Any], transport: str) -> Any:
        """What the client library sees: the answer's struct."""
        body = xmlrpc.client.dumps(tuple(params), method).encode()
        ((answer,), _) = xmlrpc.client.loads(self._exchange(transport, "/", body, "text/xml"))
        return _plain(answer)

    def _exchange(self, transport: str, path: str, body: bytes, content_type: str) -> str:
        if transport == "unix":
            connection: http.client.HTTPConnection = UnixConnection(self.place.socket)
        else:
            connection = http.client.HTTPConnection(self.place.xapi.url.partition("//")[2])
        with contextlib.closing(connection):
            connection.request("POST", path, body, {"Content-Type": content_type})
            response = connection.getresponse()
            self.symbols.expect([200, content_type], [response.status, response.getheader("Content-Type")])
            return response.read().decode()

    def _expect_answer(self, step: Step, answer: Any) -> None:
        if "failure" in step:
            if "ErrorDescription" not in answer:
                raise Mismatch(f"{step['failure']} was recorded, {answer} was answered")
            self.symbols.expect(_coded(step["failure"]), _coded(answer["ErrorDescription"]))
            return
        if answer.get("Status") != "Success":
            raise Mismatch(f"a success was recorded, {answer} was answered")
        many = not step["call"].endswith(".get_record")
        value = cut(answer["Value"], step.get("only_fields"), many)
        if step["call"] == "event.from":
            value = cut_events(value, step["result"], self.symbols.known)
        self.symbols.expect(self._moved(step["result"]), value, step["call"].partition(".get_")[2])

    def _wait(self, task: str) -> None:
        end = time.monotonic() + SECONDS
        params = [self.symbols.known["$session"], self.symbols.known[task]]
        while self._call("task.get_status", params, "unix")["Value"] == "pending":
            if time.monotonic() > end:
                raise Mismatch(f"the task is still pending after {SECONDS:g} seconds")
            time.sleep(0.02)

    def _play_http(self, step: Step) -> None:
        """JSON-RPC: `call` is XML-RPC."""
        request = step["http"]
        body = self.symbols.given(request["body"]).encode()
        reply = self._exchange("unix", request["path"], body, request["content_type"])
        self.symbols.expect(json.loads(step["reply"]), json.loads(reply))

    # -- dom0's files, VMs ---------------------------------------------------------------------------

    def _put(self, step: Step) -> None:
        """A file, and the same one under other hooks."""
        folder, name = os.path.split(self._moved(step["file"]))
        for place in [folder, *(os.path.join(folder, "..", hook) for hook in step.get("also_in", []))]:
            os.makedirs(place, exist_ok=True)
            path = os.path.join(os.path.normpath(place), name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(self._moved(self.symbols.given(step["text"])))
            os.chmod(path, int(step["mode"], 8))

    def _moved(self, value: Any) -> Any:
        """A text of the transcript's dom0 with its paths as they are here."""
        if isinstance(value, str):
            for path, moved in self.place.paths.items():
                value = value.replace(path, moved)
        return value

    def _create_vm(self, step: Step) -> None:
        fields = CLASSES["VM"]
        given = {key: take(fields[key].kind, value) for key, value in step.items() if key in fields}
        given["other_config"] = {"mac_seed": "seed", **given.get("other_config", {})}
        vm = new_vm(self.place.xapi, {"name_label": "a VM", "affinity": "", **given})
        self.symbols.known[step["name"]] = vm
        self.symbols.known[step["name"] + ".uuid"] = self.place.xapi.database.get("VM", vm, "uuid")
        self.symbols.known.setdefault("$vm_metrics1", self.place.xapi.database.get("VM", vm, "metrics"))

    def _start_with_list(self, step: Step) -> None:
        """A step of passthrough.json."""
        xapi, vm = self.place.xapi, self.symbols.known["$vm"]
        other_config = {} if step["pci"] is None else {"pci": step["pci"]}
        xapi.call("VM.set_other_config", vm, other_config)
        xapi.call("VM.start", vm, False, False)
        plugged, attached = self._plugged(), xapi.call("VM.get_attached_PCIs", vm)
        xapi.call("VM.hard_shutdown", vm)
        self.symbols.expect(step["plugged_in_order"], plugged)
        self.symbols.expect(step["VM.attached_PCIs"], attached)

    # -- what was observed -------------------------------------------------------------------------

    def _seen(self, what: str, value: Any) -> Any:
        """What a hook wrote into the log of that name since the last look, cut down to what was recorded of
        it; or the devices of $vm."""
        if what == "plugged":
            return self._plugged()
        path, text = self._moved(_LOG + what), ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                text = file.read().replace(self.place.paths["/etc/xapi.d"], "/etc/xapi.d")
            os.unlink(path)
        if what == "said":
            return like(value, json.loads(text))
        if what == "hooks.json":
            return [like(value[0] if value else {}, json.loads(line)) for line in text.splitlines()]
        return text if what == "task" else text.splitlines()

    def _plugged(self) -> List[str]:
        xapi = self.place.xapi
        hypervisor = xapi.life.hypervisor(xapi, self.symbols.known["$host"])
        return hypervisor.plugged(xapi.database.get("VM", self.symbols.known["$vm"], "uuid"))


def _plain(value: Any) -> Any:
    """Dates as text, as transcripts have them."""
    if isinstance(value, xmlrpc.client.DateTime):
        return str(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


_INTERNAL_ERROR = internal_error("").description[0]


def _coded(description: List[str]) -> List[str]:
    return description[:1] if description[:1] == [_INTERNAL_ERROR] else description
