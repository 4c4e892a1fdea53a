"""A dom0 in a folder, with a package database of its own, to install packages on and erase them from.

It has what the scriptlets of a package meet on a host: sh, coreutils, Python and systemctl, from Debian
packages of this machine's release. What packages there are is packages.py's.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import List, NamedTuple, Sequence

import XenAPI

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", "tests")
XAPI_D = "/etc/xapi.d"
SECONDS = 300  # nothing here takes more than a few

_DEBIAN = ["coreutils", "dash", "python3", "systemd", "util-linux"]


class Ended(NamedTuple):
    """How a command ended, and all that it said."""

    status: int
    said: str


class Dom0:
    """The host whose files are below `root`."""

    def __init__(self, root: str) -> None:
        self.root = root

    def path(self, path: str) -> str:
        return self.root + path

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), "w") as file:
            file.write(text)
        os.chmod(self.path(path), mode)

    def read(self, path: str) -> str:
        with open(self.path(path)) as file:
            return file.read()

    def resolve(self, path: str) -> str:
        """Where a link of the host leads, as a path of this machine."""
        target = os.readlink(self.path(path))
        return self.path(os.path.join(os.path.dirname(path), target))

    def rpm(self, *arguments: str) -> Ended:
        return _run(self._rpm(*arguments))

    def cut_off_rpm(self, path: str, *arguments: str) -> None:
        """As `rpm`, but ends it and all that it started, as a power cut would, when one of them has just
        made, renamed or removed `path`, as it calls it (rpm names its own files without their folder)."""
        log = self.root + ".strace"
        changes = "mkdir,mkdirat,rename,renameat,renameat2,symlink,symlinkat,unlink,unlinkat"
        stop = ["-P", path, "-e", f"trace={changes}", "-e", f"inject={changes}:signal=SIGSTOP"]
        process = subprocess.Popen(
            ["strace", "-f", "-o", log, *stop, *self._rpm(*arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + SECONDS
        while not os.path.exists(log) or b"stopped by SIGSTOP" not in Path(log).read_bytes():
            assert process.poll() is None, f"rpm ended and nobody had touched {path}"
            assert time.monotonic() < deadline, f"nobody touched {path}"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=SECONDS)
        os.unlink(log)
        second = int(time.time())
        while int(time.time()) == second:  # rpm's temporary names are those of the second when it started
            time.sleep(0.01)

    def _rpm(self, *arguments: str) -> List[str]:
        return ["rpm", "--force-debian", "--root", self.root, "--dbpath", "/var/lib/rpm", *arguments]

    def rpm_succeeds(self, *arguments: str) -> None:
        """As `rpm`, for a transaction that has nothing to complain of."""
        ended = self.rpm(*arguments)
        assert ended == Ended(0, ""), ended.said

    def run(self, *command: str) -> Ended:
        """Runs a command of the host."""
        return _run(["chroot", self.root, *command])

    def files(self) -> List[str]:
        """All that is there, less the package database and the byte code of Python's own modules."""
        found = []
        for folder, folders, names in os.walk(self.root):
            inside = folder[len(self.root) :]
            if inside == "/var/lib/rpm":
                folders.clear()
                continue
            if "__pycache__" in folders and inside.startswith("/usr/lib/python3"):
                folders.remove("__pycache__")
            found += [f"{inside}/{name}" for name in folders + names]
        return sorted(found)


def _run(command: Sequence[str]) -> Ended:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        env={"PATH": "/sbin:/usr/sbin:/bin:/usr/bin", "HOME": "/root"},
        timeout=SECONDS,
    )
    return Ended(done.returncode, done.stdout)


def template() -> str:
    """The folder that every host is copied from; made once, and again for another Debian release."""
    with open("/etc/os-release") as file:
        release = dict(line.strip().split("=", 1) for line in file if "=" in line)["VERSION_CODENAME"]
    folder = os.path.join(BUILD, f"dom0-{release}-{'-'.join(_DEBIAN)}")
    os.makedirs(BUILD, exist_ok=True)
    with open(folder + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not os.path.isdir(folder):
            _make_template(release, folder)
    return folder


def _make_template(release: str, folder: str) -> None:
    unfinished = folder + ".new"
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=extract",
        f"--include={','.join(_DEBIAN)}",
    ]
    subprocess.run([*command, release, unfinished], check=True)
    os.rename(unfinished, folder)


def make(folder: str, packages: str) -> Dom0:
    """A host as it is before our package comes: with a package `packages` of what dom0 has, the modules
    that xapi brings, and the scripts of other people in xapi's folders."""
    subprocess.run(["cp", "--archive", "--link", template(), folder], check=True)
    dom0 = Dom0(folder)
    modules = dom0.path("/usr/lib/python3/dist-packages")
    shutil.copytree(os.path.dirname(XenAPI.__file__), os.path.join(modules, "XenAPI"))
    shutil.copy(os.path.join(ROOT, "tests", "imitation", "dom0", "XenAPIPlugin.py"), modules)
    for name in ("/run", "/usr/lib/systemd/system", "/usr/share/licenses", "/var/tmp"):
        os.makedirs(dom0.path(name), exist_ok=True)
    dom0.write(XAPI_D + "/plugins/echo", "#!/bin/sh\necho\n", 0o755)
    dom0.write(XAPI_D + "/vm-pre-start/10-admin", "#!/bin/sh\nexit 0\n", 0o755)
    dom0.rpm_succeeds("--install", packages)
    return dom0
