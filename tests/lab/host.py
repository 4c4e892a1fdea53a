"""A lab host: real Xen and its dom0 in a QEMU process, and what a story does with it from outside.

The disks come from image.py, the machine from qemu.py; what only our product needs is in toolstack.py.
All of a host's files are in its folder under `hosts/` of the work folder: disk, console, sockets, process id.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Callable, List, Optional, TypeVar

from lab import image, qemu
from lab.errors import LabError

BOOT_SECONDS = 900  # 40 on an idle machine, three times that on a loaded one
COMMAND_SECONDS = 300
# said by dom0's systemd when all is started: before that a connection would only take time from the boot
UP = re.compile(r"Reached target \S*multi-user\.target")
ASK_SECONDS = 60  # for dom0 itself, should its line on the console be broken by another
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
# said by extlinux, Xen and Linux before they try again for ever
NEVER_BOOTS = ("No files found!", "Panic on CPU", "Kernel panic")
HOSTS = os.path.join(image.LAB, "hosts")

Found = TypeVar("Found")


def wait_for(what: str, look: Callable[[], Optional[Found]], seconds: float) -> Found:
    """Asks until there is an answer."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds:g} s")
        time.sleep(0.5)


def say(what: str) -> None:
    """Tells what has just been seen, and in which story; stdout is not a worker's of pytest-xdist."""
    story = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[2].partition(" ")[0]
    print(f"{time.strftime('%X')} {story}: {what}", file=sys.stderr, flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LabHost:
    """One host. It is made when it starts, from a fresh disk, and lives until `stop`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = os.path.join(HOSTS, name)
        self._machine: List[str] = []
        self.session: Any = None  # with the xapi of this boot (toolstack.py)

    # -- power -----------------------------------------------------------------------------------

    def start(self, loader: str = "extlinux", hardware: qemu.Hardware = qemu.USUAL) -> None:
        """Switches a new host on and waits until its dom0 has booted."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        image.overlay(image.disk(loader), "qcow2", self._file("disk.qcow2"))
        ssh_port, xapi_port = free_port(), free_port()
        for name, port in (("ssh-port", ssh_port), ("xapi-port", xapi_port)):
            with open(self._file(name), "w") as file:
                file.write(str(port))
        disk = self._file("disk.qcow2")
        self._machine = qemu.host(image.QEMU, self.name, disk, hardware, ssh_port, xapi_port)
        self.power_on()

    def power_on(self) -> None:
        """Switches it on, with the disk as it is, and waits until its dom0 has booted."""
        say(f"{self.name} is switched on")
        console = self._console_size()
        with open(self._file("qemu-errors"), "wb") as errors:
            if subprocess.call(self._machine, cwd=self.folder, stderr=errors):
                raise LabError(f"QEMU did not start {self.name}: {self._text('qemu-errors')}")
        self._wait_for_boot(other_than="", console_from=console)

    @property
    def running(self) -> bool:
        return self._process() is not None

    @property
    def xapi_port(self) -> int:
        """Where this machine reaches the host's xapi, on loopback."""
        return int(self._text("xapi-port"))

    def stop(self) -> None:
        """Pulls the plug: of what dom0 wrote, that stays which it had flushed to its disk."""
        self.forget_session()
        process = self._process()
        if process is None:
            return
        self._hang_up()
        os.kill(process, signal.SIGKILL)
        wait_for(f"the end of {self.name}", lambda: not self.running, 60)

    def reboot(self) -> None:
        """Reboots dom0 by its own command, and waits for the next boot of the same machine."""
        say(f"{self.name} reboots")
        process = self._process()
        before = self.run(BOOT_ID).strip()
        console = self._console_size()
        self.attempt("systemctl reboot")  # the connection may break while it answers
        self._hang_up()
        self._wait_for_boot(other_than=before, console_from=console)
        if self._process() != process:
            raise LabError(f"{self.name} is another QEMU process after its reboot")

    def forget_session(self) -> None:
        """With a xapi that is gone, or knows it no more."""
        if self.session is not None:
            self.session("close")()
            self.session = None

    def _wait_for_boot(self, other_than: str, console_from: int) -> None:
        self.forget_session()
        started = asked = time.monotonic()

        def booted() -> bool:
            nonlocal asked
            if not self.running:
                raise LabError(f"{self.name} went off while it booted: {self._text('qemu-errors')}")
            console = self._text("console", console_from)
            for sign in filter(console.__contains__, NEVER_BOOTS):
                raise LabError(f"{self.name} does not boot, its console says `{sign}`")
            if not UP.search(console) and time.monotonic() < asked + ASK_SECONDS:
                return False
            answer = self.attempt(BOOT_ID, 60, "-o", "ControlPath=none")
            asked = time.monotonic()
            return answer.returncode == 0 and answer.stdout.strip() not in ("", other_than)

        wait_for(f"the boot of {self.name}", booted, BOOT_SECONDS)
        self.attempt("systemctl is-system-running --wait", BOOT_SECONDS)
        say(f"{self.name}: dom0 is up after {time.monotonic() - started:.0f} s")

    def _process(self) -> Optional[int]:
        """QEMU's process, if it is there and is this host's (numbers are used again)."""
        number = self._text("pid").strip()
        if not number:
            return None
        try:
            with open(f"/proc/{number}/cmdline") as file:
                ours = self._file("disk.qcow2") in file.read()
        except OSError:
            ours = False
        return int(number) if ours else None

    def _console_size(self) -> int:
        path = self._file("console")
        return os.path.getsize(path) if os.path.exists(path) else 0

    def _file(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _text(self, name: str, start: int = 0) -> str:
        try:
            with open(self._file(name), "rb") as file:
                file.seek(start)
                return file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    # -- dom0, by ssh ----------------------------------------------------------------------------

    def ssh(self, *options: str) -> List[str]:
        """The ssh command to dom0's root, to be run in the host's folder: calls share one connection."""
        settings = (
            "BatchMode=yes ConnectTimeout=30 StrictHostKeyChecking=no UserKnownHostsFile=/dev/null "
            "LogLevel=ERROR ServerAliveInterval=10 ServerAliveCountMax=6 "
            "ControlMaster=auto ControlPersist=600 ControlPath=ssh "
            "KexAlgorithms=curve25519-sha256 Ciphers=aes128-ctr"  # what an emulated CPU does soonest
        ).split()
        words = ["ssh", *options, "-p", self._text("ssh-port"), "-i", image.KEY]
        for setting in settings:
            words += ["-o", setting]
        return [*words, "root@127.0.0.1"]

    def attempt(
        self, command: str, seconds: float = COMMAND_SECONDS, *options: str
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a shell command in dom0, whatever comes of it. Status 255: ssh failed, or no end in time."""
        words = [*self.ssh(*options), command]
        try:
            return subprocess.run(
                words,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(words, 255, "", f"no end after {seconds:g} s")

    def run(self, command: str, seconds: float = COMMAND_SECONDS) -> str:
        """Runs a shell command in dom0 and gives its output; it must end well."""
        done = self.attempt(command, seconds)
        if done.returncode:
            said = f"{done.stdout}{done.stderr}".strip()
            raise LabError(f"{self.name}: `{command}` ended with status {done.returncode}: {said}")
        return done.stdout

    def exists(self, path: str) -> bool:
        return self.attempt(f"test -e {shlex.quote(path)}").returncode == 0

    def push(self, target_folder: str, *sources: str) -> None:
        """Puts files and folders into a folder of dom0, which is made if it is not there."""
        pack = ["tar", "--exclude=__pycache__", "--owner=root", "--group=root", "-c"]
        for source in sources:
            pack += ["-C", *os.path.split(source)]
        target = shlex.quote(target_folder)
        subprocess.run(
            [*self.ssh(), f"mkdir -p {target} && tar -C {target} -x"],
            cwd=self.folder,
            input=subprocess.check_output(pack),
            check=True,
            timeout=COMMAND_SECONDS,
        )

    def _hang_up(self) -> None:
        """Ends the shared connection, which would otherwise outlive the boot that it belongs to."""
        subprocess.call(self.ssh("-q", "-O", "exit"), cwd=self.folder, stderr=subprocess.DEVNULL)

    # -- guests ----------------------------------------------------------------------------------

    def run_in_guest(self, name: str, command: str) -> str:
        """Runs a shell command in a guest, over its console."""
        return self.run(f"guest-run {name} {shlex.quote(command)}")

    # -- what is left to look at when a story fails ----------------------------------------------

    def keep_logs(self, folder: str) -> None:
        """Puts all that the host can tell into a folder, whatever state it is in."""
        os.makedirs(folder, exist_ok=True)
        for name in ("console", "qemu-errors"):
            with open(os.path.join(folder, name), "w") as file:
                file.write(self._text(name))
        for name, command in (
            ("journal", "journalctl -b --no-pager -o short-monotonic"),
            ("xl", "xl info; xl list; xl dmesg"),
            ("guests", "tail -n +1 /var/log/xen/console/*"),
            ("boot-configuration", "tail -n +1 /boot/extlinux.conf /boot/grub/grub.cfg /etc/sriov.conf"),
        ):
            done = self.attempt(command, 60)
            if done.returncode == 255:  # dom0 does not answer, and will not for the next one
                break
            with open(os.path.join(folder, name), "w") as file:
                file.write(done.stdout + done.stderr)


def all_running() -> List[LabHost]:
    names = sorted(os.listdir(HOSTS)) if os.path.isdir(HOSTS) else []
    return [host for host in map(LabHost, names) if host.running]
