"""What changes the boot: `xen-cmdline`, which XenServer and XCP-ng bring, and `extlinux`.

What xen-cmdline makes of a file is in xen_cmdline.py. extlinux as in the lab's report: it checks nothing but
that it was given a folder of a disk's file system.
"""

import os
import tempfile
from typing import Sequence

import xen_cmdline as xen_cmdline_tool
from commands import Answer
from kernel_sysfs import Sysfs
from machine_boot import PLACES


def xen_cmdline(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    path = PLACES[sysfs.description.bootloader]
    try:
        if not sysfs.exists(path) or sysfs.description.bootloader == "extlinux":
            raise xen_cmdline_tool.Failed("RuntimeError: No existing bootloader configuration found")
        with open(sysfs.root + path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        output, new = xen_cmdline_tool.run(arguments, text, sysfs.description.brand)
    except xen_cmdline_tool.Failed as error:
        return Answer(1, "", f"Traceback (most recent call last):\n{error}\n")
    if new is not None:
        _replace(sysfs.root + path, new)
    return Answer(0, output)


def _replace(path: str, text: str) -> None:
    """Under a temporary name, then renamed: so the mode is that of mkstemp, and a link becomes a file."""
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path))
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(temporary, path)


# -- extlinux ------------------------------------------------------------------------------------

_USAGE = "Usage: extlinux [options] directory\n"


def extlinux(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """`extlinux --update FOLDER`, before 4.0 without the option too. All it says is on standard error."""
    *options, folder = arguments
    old = sysfs.description.extlinux < 4
    if options != ["--update"] and not (old and not options):
        return Answer(64, "", _USAGE)
    if not os.path.isdir(sysfs.root + folder):
        return Answer(1, "", f"extlinux: Not a directory: {folder}\n")
    # The boot sector looks there from now on, whatever is there.
    sysfs.state["extlinux"] = folder
    warning = "" if options else "extlinux: a future version will require --install or --update\n"
    return Answer(0, "", f"{warning}{folder} is device /dev/sda1\n")
