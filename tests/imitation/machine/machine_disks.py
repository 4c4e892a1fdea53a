"""dom0's disks: block devices over controllers and over each other, what is mounted, where the swap is.

As the kernel shows them: /sys/class/block, /sys/dev/block with `slaves` and `partition`, /proc/self/mountinfo
and /proc/swaps; and udev's links in /dev.
"""

import os
from typing import Dict

from kernel_sysfs import Sysfs

SCSI, MAPPED = 8, 252  # major numbers


def make(sysfs: Sysfs) -> None:
    """At a boot. Disks are described after what they stand on."""
    folders: Dict[str, str] = {}
    mounts = ["21 1 0:5 / /proc rw - proc proc rw", "22 1 0:30 / /run rw - tmpfs tmpfs rw,mode=755"]
    swaps = ["Filename\t\t\t\tType\t\tSize\tUsed\tPriority"]
    for number, disk in enumerate(sysfs.description.disks):
        controller = sysfs.device(disk.over[0])
        major, minor = (SCSI, 16 * number) if controller else (MAPPED, number)
        place = f"{controller}/ata1/host0/target0:0:0/0:0:0:0" if controller else "/sys/devices/virtual"
        folders[disk.name] = f"{place}/block/{disk.name}"
        _block(sysfs, folders[disk.name], f"{major}:{minor}")
        for below in () if controller else disk.over:
            sysfs.link(f"{folders[disk.name]}/slaves/{below}", folders[below])
        for link in disk.links:
            _link(sysfs, link, disk.name)
        parts = [(disk.name, disk.use, minor)]
        for place_of_part, (name, use) in enumerate(disk.parts, 1):
            folders[name] = f"{folders[disk.name]}/{name}"
            _block(sysfs, folders[name], f"{major}:{minor + place_of_part}")
            sysfs.put(f"{folders[name]}/partition", f"{place_of_part}\n")
            parts.append((name, use, minor + place_of_part))
        for name, use, own in parts:
            if use == "swap":
                swaps.append(f"/dev/{name}                               partition\t1048572\t0\t-2")
            elif use:
                at = use.replace(" ", "\\040")
                mounts.append(f"{len(mounts) + 23} 1 {major}:{own} / {at} rw,noatime - ext3 /dev/{name} rw")
    sysfs.put("/proc/self/mountinfo", "".join(line + "\n" for line in mounts))
    sysfs.put("/proc/swaps", "".join(line + "\n" for line in swaps))


def _block(sysfs: Sysfs, folder: str, number: str) -> None:
    name = folder.rsplit("/", 1)[-1]
    sysfs.put(f"{folder}/dev", number + "\n")
    sysfs.put(f"{folder}/slaves", {})
    sysfs.link(f"/sys/class/block/{name}", folder)
    sysfs.link(f"/sys/dev/block/{number}", folder)
    sysfs.put(f"/dev/{name}", "")


def _link(sysfs: Sysfs, link: str, name: str) -> None:
    if not os.path.lexists(sysfs.root + link):
        sysfs.link(link, f"/dev/{name}")
