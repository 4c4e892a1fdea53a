"""A pool in a box: a xapi, and for each of its hosts a machine in a folder whose dom0 has our plugin.

`with PoolInABox() as box:` and the PyPI client XenAPI can log in at `box.url`. What a machine does is
machine.py's, what xapi does xapi.py's; this module puts them together as an installed host has them.
"""

import json
import os
import shutil
import uuid
from contextlib import ExitStack, contextmanager
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

import machine
import XenAPI
from hosts import HostDescription, Nic, read_inventory
from machine_description import Description, default_description
from plugin_calls import Dom0
from xapi import Xapi

HERE = os.path.dirname(os.path.abspath(__file__))
PLUGIN = os.path.join(os.path.dirname(os.path.dirname(HERE)), "plugins", "sriov")
PLUGINS = "/etc/xapi.d/plugins"
SOCKET = "/var/lib/xcp/xapi"


class BoxHost(NamedTuple):
    """A host of the box: what XenAPI calls it, where its machine is, what its programs are started with."""

    ref: str
    uuid: str
    name: str
    machine: machine.Machine
    environment: Dict[str, str]


class PoolInABox:
    """Two usual hosts, unless told of others; the first is the master. `interpreter` runs the plugins."""

    def __init__(
        self,
        descriptions: Sequence[Description] = (),
        interpreter: Optional[str] = None,
        password: str = "password",
    ) -> None:
        self.xapi = Xapi(password)
        self.hosts: List[BoxHost] = []
        self._interpreter = interpreter
        with ExitStack() as stack:
            self.folder = stack.enter_context(new_folder())
            stack.callback(self.xapi.close)
            self._python = dom0_python(os.path.join(self.folder, "python"))
            for description in descriptions or [default_description(1), default_description(2)]:
                self.add_host(description)
            self.url = self.xapi.listen()
            self._resources = stack.pop_all()

    def add_host(self, description: Description) -> BoxHost:
        root = os.path.join(self.folder, description.hostname)
        made = machine.create(root, description)
        socket = made.path(SOCKET)
        os.makedirs(os.path.dirname(socket), exist_ok=True)
        os.makedirs(made.path(PLUGINS))
        os.symlink(PLUGIN, made.path(PLUGINS + "/sriov"))  # as the RPM does
        environment = dom0_environment(self._python, socket, root)
        ref = self.xapi.add_host(
            _described(made, description),
            Dom0(made.path(PLUGINS), environment, self._interpreter),
            socket,
        )
        host = BoxHost(ref, description.host_uuid, description.hostname, made, environment)
        self.hosts.append(host)
        return host

    @contextmanager
    def session(self) -> Iterator[Any]:
        """A XenAPI session of root's, over TCP, as a client has it."""
        with XenAPI.Session(self.url) as session:
            session.login_with_password("root", self.xapi.password, "1.0", "a client")
            try:
                yield session
            finally:
                session.logout()

    def call(self, host: BoxHost, function: str, **args: str) -> Any:
        """What the plugin answers to a client's call on this host; raises XenAPI.Failure."""
        with self.session() as session:
            return json.loads(session.xenapi.host.call_plugin(host.ref, "sriov", function, args))

    def add_vm(self, name: str, **values: Any) -> str:
        """A halted VM with these fields; its reference."""
        return self.xapi.database.create("VM", {"name_label": name, **values})

    def close(self) -> None:
        self._resources.close()

    def __enter__(self) -> "PoolInABox":
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.close()


@contextmanager
def new_folder() -> Iterator[str]:
    """A temporary folder for sockets: a short path, and no underscore in it, as XenAPI's notation of a
    socket's path needs."""
    folder = f"/tmp/pool-{uuid.uuid4().hex[:12]}"
    os.mkdir(folder, 0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def dom0_python(folder: str) -> str:
    """Fills `folder` with what a dom0's Python has beside the standard library, as a PYTHONPATH.

    XenAPI alone is taken from the Python that runs us: whatever else is installed there must not be seen.
    """
    source = os.path.dirname(XenAPI.__file__)
    shutil.copytree(source, os.path.join(folder, "XenAPI"), ignore=shutil.ignore_patterns("__pycache__"))
    return os.pathsep.join([os.path.join(HERE, "dom0"), folder])


def dom0_environment(python_path: str, socket: str, machine_folder: Optional[str] = None) -> Dict[str, str]:
    """The variables that make a Python one of this dom0 (see dom0/sitecustomize.py)."""
    environment = {"PYTHONPATH": python_path, "POOL_IN_A_BOX_XAPI": f"http://{socket.replace('/', '_')}/"}
    if machine_folder is not None:
        environment["POOL_IN_A_BOX_MACHINE"] = machine_folder
    return environment


def _described(made: machine.Machine, description: Description) -> HostDescription:
    """The machine as xapi notes it: its inventory, and a PIF for each network port."""
    inventory = read_inventory(made.path("/etc/xensource-inventory"))
    nics = [
        _nic(description, device, mac, card.sriov is not None)
        for card in description.cards
        for device, mac in zip(card.interfaces, card.macs)
    ]
    return HostDescription(
        name=description.hostname,
        uuid=description.host_uuid,
        control_domain_uuid=inventory["CONTROL_DOMAIN_UUID"],
        nics=nics,
        address=next((nic.ip for nic in nics if nic.management), ""),
        product_brand=description.brand,
        product_version=description.version,
    )


def _nic(description: Description, device: str, mac: str, sriov: bool) -> Nic:
    """A port, with the bridge that dom0 has over it; xapi makes one named for the port when it needs it."""
    for interface in description.interfaces:
        if interface.kind in ("bridge", "openvswitch") and device in interface.over:
            bridge, address = interface.name, interface.ipv4.partition("/")[0]
            break
    else:
        bridge, address = "xenbr" + device.lstrip("eth"), ""
    management = description.management_interface in (device, bridge)
    return Nic(device, mac, bridge, management, address, sriov)
