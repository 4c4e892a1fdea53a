"""dom0's commands, answered in this process: which there are, and how one is found. A command is there
if its file is, so a test that takes the file away takes the command away."""

import os
from importlib import import_module
from typing import Any, NamedTuple, NoReturn, Optional, Sequence

from kernel_sysfs import Sysfs
from sriovlib.machine.command import NOT_FOUND, Completed

PATH = ("/sbin", "/usr/sbin", "/bin", "/usr/bin")  # as xapi gives it to plugins

# Module and function of each; imported when it is asked, for a plugin process asks few.
PLACES = {
    "/sbin/ip": ("commands_ip", "ip"),
    "/sbin/modprobe": ("commands_system", "modprobe"),
    "/sbin/modinfo": ("commands_system", "modinfo"),
    "/sbin/ethtool": ("commands_system", "ethtool"),
    "/sbin/dracut": ("commands_initrd", "dracut"),
    "/usr/bin/lsinitrd": ("commands_initrd", "lsinitrd"),
    "/bin/dmesg": ("commands_system", "dmesg"),
    "/bin/uname": ("commands_system", "uname"),
    "/usr/sbin/xl": ("commands_xen", "xl"),
    "/usr/bin/xenstore-ls": ("commands_xen", "xenstore_ls"),
    "/usr/bin/xenstore-read": ("commands_xen", "xenstore_read"),
    "/usr/bin/xenstore-list": ("commands_xen", "xenstore_list"),
    "/usr/bin/xenstore-write": ("commands_xen", "xenstore_write"),
    "/usr/bin/xenstore-rm": ("commands_xen", "xenstore_rm"),
    "/sbin/extlinux": ("commands_boot", "extlinux"),
    "/opt/xensource/libexec/xen-cmdline": ("commands_boot", "xen_cmdline"),
}


class Answer(NamedTuple):
    status: int = 0
    stdout: str = ""
    stderr: str = ""


def run(sysfs: Sysfs, argv: Sequence[str], input_text: Optional[str]) -> Completed:
    place = find(sysfs, argv[0])
    if place is None:
        return Completed(argv, NOT_FOUND, "", "No such file or directory")
    module, function = PLACES[place]
    answer: Any = getattr(import_module(module), function)(sysfs, list(argv[1:]), input_text or "")
    return Completed(argv, answer.status, answer.stdout, answer.stderr)


def find(sysfs: Sysfs, command: str) -> Optional[str]:
    """Where the command is, by its own path or by PATH."""
    names = [command] if "/" in command else [f"{folder}/{command}" for folder in PATH]
    found = [name for name in names if os.access(sysfs.root + name, os.X_OK)]
    return found[0] if found else None


def not_imitated(name: str, arguments: Sequence[str]) -> NoReturn:
    """For a call that a real host would answer, and that nobody has imitated yet."""
    raise NotImplementedError(f"{name} {' '.join(arguments)}")
