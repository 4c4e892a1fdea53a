"""Which PCI devices dom0's file systems, its swap and its storage repositories are on: through partitions,
device mapper, LVM and md down to the disks, and by their place in /sys to their controllers."""

import re
from typing import Dict, Iterator, List, Mapping, Optional, Set, Tuple

from . import pci
from .host import Host

MOUNTS, SWAPS = "/proc/self/mountinfo", "/proc/swaps"
_BY_SCSI_ID = ("/dev/disk/by-id/scsi-{}", "/dev/mapper/{}", "/dev/disk/by-scsid/{}")
_SUBSYSTEM = "(/.*/nvme-subsystem/[^/]+)/"


def controller(path: Optional[str]) -> Optional[str]:
    """The PCI device that something in /sys belongs to: the last of those on the way to it."""
    for part in reversed((path or "").split("/")):
        if pci.parse_address(part) == part:
            return part
    return None


def controllers(host: Host, folder: Optional[str]) -> Set[str]:
    """The PCI devices below a block device; `folder` is its real path in /sys. None for one that is on no
    disk of this host: of the network, or in memory."""
    found: Set[str] = set()
    seen: Set[str] = set()
    to_do = [folder]
    while to_do:
        place = to_do.pop()
        if place is None or place in seen:
            continue
        seen.add(place)
        if host.exists(f"{place}/partition"):
            place = place.rpartition("/")[0]
        to_do += [host.real_path(f"{place}/slaves/{name}") for name in host.names(f"{place}/slaves")]
        address = controller(place)
        if address is not None:
            found.add(address)
        # NVMe with several paths: the disk is of the subsystem, which has a link to each controller
        subsystem = re.match(_SUBSYSTEM, place) if "/nvme-subsystem/" in place else None
        if subsystem:
            top = subsystem.group(1)
            ports = [host.real_path(f"{top}/{name}") for name in host.names(top) if name.startswith("nvme")]
            found.update(address for address in map(controller, ports) if address)
    return found


def by_name(host: Host, path: str) -> Set[str]:
    """The PCI devices below a block device that is called so in /dev, by whatever link."""
    real = host.real_path(path) if path.startswith("/dev/") else None
    if real is None or not real.startswith("/dev/"):
        return set()
    name = real[len("/dev/") :].replace("/", "!")  # cciss/c0d0
    return controllers(host, host.real_path(f"/sys/class/block/{name}"))


def mounted(host: Host) -> Iterator[Tuple[str, Set[str]]]:
    """Each mounted file system that is on disks: where, and on which PCI devices (kernel:
    Documentation/filesystems/proc.rst, 3.5)."""
    for line in (host.text(MOUNTS) or "").splitlines():
        left, separator, right = line.partition(" - ")
        fields, source = left.split(" "), right.split(" ")
        if not separator or len(fields) < 5 or len(source) < 2:
            continue
        if fields[2].startswith("0:"):  # btrfs and the like have no device number of their own
            found = by_name(host, _plain(source[1])) if source[1].startswith("/dev/") else set()
        else:
            found = controllers(host, host.real_path(f"/sys/dev/block/{fields[2]}"))
        if found:
            yield _plain(fields[4]), found


def swap(host: Host) -> Set[str]:
    """The PCI devices with swap space on them; a swap file is on a file system that is mounted."""
    lines = (host.text(SWAPS) or "").splitlines()[1:]
    names = [line.split()[0] for line in lines if " partition" in line.replace("\t", " ")]
    return {address for name in names for address in by_name(host, _plain(name))}


def repository(host: Host, device_config: Mapping[str, str]) -> Set[str]:
    """The PCI devices of a storage repository, by the device_config of its PBD."""
    paths: List[str] = [path.strip() for path in device_config.get("device", "").split(",") if path.strip()]
    scsi_id = device_config.get("SCSIid", "")
    if scsi_id and "/" not in scsi_id:
        for pattern in _BY_SCSI_ID:
            path = pattern.format(scsi_id)
            paths += [path, *(f"{path}/{name}" for name in host.names(path))]
    return {address for path in paths for address in by_name(host, path)}


def _plain(text: str) -> str:
    """The kernel writes blanks and the like as `\\040` in these files."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), text)


def by_controller(host: Host) -> Dict[str, List[str]]:
    """PCI device -> what is mounted from it, in words."""
    found: Dict[str, List[str]] = {}
    for place, addresses in mounted(host):
        for address in addresses:
            found.setdefault(address, []).append(f"the mounted file system {place}")
    for address in swap(host):
        found.setdefault(address, []).append("swap")
    return found
