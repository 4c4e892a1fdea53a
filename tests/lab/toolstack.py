"""What makes a lab host a XenServer host to our package: the agent that plays xapi, and calls from outside.

The agent is the pool in a box (tests/imitation), run in dom0; the client is the XenAPI that everybody uses.
"""

import glob
import json
import os
import re
from http.client import HTTPConnection
from typing import Any, List
from xml.sax.saxutils import unescape
from xmlrpc.client import Transport

import pytest
import XenAPI
from lab import image
from lab.errors import LabError
from lab.host import COMMAND_SECONDS, LabHost, wait_for

TESTS = os.path.join(image.REPOSITORY, "tests")
IMITATION = os.path.join(TESTS, "imitation")
LIBRARY = os.path.join(image.REPOSITORY, "plugins", "sriovlib")
AGENT = os.path.join(image.HERE, "agent")
PUSHED = os.path.join(image.HERE, "pushed")  # programs of ours for dom0
IN_DOM0 = "/opt/lab/pool"  # where the unit xapi.service looks for the agent
PYTHON_PACKAGES = "/usr/lib/python3/dist-packages"
PASSWORD = "password"
TASK_SECONDS = 1200  # a move of a VM takes minutes on an emulated CPU


def bring(host: LabHost) -> LabHost:
    """Makes the host a XenServer host with our package."""
    bring_xapi(host)
    install(host, package())
    return host


def bring_xapi(host: LabHost) -> None:
    """Puts the agent and the modules that every XenServer dom0 has into the host, and starts the agent."""
    host.push(IN_DOM0, *imitation(), *glob.glob(f"{AGENT}/*.py"), LIBRARY)
    host.push(PYTHON_PACKAGES, f"{IMITATION}/dom0/XenAPIPlugin.py", os.path.dirname(XenAPI.__file__))
    if host.exists("/boot/grub/grub.cfg"):
        host.push("/opt/xensource/libexec", os.path.join(PUSHED, "xen-cmdline"))
    host.run("systemctl restart xapi")


def imitation() -> List[str]:
    """The files of the imitation, less its tests; dom0 has them all in one folder."""
    found = glob.glob(f"{IMITATION}/*.py") + glob.glob(f"{IMITATION}/[a-z]*/*.py")
    of_tests = re.compile(r"/(test_|transcript_|conftest|dom0/)")
    return [path for path in found if not of_tests.search(path)] + [f"{IMITATION}/xapi/fields.json"]


def restart(host: LabHost) -> None:
    """xe-toolstack-restart on the one host of a pool. The agent looks at its devices anew, and keeps its
    database; systemd's part is done by hand, since the agent's unit goes on."""
    ask(host, "host.restart_agent", *ask(host, "host.get_all"))
    host.forget_session()
    assert "sriov-xapi-started.service" in host.run("systemctl show -p Wants xapi")
    host.run("systemctl start sriov-xapi-started")


def session(host: LabHost) -> Any:
    """The one session of this boot with the host's xapi, over the network as any client has it."""
    if host.session is None:
        host.session = wait_for(f"the xapi of {host.name}", lambda: _log_in(host), COMMAND_SECONDS)
    return host.session


class _Patient(Transport):
    """Waits for an answer as long as any command in dom0 may take, and not for ever."""

    def make_connection(self, host: Any) -> HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = COMMAND_SECONDS
        return connection


def _log_in(host: LabHost) -> Any:
    client = XenAPI.Session(f"http://127.0.0.1:{host.xapi_port}", _Patient())
    try:
        client.login_with_password("root", PASSWORD, "1.0", "lab")
    except OSError:
        client("close")()
        return None
    return client


def ask(host: LabHost, what: str, *arguments: Any) -> Any:
    """One call of XenAPI: `VM.start`."""
    return getattr(session(host).xenapi, what)(*arguments)


def call(host: LabHost, function: str, on: str = "", **arguments: str) -> Any:
    """The answer of a function of our plugin, on the pool's master or on that host (a reference)."""
    on = on or ask(host, "pool.get_master", *ask(host, "pool.get_all"))
    return json.loads(ask(host, "host.call_plugin", on, "sriov", function, arguments))


def call_and_wait(host: LabHost, function: str, **arguments: str) -> Any:
    """The answer of a pool function that may take longer than a connection lasts."""
    on = ask(host, "pool.get_master", *ask(host, "pool.get_all"))
    result = finishes(host, "host.call_plugin", on, "sriov", function, arguments)
    return json.loads(unescape(re.sub("^<value>|</value>$", "", result), {"&quot;": '"'}))


def finishes(host: LabHost, what: str, *arguments: Any) -> str:
    """The result of a call of XenAPI that may take longer than a connection lasts."""
    task = ask(host, f"Async.{what}", *arguments)
    wait_for(f"the end of {what}", lambda: ask(host, "task.get_status", task) != "pending", TASK_SECONDS)
    record = ask(host, "task.get_record", task)
    if record["status"] != "success":
        raise XenAPI.Failure(record["error_info"])
    return str(record["result"])


def refusal(host: LabHost, function: str, **arguments: str) -> List[str]:
    """Code, message and hint of a call that is refused."""
    with pytest.raises(XenAPI.Failure) as refused:
        call(host, function, **arguments)
    details: List[str] = refused.value.details
    return details


def problems(status: Any) -> List[str]:
    """The codes of what a result says is wrong."""
    return [problem["code"] for problem in status["problems"]]


# -- the package -----------------------------------------------------------------------------------


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
