"""A pool in a box: a xapi, and for each of its hosts a machine in a folder whose dom0 has our plugin.

`with PoolInABox() as box:` and the PyPI client XenAPI can log in at `box.url`. What a machine does is
machine.py's, what xapi does xapi.py's; this module puts them together as an installed host has them.
"""

import json
import os
import shutil
import sys
import uuid
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set

import machine
import machine_copy
import mastership
import temporary
import XenAPI
from box_host import BOOT_SERVICE, PLUGIN, PLUGINS, SOCKET, BoxHost, described, set_plugin, set_vfs
from box_membership import Membership
from box_networks import Networks
from box_vms import BoxVMs
from forked_programs import FORKED
from machine_description import Description, default_description
from machine_qemu import Qemus
from plugin_calls import Dom0
from programs import Programs, unwatched
from xapi import Xapi

HERE = os.path.dirname(os.path.abspath(__file__))


class PoolInABox(Networks, BoxVMs, Membership):
    """Two usual hosts, unless told of others; the first is the master. `interpreter` runs the plugins, and
    `programs` says how it is started."""

    def __init__(
        self,
        descriptions: Sequence[Description] = (),
        interpreter: Optional[str] = None,
        password: str = "password",
        programs: Programs = FORKED,
    ) -> None:
        self.xapi = Xapi(password)
        self.hosts: List[BoxHost] = []
        self.alone: Dict[str, Xapi] = {}
        self._interpreter = interpreter
        self._programs = programs
        with ExitStack() as stack:
            self.folder = stack.enter_context(temporary.folder())
            self._ends = stack.enter_context(ExitStack())
            stack.callback(self.xapi.close)
            stack.callback(self.close_alone)
            self._python = dom0_python(os.path.join(self.folder, "python"))
            self.xapi.boot = self._boot
            self.broken: Set[str] = set()  # hosts, by reference, whose machine does not come up
            self.xapi.life.clock.path = clock_file(self._python)
            for description in descriptions or [default_description(1), default_description(2)]:
                self.add_host(description)
            self.xapi.listen()
            self._resources = stack.pop_all()

    # -- hosts that come -------------------------------------------------------------------------

    def add_host(
        self, description: Description, plugin: Optional[str] = PLUGIN, like: Optional[BoxHost] = None
    ) -> BoxHost:
        """A host joins; the first one makes the pool. `plugin` is the file of ours that it has, None: it
        has none. `like` saves time: the machine is a copy of that host's, with its VFs."""
        root = os.path.join(self.folder, f"{description.hostname}-{uuid.uuid4().hex[:4]}")
        if like is None:
            made = machine.create(root, description)
        else:
            made = machine_copy.copy(root, like.machine, description)
        return self._join(made, description, plugin)

    def _join(self, made: machine.Machine, description: Description, plugin: Optional[str]) -> BoxHost:
        dom0 = self._dom0(made)
        ref = self.xapi.add_host(described(made, description), dom0, made.path(SOCKET))
        environment = dict(dom0.environment)
        host = BoxHost(ref, description.host_uuid, description.hostname, made, environment)
        self.hosts.append(host)
        set_plugin(host, plugin)
        return host

    def _dom0(self, made: machine.Machine) -> Dom0:
        """What xapi has in a dom0: a place for its socket, a folder for plugins, a Python for them."""
        made.qemus = Qemus(made)
        self._ends.callback(made.qemus.end)
        os.makedirs(os.path.dirname(made.path(SOCKET)), exist_ok=True)
        os.makedirs(made.path(PLUGINS), exist_ok=True)
        environment = dom0_environment(self._python, made.path(SOCKET), made.root)
        return Dom0(made.path(PLUGINS), environment, self._interpreter, made, self._programs)

    def add_hosts(self, count: int, vfs: int = 0) -> List[BoxHost]:
        """That many usual hosts more, alike, with VFs on both of their fast ports; quick for many."""
        added: List[BoxHost] = []
        there = {host.uuid for host in self.hosts}
        numbered = map(default_description, range(1, len(there) + count + 1))
        for description in [one for one in numbered if one.host_uuid not in there][:count]:
            if added:
                added.append(self.add_host(description, like=added[0]))
            else:
                added.append(self.add_host(description))
                for port in ("0000:07:00.0", "0000:07:00.1") if vfs else ():
                    set_vfs(added[0], port, vfs)
                self.xapi.restart_toolstack(added[0].ref)
        return added

    # -- hosts that have troubles ----------------------------------------------------------------

    def make_master(self, host: BoxHost) -> None:
        """As pool.designate_new_master, or as HA and administrators do when the master is gone."""
        mastership.make_master(self.xapi, host.ref)

    @property
    def master(self) -> BoxHost:
        return next(host for host in self.hosts if host.ref == self.xapi.master)

    @contextmanager
    def hanging(self, host: BoxHost) -> Iterator[None]:
        """The host takes calls and does not answer until the end; all that waited is then answered."""
        self.xapi.reach.hang(host.ref)
        try:
            yield
        finally:
            self.xapi.reach.let_go(host.ref)

    def lose(self, host: BoxHost, noticed: bool = True) -> None:
        """Power cut. Until the master has noticed, its calls to the host fail with CANNOT_CONTACT_HOST."""
        self.xapi.lose_host(host.ref)
        if noticed:
            self.xapi.notice_dead(host.ref)

    def bring_back(self, host: BoxHost) -> None:
        """The lost host boots, and its xapi starts; the boot service of ours is the test's to run."""
        host.machine.reboot()
        self.xapi.find_host_again(host.ref)

    def _boot(self, ref: str) -> bool:
        """A host's machine, with our boot service as systemd starts it before xapi; whether it comes up."""
        host = next(host for host in self.hosts if host.ref == ref)
        if ref in self.broken:
            return False
        host.machine.reboot()
        if os.path.lexists(host.machine.path(PLUGINS + "/sriov")):
            words = (self._interpreter or sys.executable, BOOT_SERVICE)
            self._programs.run([os.fsencode(word) for word in words], host.environment, unwatched)
        return True

    # -- clients ---------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The master's."""
        return self.xapi.url_of(self.xapi.master)

    @contextmanager
    def session(self, user: str = "root") -> Iterator[Any]:
        """A XenAPI session of root's or of a user's, over TCP, as a client has it."""
        with XenAPI.Session(self.url) as session:
            session.login_with_password(user, self.xapi.password, "1.0", "a client")
            try:
                yield session
            finally:
                with suppress(XenAPI.Failure):  # a new master knows no sessions
                    session.logout()

    def add_user(self, name: str, role: str) -> None:
        """A user who has this role in the pool; the password is root's."""
        self.xapi.users[name] = role

    def call(self, host: BoxHost, function: str, **args: str) -> Any:
        """What the plugin answers to a client's call on this host; raises XenAPI.Failure."""
        with self.session() as session:
            return json.loads(session.xenapi.host.call_plugin(host.ref, "sriov", function, args))

    def close(self) -> None:
        self._resources.close()

    def __enter__(self) -> "PoolInABox":
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.close()


def dom0_python(folder: str) -> str:
    """Fills `folder` with what a dom0's Python has beside the standard library, as a PYTHONPATH.

    XenAPI alone is taken from the Python that runs us: whatever else is installed there must not be seen.
    """
    source = os.path.dirname(XenAPI.__file__)
    shutil.copytree(source, os.path.join(folder, "XenAPI"), ignore=shutil.ignore_patterns("__pycache__"))
    return os.pathsep.join([os.path.join(HERE, "dom0"), folder])


def clock_file(python_path: str) -> str:
    """Where the clock of the box tells its programs how far it is ahead."""
    return os.path.join(python_path.split(os.pathsep)[-1], "clock")


def dom0_environment(python_path: str, socket: str, machine_folder: Optional[str] = None) -> Dict[str, str]:
    """The variables that make a Python one of this dom0 (see dom0/sitecustomize.py)."""
    environment = {
        "PYTHONPATH": python_path,
        "POOL_IN_A_BOX_XAPI": f"http://{socket.replace('/', '_')}/",
        "POOL_IN_A_BOX_CLOCK": clock_file(python_path),
    }
    if machine_folder is not None:
        environment["POOL_IN_A_BOX_MACHINE"] = machine_folder
    return environment
