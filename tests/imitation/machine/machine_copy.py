"""A host like another: a copy of a machine, VFs and all, that differs in its name and addresses.

Making 126 VFs takes longer than copying them: sysfs is copied by hard links, and whoever changes a file
of it takes it apart first (`machine_tree.unshared`).
"""

import os
import shutil
import stat
import subprocess
from typing import List

import kernel_net
import machine_build
from kernel_sysfs import Sysfs, resolved
from machine import Machine
from machine_description import Description
from machine_devices import NET
from machine_tree import plant

_OF_ONE_HOST = ("description.json", "xensource-inventory")
_SHARED = "sys"


def copy(folder: str, original: Machine, description: Description) -> Machine:
    """The machine in `folder`, which must not exist. The hardware described must be the original's."""
    os.makedirs(folder)
    for name in os.listdir(original.root):
        if name != _SHARED:
            shutil.copytree(f"{original.root}/{name}", f"{folder}/{name}", symlinks=True, ignore=_not_files)
    subprocess.check_call(["cp", "--archive", "--link", f"{original.root}/{_SHARED}", folder])
    made = Machine(folder)
    for path, text in machine_build.disk(description).items():
        if path.endswith(_OF_ONE_HOST):
            plant(folder, {path: text})
    with made.changed() as sysfs:
        _give_addresses(sysfs)
    return made


def _not_files(folder: str, names: List[str]) -> List[str]:
    """Sockets: xapi's is no part of the machine."""
    return [name for name in names if stat.S_ISSOCK(os.lstat(f"{folder}/{name}").st_mode)]


def _give_addresses(sysfs: Sysfs) -> None:
    for card in sysfs.description.cards:
        for title, mac in zip(card.interfaces, card.macs):
            sysfs.put(resolved(sysfs.root, f"{NET}/{title}") + "/address", mac + "\n")
    for described in sysfs.description.interfaces:
        folder = resolved(sysfs.root, f"{NET}/{described.name}")
        if sysfs.exists(folder):
            sysfs.put(folder + "/address", kernel_net.mac_of(sysfs, described) + "\n")
