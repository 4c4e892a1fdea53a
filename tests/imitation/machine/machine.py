"""A machine for tests: a folder that looks like a dom0's file system, and a `Host` on it that answers
writes to sysfs as the kernel does and commands as dom0's do.

All that it knows is in its folder: processes that open the same folder share one machine.
"""

import errno
import fcntl
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence, Tuple

from sriovlib.machine.command import Completed, Running
from sriovlib.machine.host import COMMAND_SECONDS, Host
from sriovlib.machine.xenstored import SOCKET as XENSTORED

if TYPE_CHECKING:
    from machine_description import Description
    from machine_qemu import Qemus
    from sriovlib.machine.xen_control import XenControl

# The imitation itself is imported where it is needed: this module is loaded with each plugin
# process, and most of those only read.

OWN_FOLDER = "/.machine"  # what the machine knows beside what its files show
LOG = "/var/log/sriov"
FAILS = b"\0"  # begins the file of an attribute whose reading fails; the errno's name follows


class Done(Running):
    """A command of the machine: it has already ended."""

    def __init__(self, completed: Completed) -> None:
        self._completed = completed

    def finish(self, seconds: float = COMMAND_SECONDS) -> Completed:  # noqa: ARG002 - as of a real command
        return self._completed


class Machine(Host):
    """The machine in a folder that `create`, `default_host` or `from_recording` has filled.

    `at_work` says that kernel or a command is at work, not the caller: whoever ends a process in its
    middle, to see what a kill leaves behind, lets these finish, as they do on a real host.
    """

    at_work = False
    qemus: Optional["Qemus"] = None  # of its domains, where somebody runs them: see machine_qemu.py

    # -- as the library sees it --------------------------------------------------------------------

    def read_bytes(self, path: str) -> bytes:
        data = super().read_bytes(path)
        if data[:1] == FAILS:
            number = getattr(errno, data[1:].decode())
            raise OSError(number, os.strerror(number), path)
        return data

    def write_attribute(self, path: str, text: str) -> None:
        if not path.startswith("/sys/"):
            super().write_attribute(path, text)
            return
        import kernel

        with self.changed() as sysfs:
            kernel.write(sysfs, path, text)

    def start(self, argv: Sequence[str], input_text: Optional[str] = None) -> Running:
        import commands

        with self.changed() as sysfs:
            return Done(commands.run(sysfs, argv, input_text))

    def kernel_log(self) -> List[bytes]:
        with self.changed() as sysfs:
            lines = enumerate(sysfs.state["kernel_log"])
            return [f"6,{number},{number * 1007919},-;{line}\n".encode() for number, line in lines]

    def xenstore(self, questions: Sequence[Tuple[int, str]]) -> List[Optional[bytes]]:
        """As long as the file of xenstored's socket is there."""
        import commands_xen

        if not os.path.lexists(self.path(XENSTORED)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), XENSTORED)
        with self.changed() as sysfs:
            return [commands_xen.xenstored(sysfs, kind, key) for kind, key in questions]

    def netlink(self, request: bytes) -> List[bytes]:
        import kernel_netlink

        with self.changed() as sysfs:
            return kernel_netlink.answer(sysfs, request)

    def xen_control(self) -> "XenControl":
        from machine_xen import Control

        return Control(self)

    def _write_log(self, text: str, priority: int = 6) -> None:  # older trees, see tests/bench, tell it
        with open(self.path(LOG), "a", encoding="utf-8") as file:
            file.write(f"<{priority}> {text}\n")

    # -- as a test drives it -----------------------------------------------------------------------

    def start_domain(
        self, uuid: str, name: str, addresses: Sequence[str] = (), passthrough: bool = True
    ) -> int:
        """A guest starts with these devices, as xenopsd would have it; its domain ID. `passthrough`: Xen
        lets it have devices, now and later."""
        import kernel_domains

        with self.changed() as sysfs:
            domid = kernel_domains.start(sysfs, uuid, name, addresses, passthrough)
        if self.qemus is not None:
            self.qemus.start(domid)
        return domid

    def rename_domain(self, before: str, after: str) -> None:
        """Its UUID is another one from now on."""
        with self.changed() as sysfs:
            for domain in sysfs.state["domains"].values():
                if domain["uuid"] == before:
                    domain["uuid"] = after

    def stop_domain(self, uuid: str) -> None:
        import kernel_domains

        with self.changed() as sysfs:
            domid = kernel_domains.stop(sysfs, uuid)
        if self.qemus is not None:
            self.qemus.stop(domid)

    def reboot(self) -> None:
        """The next boot, up to the point where dom0 starts its services; raises `DoesNotBoot` where
        the boot loader's files would not bring Xen and dom0 up."""
        import machine_build

        if self.qemus is not None:
            self.qemus.end()
        with self.changed() as sysfs:
            machine_build.boot(sysfs)

    @contextmanager
    def changed(self) -> Iterator[Any]:
        """The kernel's view of the machine (a `Sysfs`), for one change at a time; what it knows is
        kept even if the change is refused: the kernel log, for one, says why."""
        from kernel_sysfs import Sysfs
        from machine_description import from_json
        from machine_tree import read

        with open(self.path(OWN_FOLDER + "/lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            description = from_json(read(self.path(OWN_FOLDER + "/description.json")))
            before = read(self.path(OWN_FOLDER + "/state.json"))
            state: Dict[str, Any] = json.loads(before)
            Machine.at_work = True
            try:
                yield Sysfs(self.root, description, state)
            finally:
                after = json.dumps(state)
                if after != before:
                    new = self.path(OWN_FOLDER + "/state.new")
                    with open(new, "w", encoding="utf-8") as file:
                        file.write(after)
                    os.rename(new, self.path(OWN_FOLDER + "/state.json"))
                Machine.at_work = False


def create(folder: str, description: "Description") -> Machine:
    """Makes the machine of that description in an empty folder, and boots it."""
    import machine_build
    import machine_copy

    machine = Machine(folder)
    if not machine_copy.fresh(folder, description):
        machine_build.install(machine, description)
        machine.reboot()
    return machine


def default_host(folder: str, number: int = 1, **changes: Any) -> Machine:
    """A usual host: a two-port Intel 82599 without VFs yet, a management NIC; see
    `machine_description.default_description`."""
    from machine_description import default_description

    return create(folder, default_description(number, **changes))


def from_recording(folder: str, name: str) -> Machine:
    """The machine of a recording (`recordings/README.md`), in the state in which it was recorded."""
    import machine_recorded

    return machine_recorded.from_recording(folder, name)
