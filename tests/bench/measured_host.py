"""A host that is measured: its machine, its pool, and how its plugin is started there."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import xmlrpc.client
from typing import Any, List, Sequence, Tuple, cast

import box
import box_host
import XenAPI
from bench import machines
from bench.measure import Launcher, Sample, WentWrong
from sriovlib.machine.host import Host
from sriovlib.pool import state
from sriovlib.xapi.session import Xapi

HERE = os.path.dirname(os.path.abspath(__file__))
NOTHING = os.path.join(HERE, "dom0", "nothing")
START = os.path.join(HERE, "dom0", "start.py")


class _Remembering(Xapi):
    """The library's client, remembering what it asked."""

    def __init__(self, host: Host, session: Any) -> None:
        super().__init__(host, session)
        self.asked: List[Tuple[str, Sequence[Any]]] = []

    def call(self, method: str, *params: Any) -> Any:
        self.asked.append((method, params))
        return super().call(method, *params)


class MeasuredHost:
    """A host with so many VFs in a pool of so many VMs, in a folder with a short path. The pool starts
    on its own; `wait` for it."""

    def __init__(self, folder: str, python_path: str, vfs: int, vms: int) -> None:
        self.vfs = vfs
        self.vms = vms
        self.folder = folder
        self._inventory = machines.looks_like(machines.kept(vfs), folder)
        self._socket = folder + box_host.SOCKET
        self._environment = {
            **box.dom0_environment(os.pathsep.join([os.path.join(HERE, "dom0"), python_path]), self._socket),
            "PATH": os.path.join(folder, "commands"),
            "BENCH_MACHINE": folder,
        }
        self._session: Any = None
        self._requests: List[bytes] = []
        self._pool = subprocess.Popen(
            [sys.executable, "-m", "bench.pool", self._socket, str(vfs), str(vms)],
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def wait(self) -> None:
        assert self._pool.stdout is not None
        url = self._pool.stdout.readline().strip()
        if not url:
            raise WentWrong(f"the pool of {self.vms} VMs did not start")
        self._session = XenAPI.Session(url)
        self._session.login_with_password("root", "password", "1.0", "bench")
        client = _Remembering(Host(self.folder), self._session)
        state.read_here(client, machines.description(self.vfs).host_uuid, ())
        for method, params in client.asked:
            call = {"jsonrpc": "2.0", "method": method, "id": 1}
            self._requests.append(json.dumps({**call, "params": [self._session._session, *params]}).encode())

    def close(self) -> None:
        self._pool.communicate()

    # -- what is measured --------------------------------------------------------------------------

    def nothing(self, launcher: Launcher, interpreter: str) -> Sample:
        return self._run(launcher, interpreter, NOTHING, "nothing")

    def plugin(self, launcher: Launcher, interpreter: str, function: str) -> Sample:
        return self._run(launcher, interpreter, box_host.PLUGIN, function)

    def _run(self, launcher: Launcher, interpreter: str, program: str, function: str) -> Sample:
        """As xapi starts it: the file, with the flags of its first line, and the call as its one argument."""
        call = xmlrpc.client.dumps((self._session._session, {}), function)
        with open(program) as file:
            flags = file.readline().split()[1:]
        start = [*flags, START] if flags else []
        return launcher.run([interpreter, *start, program, call], self._environment)

    def check(self, launcher: Launcher, interpreter: str, function: str) -> None:
        """One call for the caches, whose answer must be the whole one."""
        self.plugin(launcher, interpreter, function)
        (answer,), _method = cast(Any, xmlrpc.client.loads(launcher.output()))
        if answer["Status"] != "Success":
            raise WentWrong(f"{function}: {answer['ErrorDescription']}")
        value = json.loads(answer["Value"])
        if function == "inventory" and value != self._inventory:
            raise WentWrong(f"inventory: another answer than the machine's own: {answer['Value'][:2000]}")
        if function == "list_vfs" and not (len(value) == self.vfs and all(vf["state"] for vf in value)):
            raise WentWrong(f"list_vfs: VFs or their states are missing: {answer['Value'][:2000]}")

    def bare_reads(self) -> Sample:
        """What `list_vfs` asks the pool, asked by a client that only takes the bytes."""
        started = time.monotonic()
        for body in self._requests:
            connection = http.client.HTTPConnection("localhost")
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self._socket)
            connection.request("POST", "/jsonrpc", body)
            connection.getresponse().read()
            connection.close()
        return Sample(time.monotonic() - started)

    def lspci(self, launcher: Launcher, lspci: str) -> Sample:
        access = ["-A", "linux-sysfs", "-O", f"sysfs.path={self.folder}/sys/bus/pci"]
        names = ["-i", f"{self.folder}/usr/share/hwdata/pci.ids"]
        return launcher.run([lspci, *access, *names, "-D"], {"PATH": os.defpath})
