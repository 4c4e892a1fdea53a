"""A host that is measured, as whoever measures sees it: its folder, its pool, and how a tree's programs are
started there."""

import json
import os
import shutil
import subprocess
import sys
import xmlrpc.client
from typing import Any, Callable, Dict, NamedTuple, Sequence, cast

import box
import box_host
import XenAPI
from bench import answers, machines, trees
from bench.measure import Launcher, Sample, WentWrong
from bench.trees import Tree

DOM0 = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dom0")
RUN = "/run/sriov"  # what our programs keep on a host until it boots


class Size(NamedTuple):
    """Of what is measured."""

    hosts: int = 1
    vfs: int = 126  # of each host
    vms: int = 0

    def told(self, nouns: Sequence[str]) -> str:
        numbers = [(getattr(self, noun.lower() + "s"), noun) for noun in nouns]
        return ", ".join(f"{count:,} {noun if count == 1 else noun + 's'}" for count, noun in numbers)


class MeasuredHost:
    """The host, the master of its pool, in a folder with a short path."""

    def __init__(self, folder: str, tree: Tree, size: Size, launcher: Launcher, guests: bool) -> None:
        """`guests`: some of its VFs are in running guests, and its VMs are those."""
        self.tree = tree
        self.size = size
        self.folder = folder
        self.kept: Dict[str, Any] = {}  # what figures remember of it
        self._launcher = launcher
        self._interpreter = sys.executable
        self._count_commands = 0
        self._had = os.path.join(folder, "run-as-it-was")
        subprocess.check_call(["cp", "--archive", machines.kept(size.vfs, guests), folder])
        os.makedirs(os.path.dirname(folder + box_host.SOCKET), exist_ok=True)
        python_path = box.dom0_python(os.path.join(folder, "python"))
        self._environment = {
            **box.dom0_environment(os.pathsep.join([DOM0, python_path]), folder + box_host.SOCKET),
            "PATH": os.path.join(folder, "commands"),
            "BENCH_MACHINE": folder,
        }
        what = {"folder": folder, "socket": self.socket, "hosts": size.hosts, "vfs": size.vfs}
        self._pool = subprocess.Popen(
            [sys.executable, "-m", "bench.pool", json.dumps({**what, "plugin": tree.plugin})],
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        session = XenAPI.Session(self.pool("url"))
        session.login_with_password("root", "password", "1.0", "bench")
        self._session = session._session

    @property
    def socket(self) -> str:
        return self.folder + box_host.SOCKET

    def pool(self, name: str, *arguments: Any) -> Any:
        """Asks the pool (see bench.pool.Imitated)."""
        assert self._pool.stdin is not None
        assert self._pool.stdout is not None
        self._pool.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._pool.stdin.flush()
        answer = self._pool.stdout.readline()
        if not answer:
            raise WentWrong(f"the pool did not answer `{name}`")
        return json.loads(answer)

    def close(self) -> None:
        self._pool.communicate()
        shutil.rmtree(self.folder)

    def use(self, interpreter: str, live: bool = False) -> None:
        """The Python of its programs from now on. `live`: other hosts run theirs each time they are asked."""
        self._interpreter = interpreter
        self.pool("start_plugins", interpreter, self._environment, live)

    def learn(self, run: "Run") -> None:
        """Runs it once while the machine is asked what its commands answer; how /run was before is known
        from now on."""
        self.remember()
        self.pool("learn")
        run(self)
        self._count_commands = self.pool("keep")

    def remember(self) -> None:
        shutil.rmtree(self._had, ignore_errors=True)
        if os.path.isdir(self.folder + RUN):
            shutil.copytree(self.folder + RUN, self._had)

    def as_it_was(self) -> None:
        """/run is again as it was before the machine was learnt."""
        shutil.rmtree(self.folder + RUN, ignore_errors=True)
        if os.path.isdir(self._had):
            shutil.copytree(self._had, self.folder + RUN)

    # -- its programs --------------------------------------------------------------------------------

    def python(self, *argv: str) -> Sample:
        """Anything by its Python: time, CPU and memory."""
        return self._launcher.run([self._interpreter, *argv], self._environment)

    def program(self, *argv: str) -> Sample:
        """One of ours: what it starts and reads is counted too."""
        answers.rewind(self._environment["PATH"])
        self.pool("served")
        sample = self.python(*trees.command(self._interpreter, argv[0])[1:], *argv[1:])
        _calls, size = self.pool("served")
        return sample._replace(processes=self._count_commands, read_mb=size / 1e6)

    def plugin(self, function: str, **args: str) -> Sample:
        """As xapi starts it: the file, and the call as its one argument."""
        return self.program(self.tree.plugin, self._call(function, args))

    def nothing(self) -> Sample:
        return self.python(os.path.join(DOM0, "nothing"), self._call("nothing", {}))

    def _call(self, function: str, args: Dict[str, str]) -> str:
        return xmlrpc.client.dumps((self._session, args), function)

    def answer(self) -> Any:
        """What the plugin that ran last has answered."""
        (answer,), _method = cast(Any, xmlrpc.client.loads(self._launcher.output()))
        if answer["Status"] != "Success":
            raise WentWrong(f"it answered {' '.join(answer['ErrorDescription'])}")
        return json.loads(answer["Value"])

    def output(self) -> str:
        return self._launcher.output()

    def hook(self, name: str, vm: str) -> Sample:
        """As xenopsd starts it: a link in the folder of the hook."""
        folder = f"{self.folder}/etc/xapi.d/{name}"
        link = f"{folder}/xapi-sriov"
        if not os.path.islink(link):
            os.makedirs(folder, exist_ok=True)
            os.symlink(self.tree.hook(name), link)
        return self.program(link, "-vmuuid", vm, "-reason", "none")


Run = Callable[[MeasuredHost], Sample]
