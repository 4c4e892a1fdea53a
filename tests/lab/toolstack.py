"""What makes a lab host a XenServer host to our package: the agent that plays xapi, and calls from outside.

The agent is the pool in a box (tests/pool), run in dom0; the client is the XenAPI that everybody uses.
"""

import glob
import json
import os
import socket
from contextlib import contextmanager
from typing import Any, Iterator

import XenAPI
from lab import image
from lab.host import COMMAND_SECONDS, LabError, LabHost, wait_for

POOL = os.path.join(image.REPOSITORY, "tests", "pool")
IN_DOM0 = "/opt/lab/pool"  # where the unit xapi.service looks for the agent
PYTHON_PACKAGES = "/usr/lib/python3/dist-packages"
PASSWORD = "password"
XEN_CMDLINE = "/opt/xensource/libexec/xen-cmdline"


def bring(host: LabHost) -> None:
    """Puts the agent and the modules that every XenServer dom0 has into the host, and starts the agent."""
    modules = sorted(glob.glob(os.path.join(POOL, "*.py")))
    host.push(IN_DOM0, *modules, os.path.join(POOL, "fields.json"))
    in_every_dom0 = [os.path.join(POOL, "dom0", "XenAPIPlugin.py"), os.path.dirname(XenAPI.__file__)]
    host.push(PYTHON_PACKAGES, *in_every_dom0)
    host.run("systemctl restart xapi")


@contextmanager
def session(host: LabHost) -> Iterator[Any]:
    """A session with the host's xapi, over the network as any client has it; it answers soon after boot."""

    def log_in() -> Any:
        client = XenAPI.Session(f"http://127.0.0.1:{host.xapi_port}")
        try:
            client.login_with_password("root", PASSWORD, "1.0", "lab")
        except OSError:
            return None
        return client

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(COMMAND_SECONDS)
    try:
        client = wait_for(f"the xapi of {host.name}", log_in, COMMAND_SECONDS)
        try:
            yield client
        finally:
            client.logout()
    finally:
        socket.setdefaulttimeout(before)


def call(host: LabHost, function: str, **arguments: str) -> Any:
    """The answer of a function of the plugin; XenAPI.Failure where it refuses."""
    with session(host) as client:
        (ref,) = client.xenapi.host.get_all()
        return json.loads(client.xenapi.host.call_plugin(ref, "sriov", function, arguments))


def package() -> str:
    """The RPM that `make rpm` built."""
    found = glob.glob(os.path.join(image.REPOSITORY, "build", "rpm", "xapi-sriov-*.noarch.rpm"))
    if len(found) != 1:
        raise LabError(f"there are {len(found)} packages in build/rpm, not one: `make rpm` makes it")
    return found[0]


def install(host: LabHost, rpm: str) -> None:
    """Installs or upgrades the package in dom0, as an administrator does."""
    host.push("/root", rpm)
    host.run(f"rpm -U /root/{os.path.basename(rpm)}")
