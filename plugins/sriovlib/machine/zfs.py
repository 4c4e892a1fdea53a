"""The ZFS pools of this dom0 and what they are on. The kernel shows nothing of that in /sys; `zpool` does."""

import re
from typing import Dict, List, Optional

from . import block_devices
from .block_devices import Disks
from .host import Host

MODULE = "/sys/module/zfs"
COMMAND = ("zpool", "status", "-P")  # with full paths
SECONDS = 10


def is_loaded(host: Host) -> bool:
    """Whether there can be pools. Where the module is not loaded, `zpool` would load it."""
    may_be = [name for name in host.names(block_devices.BLOCK) if name.startswith("zd")]
    return host.exists(MODULE) or any(re.fullmatch(r"zd\d+(p\d+)?", name) for name in may_be)


def pools(host: Host) -> Optional[Dict[str, Disks]]:
    """Each imported pool, mounted or not, and its disks; None where `zpool` fails."""
    answer = host.run(COMMAND, SECONDS)
    if answer.status:
        return None
    return {name: _disks(host, devices) for name, devices in parse(answer.stdout).items()}


def parse(text: str) -> Dict[str, List[str]]:
    """Pool -> what its vdevs are made of: paths, and, of those that are missing, whatever stands for them."""
    found: Dict[str, List[str]] = {}
    devices: List[str] = []
    for line in text.splitlines():
        heading = re.match(r"\s*pool:\s*(\S+)", line)
        if heading:
            devices = found.setdefault(heading.group(1), [])
            continue
        device = re.match(r"\s+(/\S+|\d+(?=\s.* was /))", line)
        if device:
            devices.append(device.group(1))
    return found


def _disks(host: Host, devices: List[str]) -> Disks:
    """A file is on a file system that is mounted."""
    any_pool = block_devices.one_of(block_devices.ZFS)
    on_disks = [path for path in devices if path.startswith("/dev/") or not path.startswith("/")]
    if not devices:
        return any_pool
    return block_devices.together([block_devices.by_name(host, path) for path in on_disks], any_pool)


def of_source(known: Optional[Dict[str, Disks]], source: str) -> Disks:
    """Of a mounted data set: `tank/vm`, or `tank/vm@monday`."""
    pool = re.split("[/@]", source)[0]
    return (known or {}).get(pool, block_devices.one_of(block_devices.ZFS))
