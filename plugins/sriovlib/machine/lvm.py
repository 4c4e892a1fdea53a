"""The disks of LVM's volume groups."""

import re
from typing import List

from . import block_devices
from .block_devices import Disks
from .host import Host

_NAME = r"[A-Za-z0-9+_.][-A-Za-z0-9+_.]*"  # lvm(8), VALID NAMES
SECONDS = 10


def group(host: Host, name: str) -> Disks:
    """The disks of a volume group: those below its active volumes, and its physical volumes, by `vgs` or at
    least, by `lvs`, those that it has something on."""
    if not re.fullmatch(_NAME, name):
        return block_devices.one_of(block_devices.LVM)
    active = block_devices.together(_active(host, name))
    for argv, pattern in (
        (("vgs", "--noheadings", "--options", "pv_name", name), r"\S.*"),
        (("lvs", "--all", "--noheadings", "--options", "devices", name), r"/dev/[^\s,(]+"),
    ):
        answer = host.run(argv, SECONDS)
        paths = [path.strip() for path in re.findall(pattern, answer.stdout)]
        found = [block_devices.by_name(host, path) for path in paths]
        told = [one for one in found if one is not None]
        if answer.status == 0 and found and len(told) == len(found):
            return block_devices.together([active, *told])
    return block_devices.together([active, block_devices.one_of(block_devices.LVM)])


def _active(host: Host, name: str) -> List[Disks]:
    """Device mapper calls a volume GROUP-VOLUME, with the hyphens of both doubled."""
    start = re.escape(name.replace("-", "--")) + "-(?!-)"
    return [
        block_devices.below(host, host.real_path(f"{block_devices.BLOCK}/{device}"))
        for device in host.names(block_devices.BLOCK)
        if device.startswith("dm-")
        and re.match(start, host.text(f"{block_devices.BLOCK}/{device}/dm/name") or "")
    ]
