"""What makes a lab host a XenServer host to our package: the agent that plays xapi, and calls from outside.

The agent is the pool in a box (tests/imitation), run in dom0; the client is the XenAPI that everybody uses.
"""

import glob
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from typing import Any, Iterator, List

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


def bring(host: LabHost) -> None:
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


@contextmanager
def session(host: LabHost) -> Iterator[Any]:
    """A session with the host's xapi, over the network as any client has it; it answers soon after boot."""

    def log_in() -> Any:
        client = XenAPI.Session(f"http://127.0.0.1:{host.xapi_port}")
        try:
            client.login_with_password("root", PASSWORD, "1.0", "lab")
        except OSError:
            client("close")()
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
            client("close")()
    finally:
        socket.setdefaulttimeout(before)


def call(host: LabHost, function: str, **arguments: str) -> Any:
    """The answer of a function of the plugin; XenAPI.Failure where it refuses."""
    with session(host) as client:
        (ref,) = client.xenapi.host.get_all()
        return json.loads(client.xenapi.host.call_plugin(ref, "sriov", function, arguments))


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


def newer_package(version: str) -> str:
    """The same package built as a later version."""
    parts = ["CHANGELOG.md", "LICENSE", "README.md", "docs", "hooks", "plugins", "rpm", "scripts"]
    folder = os.path.join(image.LAB, "rpm")
    with tempfile.TemporaryDirectory() as tree:
        subprocess.check_call(["cp", "-r", *parts, tree], cwd=image.REPOSITORY)
        for name in ("plugins/sriovlib/__init__.py", "rpm/xapi-sriov.spec"):
            with open(os.path.join(tree, name)) as file:
                text = file.read()
            with open(os.path.join(tree, name), "w") as file:
                file.write(re.sub('^(VERSION = "|Version: )[0-9.]+', rf"\g<1>{version}", text, flags=re.M))
        shutil.rmtree(folder, ignore_errors=True)
        environment = dict(os.environ, SOURCE_DATE_EPOCH="1700000000")
        build = [os.path.join(tree, "scripts", "build-rpm"), folder]
        built = subprocess.run(build, env=environment, stdout=subprocess.PIPE, check=True)
    return built.stdout.decode().strip()


def install(host: LabHost, rpm: str) -> None:
    """Installs or upgrades the package in dom0, as an administrator does."""
    host.push("/root", rpm)
    host.run(f"rpm -U /root/{os.path.basename(rpm)}")


def watched(host: LabHost, command: str) -> Any:
    """Runs a command in dom0 while somebody looks at xapi's folders; see pushed/watched."""
    import inotify_simple  # of the Python that runs the lab alone

    rpm_tests = os.path.join(TESTS, "rpm")
    watcher = [os.path.join(PUSHED, "watched"), inotify_simple.__file__]
    host.push("/opt/lab/rpm", f"{rpm_tests}/watch.py", f"{rpm_tests}/scratch.py", *watcher)
    return json.loads(host.run(f"/opt/lab/rpm/watched {command}"))
