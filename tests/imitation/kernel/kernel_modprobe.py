"""modprobe.d as kmod reads it, and the initrd, which has files of its own: what a driver is loaded with.

kmod (libkmod-config.c; seen with version 30): files by their names, whatever their folder is, of two with
one name the first folder's; a line goes on behind a backslash, a comment too; the kernel's command line last.
dracut, from version 024 on, puts /etc/modprobe.d into an image in host-only mode only
(modules.d/90kernel-modules).
"""

import json
from typing import Dict, List

from kernel_sysfs import Sysfs, name
from machine_description import Description

FOLDERS = ("/etc/modprobe.d", "/run/modprobe.d", "/lib/modprobe.d")


def image(description: Description) -> str:
    return f"/boot/initrd-{description.kernel}.img"


def image_text(description: Description, files: Dict[str, str]) -> str:
    """A new image: what dracut takes of these files, and the drivers that it takes."""
    drivers = {card.driver for card in description.cards if card.driver and card.pci_class.startswith("02")}
    kept = {path: text for path, text in files.items() if description.dracut_hostonly}
    if description.initrd_drivers:
        folder = f"/usr/lib/modules/{description.kernel}/kernel/drivers/net"
        kept.update({f"{folder}/{driver}.ko.xz": "" for driver in sorted(drivers)})
    kept.update({"/init": "", f"/usr/lib/modules/{description.kernel}/modules.dep": ""})
    return json.dumps(kept, indent=1, sort_keys=True)


def in_image(sysfs: Sysfs) -> Dict[str, str]:
    found: Dict[str, str] = json.loads(sysfs.text(image(sysfs.description)))
    return found


def files(sysfs: Sysfs) -> Dict[str, str]:
    """Those on the disk that count, in their order."""
    found: Dict[str, str] = {}
    for folder in reversed(FOLDERS):
        found.update({title: f"{folder}/{title}" for title in sysfs.names(folder) if title.endswith(".conf")})
    return {found[title]: sysfs.text(found[title]) for title in sorted(found)}


def options(sysfs: Sysfs, module: str) -> str:
    """All that a driver is given, the last of two alike counts. One that the image has is loaded there."""
    kept = in_image(sysfs) if sysfs.state.get("early") else {}
    from_image = any(name(path).partition(".")[0] == module for path in kept)
    texts = (
        {path: text for path, text in kept.items() if path.endswith(".conf")} if from_image else files(sysfs)
    )
    found = [line for text in texts.values() for line in lines(text, "options")]
    found += [
        word.replace(".", " ", 1)
        for word in sysfs.text("/proc/cmdline").split()
        if word.startswith(module + ".")
    ]
    return " ".join(rest for line in found for title, _, rest in [line.partition(" ")] if title == module)


def lines(text: str, keyword: str) -> List[str]:
    """The rest of each line that begins with the keyword."""
    found = []
    for line in text.replace("\\\n", "").splitlines():
        first, _, rest = line.strip().partition(" ")
        if first == keyword:
            found.append(rest.strip())
    return found
