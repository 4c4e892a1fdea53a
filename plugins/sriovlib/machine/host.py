"""The machine: its files, locks, commands and log. Nothing else in the library touches them.

A test gives the library another `Host`: one with a root folder of its own, or one that imitates a
whole machine. Every path that the library uses is the absolute path of a real host.
"""

import errno
import fcntl
import os
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Iterator, List, Optional, Sequence, Tuple

from ..errors import SriovError
from ..safetext import is_number, line

if TYPE_CHECKING:
    from .command import Completed, Running
    from .xen_control import XenControl

XENOPSD = "/run/nonpersistent/xenopsd"  # see xenopsd.py, which most starts do not import
RUN_FOLDER = "/run/sriov"  # locks and last results; empty after each boot
LOCK_SECONDS = 60
COMMAND_SECONDS = 30  # a dom0 command that takes longer hangs

# The kernel's own, which it should not let out and some drivers do (cxgb4: a slot without ARI). It does not
# fit into an exit status, where it would read ENOMEM.
_ENOTSUPP = 524

_ON = ("yes", "true", "on", "1")  # as config/ini.py has them


class Host:
    """The machine that this process runs on, or (with `root`) a folder that looks like one."""

    _debug: Optional[bool] = None  # None: not looked for yet

    def __init__(self, root: str = "") -> None:
        self.root = root.rstrip("/")

    @property
    def debug(self) -> bool:
        """Whether commands and writes go to the system log: `SRIOV_DEBUG=1` in the environment, or `debug =
        yes` under [host] in /etc/sriov.conf. Looked for once, and not before there is one to log."""
        if self._debug is None:
            self._debug = os.environ.get("SRIOV_DEBUG", "").lower() in _ON or self._debug_in_file()
        return self._debug

    def _debug_in_file(self) -> bool:
        text = self.text("/etc/sriov.conf") or ""
        section, found = "", False
        for words in text.splitlines() if "debug" in text else ():
            heading = re.match(r"\s*\[([^\]]*)\]", words)
            section = heading.group(1).strip() if heading else section
            pair = re.match(r"\s*debug\s*=\s*([^\s#;]*)\s*(?:[#;]|$)", words)
            found = pair.group(1).lower() in _ON if pair and section == "host" else found
        return found

    def trace(self, what: str, begun: float, answer: str) -> None:
        """One line of `debug`: what was done, in how many milliseconds, and the answer."""
        self.log(f"debug: {what}: {(time.monotonic() - begun) * 1000:.0f} ms, {answer}")

    @contextmanager
    def _traced(self, what: str) -> Iterator[None]:
        begun, answer = time.monotonic(), "done"
        try:
            yield
        except OSError as error:
            answer = error.strerror or str(error)
            raise
        finally:
            if self.debug:
                self.trace(what, begun, answer)

    # -- reading ---------------------------------------------------------------------------------

    def path(self, path: str) -> str:
        """Where `path` of the host really is."""
        return self.root + path

    def read(self, path: str) -> str:
        """The text of a file or of a kernel attribute, in one go; raises OSError."""
        return self.read_bytes(path).decode("utf-8", "replace")

    def read_bytes(self, path: str) -> bytes:
        descriptor = os.open(self.root + path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(descriptor, 65536)  # a kernel attribute is less than that
            parts = [data]
            rest = max(65536, os.fstat(descriptor).st_size) if len(data) == 65536 else 65536
            while data:
                data = os.read(descriptor, rest)
                parts.append(data)
            return b"".join(parts)
        finally:
            os.close(descriptor)

    def text(self, path: str) -> Optional[str]:
        """The text of an attribute without its newline, or None where it cannot be read: devices
        and files may vanish at any time, and some attributes exist but refuse to be read."""
        try:
            return self.read(path).rstrip("\n")
        except OSError:
            return None

    def number(self, path: str) -> Optional[int]:
        """A decimal attribute, or None where it cannot be read or is no number as the kernel writes one."""
        text = (self.text(path) or "").strip()
        digits = text[1:] if text.startswith("-") else text
        return int(text) if is_number(digits) and len(digits) < 20 else None

    def exists(self, path: str) -> bool:
        return os.path.exists(self.root + path)

    def is_writable(self, path: str) -> bool:
        """Whether the attribute takes writes at all; root may write, so its mode is what tells."""
        try:
            return bool(os.stat(self.root + path).st_mode & 0o222)
        except OSError:
            return False

    def names(self, path: str) -> List[str]:
        """The names in a folder, sorted; none where there is no such folder."""
        try:
            return sorted(os.listdir(self.root + path))
        except OSError:
            return []

    def listing(self, path: str) -> List[str]:
        """As `names`, where a folder that cannot be listed must not pass for an empty one: raises OSError."""
        try:
            return sorted(os.listdir(self.root + path))
        except FileNotFoundError:
            return []

    def link(self, path: str) -> Optional[str]:
        """The last part of what a symbolic link points to (sysfs: the name of a driver, a device)."""
        try:
            return os.readlink(self.root + path).rsplit("/", 1)[-1]
        except OSError:
            return None

    def real_path(self, path: str) -> Optional[str]:
        """The path of this host without links, or None where there is nothing."""
        real = os.path.realpath(self.root + path)
        if not os.path.exists(real):
            return None
        top = os.path.realpath(self.root) if self.root else ""
        return real[len(top) :] if real.startswith(top + "/") else None

    # -- writing ---------------------------------------------------------------------------------

    def write_attribute(self, path: str, text: str) -> None:
        """Gives `text` to the kernel in one write(2); raises the OSError that the kernel answers."""
        with self._traced(f"{text} > {path}"):
            descriptor = os.open(self.root + path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)

    def write_attribute_within(self, path: str, text: str, seconds: float) -> None:
        """As `write_attribute`, in a process of its own: a driver that hangs in the kernel cannot be
        killed, but it can be left behind. Raises the kernel's OSError, or ETIMEDOUT."""
        with self._traced(f"{text} > {path}"):
            self._write_within(path, text, seconds)

    def _write_within(self, path: str, text: str, seconds: float) -> None:
        child = os.fork()
        if child == 0:
            answer = 255
            try:
                null = os.open(os.devnull, os.O_RDWR)
                for descriptor in range(3):  # whoever waits for our output must not wait for the child
                    os.dup2(null, descriptor)
                os.closerange(3, 4096)  # nor must a lock of ours outlive us in it
                self._debug = False  # the parent says it
                self.write_attribute(path, text)
                answer = 0
            except OSError as error:
                answer = errno.EOPNOTSUPP if error.errno == _ENOTSUPP else error.errno or 255
            finally:
                os._exit(answer)
        deadline = time.monotonic() + seconds
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            if time.monotonic() >= deadline:
                import signal  # as subprocess takes long to load

                os.kill(child, signal.SIGKILL)
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), path)
            time.sleep(0.01)
        number = os.WEXITSTATUS(status) if os.WIFEXITED(status) else errno.EINTR
        if number:
            raise OSError(number, os.strerror(number), path)

    def replace_file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Makes the file hold `data`, whole or not at all: a crash leaves the old file or the new.

        A file that is there keeps its owner and mode, and a symbolic link goes on pointing to it;
        a new one gets `mode`. The temporary file is in the same folder under a fixed name, so that
        one left over from a crash is taken away by the next write. Callers hold a lock.
        """
        with self._traced(f"{len(data)} bytes > {path}"):
            self._replace(path, data, mode)

    def _replace(self, path: str, data: bytes, mode: int) -> None:
        real = os.path.realpath(self.root + path)
        folder, name = os.path.split(real)
        temporary = os.path.join(folder, f".{name}.sriov-new")
        try:
            before: Optional[os.stat_result] = os.stat(real)
        except FileNotFoundError:
            before = None
        self._discard(temporary)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                made = os.fstat(descriptor)
                if before is not None and (before.st_uid, before.st_gid) != (made.st_uid, made.st_gid):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, mode if before is None else before.st_mode & 0o7777)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, real)
        except BaseException:
            self._discard(temporary)
            raise
        self._sync_folder(folder)

    def rename(self, path: str, new_path: str) -> None:
        """Gives a file another name in its folder, in the place of what has that name."""
        with self._traced(f"rename {path} {new_path}"):
            os.rename(self.root + path, self.root + new_path)
        self._sync_folder(os.path.dirname(self.root + new_path))

    def mode(self, path: str) -> int:
        return os.stat(self.root + path).st_mode & 0o7777

    def owner(self, path: str) -> Tuple[int, int]:
        """Who owns the file: the numbers of user and group."""
        found = os.stat(self.root + path)
        return found.st_uid, found.st_gid

    def set_owner(self, path: str, owner: Tuple[int, int]) -> None:
        if self.owner(path) != owner:  # some file systems know no owners, and refuse even to be asked
            os.chown(self.root + path, *owner)

    def modified(self, path: str) -> float:
        """When the file was last written, in seconds."""
        return os.stat(self.root + path).st_mtime

    def version(self, path: str) -> Tuple[int, int, int]:
        """Another one when the file has been written since: its time alone may be in seconds (ext3)."""
        found = os.stat(self.root + path)
        return found.st_ino, found.st_size, found.st_mtime_ns

    def is_link(self, path: str) -> bool:
        return os.path.islink(self.root + path)

    def set_mode(self, path: str, mode: int) -> None:
        os.chmod(self.root + path, mode)

    def make_folder(self, path: str) -> None:
        """Makes sure that there is the folder; raises OSError."""
        os.makedirs(self.path(path), mode=0o755, exist_ok=True)

    def remove_file(self, path: str) -> None:
        """Takes the file away; none there is as good."""
        with self._traced(f"remove {path}"):
            self._discard(self.root + path)

    def try_to_remove(self, path: str) -> None:
        """As `remove_file`, where the outcome does not depend on it."""
        try:
            self.remove_file(path)
        except OSError:
            pass

    @staticmethod
    def _discard(path: str) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass

    @staticmethod
    def _sync_folder(folder: str) -> None:
        """Makes a rename outlive a power cut. Where that fails (vfat, as an EFI system partition has,
        cannot do it; or the folder cannot be opened) the rename has happened all the same, so it is no
        failure of the write."""
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            os.fsync(descriptor)
        except OSError:
            pass
        finally:
            os.close(descriptor)

    def xen_control(self) -> "XenControl":
        """A connection to Xen, to be closed; see xen_control.py. Raises SriovError."""
        from .xen_control import XenControl  # ctypes takes long to load, and few calls need it

        return XenControl(self)

    def kernel_log(self) -> List[bytes]:
        """The records of the kernel's log, the oldest first; see kernel_log.py. Raises OSError."""
        from . import kernel_log

        return kernel_log.read(self.root + kernel_log.DEVICE)

    def xenstore(self, questions: Sequence[Tuple[int, str]]) -> List[Optional[bytes]]:
        """What xenstored answers to each; see xenstored.py. Raises OSError."""
        from . import xenstored

        return xenstored.ask(self.path(xenstored.SOCKET), questions) if questions else []

    def netlink(self, request: bytes) -> List[bytes]:
        """The messages with which the kernel answers; see netlink.py. Raises OSError."""
        from . import netlink

        return netlink.ask(request)

    # -- commands, locks, log --------------------------------------------------------------------

    def start(self, argv: Sequence[str], input_text: Optional[str] = None) -> "Running":
        """Starts a dom0 command, found by PATH; its `finish` gives the answer. No shell, ever."""
        from .command import Running  # most calls and starts start none

        return Running(argv, input_text, self.trace if self.debug else None)

    def run(
        self, argv: Sequence[str], seconds: float = COMMAND_SECONDS, input_text: Optional[str] = None
    ) -> "Completed":
        return self.start(argv, input_text).finish(seconds)

    @contextmanager
    def lock(
        self, name: str, doing: str, seconds: float = LOCK_SECONDS, what: str = "This host"
    ) -> Iterator[None]:
        """Holds the host-wide lock `name`; it ends with the process, however that ends.

        `doing` is what others read while they wait. Only root may open the file: who can read it can
        hold it. After `seconds` of waiting: `SRIOV_BUSY`, which says that `what` is busy.
        """
        path = f"{RUN_FOLDER}/{name}.lock"
        try:
            self.make_folder(RUN_FOLDER)
            descriptor = os.open(self.path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.fchmod(descriptor, 0o600)  # an older version made it for all to read
        except OSError as error:
            raise SriovError(
                "SRIOV_NO_LOCK",
                f"{path} could not be created: {error.strerror}.",
                "Check that /run is writable and has room: this file keeps changes apart.",
            ) from error
        try:
            deadline = time.monotonic() + seconds
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
                        raise SriovError(
                            "SRIOV_BUSY",
                            f"{what} is busy with another call ({holder or name}).",
                            "Wait until it has ended, then call again.",
                        ) from None
                    time.sleep(0.05)
            try:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{doing}, process {os.getpid()}\n".encode(), 0)
            except OSError:
                pass  # /run is full; who has the lock is a comfort
            yield
        finally:
            os.close(descriptor)

    def log(self, text: str) -> None:
        """One line in the system log, as `sriov`, whatever is in the text."""
        self._write_log(line(text))

    def _write_log(self, text: str) -> None:
        import syslog  # most calls log nothing

        syslog.openlog("sriov", syslog.LOG_PID, syslog.LOG_DAEMON)
        syslog.syslog(syslog.LOG_INFO, text)


def this_machine() -> Host:
    """The host that the entry points work on (the one thing that a pool in a box replaces)."""
    return Host()
