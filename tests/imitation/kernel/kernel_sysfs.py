"""The files by which the kernel shows devices and drivers, as the kernel changes them: what all its
parts need, and nothing of their rules."""

import os
from typing import Any, Dict, List, NamedTuple, NoReturn, Optional, Tuple

from machine_description import Card, Description
from machine_devices import BUS
from machine_tree import Tree, link_to, plant, read, write_entry


class Sysfs(NamedTuple):
    """The files of one machine while one change is made, and what the kernel knows beside them."""

    root: str
    description: Description
    state: Dict[str, Any]

    # -- files -----------------------------------------------------------------------------------

    def text(self, path: str) -> str:
        return read(self.root + path)

    def exists(self, path: str) -> bool:
        return os.path.lexists(self.root + path)

    def names(self, path: str) -> List[str]:
        try:
            return sorted(os.listdir(self.root + path))
        except OSError:
            return []

    def put(self, path: str, entry: Any) -> None:
        write_entry(self.root + path, entry)

    def link(self, path: str, target: str) -> None:
        self.put(path, link_to(target, path))

    def plant(self, tree: Tree) -> None:
        plant(self.root, tree)

    def remove(self, path: str) -> None:
        """Takes a file, a link or a whole folder away, if it is there."""
        real = self.root + path
        if os.path.isdir(real) and not os.path.islink(real):
            import shutil  # takes its time, and most processes remove nothing

            shutil.rmtree(real)
        elif os.path.lexists(real):
            os.unlink(real)

    # -- devices ---------------------------------------------------------------------------------

    def device(self, address: str) -> Optional[str]:
        """The folder of a device, or None where there is no such device."""
        link = f"{BUS}/devices/{address}"
        return resolved(self.root, link) if address and self.exists(link) else None

    def driver(self, device: str) -> Optional[str]:
        """The name of the driver that holds the device."""
        try:
            return os.readlink(self.root + device + "/driver").rsplit("/", 1)[-1]
        except OSError:
            return None

    def physical(self, device: str) -> str:
        """The folder of the PF that a device is or belongs to."""
        link = device + "/physfn"
        return resolved(self.root, link) if self.exists(link) else device

    def is_virtual(self, device: str) -> bool:
        return self.exists(device + "/physfn")

    def virtual(self, physical: str) -> List[str]:
        """The folders of a PF's VFs, in the order of their numbers."""
        count = 0
        while self.exists(f"{physical}/virtfn{count}"):
            count += 1
        return [resolved(self.root, f"{physical}/virtfn{number}") for number in range(count)]

    def card(self, device: str) -> Tuple[Optional[Card], int]:
        """The card that the device, or the PF of it, belongs to, and its place in there."""
        address = name(self.physical(device))
        for card in self.description.cards:
            if address in card.addresses:
                return card, card.addresses.index(address)
        return None, 0

    # -- the log, the version --------------------------------------------------------------------

    def say(self, text: str) -> None:
        """A line in the kernel log."""
        self.state["kernel_log"].append(text)

    def older_than(self, *version: int) -> bool:
        return tuple(int(part) for part in self.description.kernel.split(".")[:2]) < version


def name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def resolved(root: str, path: str) -> str:
    """Where a path of the machine leads, links followed."""
    return _real(root + path)[len(_real(root)) :]


def _real(path: str) -> str:
    """As os.path.realpath, which asks for each part of the path: the kernel follows all links at once."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return os.path.realpath(path)
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def refuse(number: int, path: str) -> NoReturn:
    """The kernel's answer to a write that it does not take."""
    raise OSError(number, os.strerror(number), path)
