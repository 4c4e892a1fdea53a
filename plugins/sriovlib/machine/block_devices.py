"""Which PCI devices a block device of dom0 is on: through partitions, device mapper, LVM and md down to the
disks, and by their place in /sys to their controllers."""

import re
from typing import Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Set

from ..safetext import is_number
from . import management_network, pci, sysfs
from .host import Host

BLOCK, UDEV = "/sys/class/block", "/run/udev/data"
FC_HOSTS = "/sys/class/fc_host"
ANY = "any"
# What udev calls partitions (ID_FS_TYPE, of libblkid) that file systems and volumes are made of.
ZFS, BTRFS, LVM = "zfs_member", "btrfs", "LVM2_member"
ZVOL = "zvol"  # of a ZFS pool, whichever

_SUBSYSTEM = "(/.*/nvme-subsystem/[^/]+)/"
_VIRTUAL = "/sys/devices/virtual/block/"
_OVER_NETWORK = re.compile(r"/net/([^/]+)/")
# Made by software, and on no disk of this host, or only on what is seen without them.
_ON_NO_DISK = re.compile(r"(ram|zram|nbd|rbd|td)[0-9a-z]+")
_NO_DISK = re.compile(r"(sr|fd|loop|ram|zram|nbd|rbd)\d+")


class Disks(NamedTuple):
    """What something of dom0 is on: these PCI devices and, where that is not all, perhaps any partition of
    these kinds: a kind of udev's, ANY, or ZVOL."""

    controllers: FrozenSet[str] = frozenset()
    perhaps: FrozenSet[str] = frozenset()


NOWHERE = Disks()
UNKNOWN = Disks(perhaps=frozenset([ANY]))


def one_of(kind: str) -> Disks:
    return Disks(perhaps=frozenset([kind]))


def together(parts: Iterable[Optional[Disks]], instead: Disks = UNKNOWN) -> Disks:
    """All of these; `instead` for one that is not known (None)."""
    of = [instead if part is None else part for part in parts]
    return Disks(
        frozenset().union(*(part.controllers for part in of)),
        frozenset().union(*(part.perhaps for part in of)),
    )


def controller(path: Optional[str]) -> Optional[str]:
    """The PCI device that something in /sys belongs to: the last one in its path."""
    return ([None, *_devices(path or "")])[-1]


def _devices(path: str) -> List[str]:
    """The last PCI device of a path in /sys, after those that make a PCI domain of their own (Intel's VMD:
    linux, drivers/pci/controller/vmd.c): without one of them what is behind it is gone too."""
    parts = path.split("/")
    there = [(place, part) for place, part in enumerate(parts) if pci.is_address(part)]
    last = there[-1:]
    bridges = [one for one in there if _is_domain((parts + [""])[one[0] + 1])]
    return [part for _, part in [*bridges, *last]]


def _is_domain(part: str) -> bool:
    """pci10000:00"""
    domain, colon, _ = part[3:].partition(":")
    is_one = 4 <= len(domain) <= 8 and not domain.strip("0123456789abcdef")
    return part.startswith("pci") and colon != "" and is_one


def below(host: Host, folder: Optional[str]) -> Disks:
    """The PCI devices below a block device; `folder` is its real path in /sys. None for one that is on no
    disk of this host: of the network, or in memory."""
    found: List[Disks] = []
    seen: Set[str] = set()
    to_do = [folder]
    while to_do:
        place = to_do.pop()
        if place is None:
            found.append(UNKNOWN)
        if place is None or place in seen:
            continue
        seen.add(place)
        if host.exists(f"{place}/partition"):
            place = place.rpartition("/")[0]
        lower = host.names(f"{place}/slaves")
        to_do += [host.real_path(f"{place}/slaves/{name}") for name in lower]
        if place.startswith(_VIRTUAL) and not lower:
            found.append(_made_by_software(host, place))
        else:
            found.append(Disks(frozenset(_devices(place)) or _over_network(host, place)))
    return together(found)


def _over_network(host: Host, place: str) -> FrozenSet[str]:
    """A disk that is on no controller: of software FCoE (it is below the interface), of NVMe with several
    paths (of the subsystem, which has a link to each controller), NVMe over Fibre Channel."""
    subsystem = re.match(_SUBSYSTEM, place)
    if subsystem:
        top = subsystem.group(1)
        ports = [host.real_path(f"{top}/{name}") for name in host.names(top) if name.startswith("nvme")]
        found = [_devices(port) or _fibre_channel(host, port) for port in ports if port]
        return frozenset(address for addresses in found for address in addresses)
    match = _OVER_NETWORK.search(place)
    names = management_network.below(host, match.group(1)) if match else set()
    nics = [host.real_path(sysfs.interface(name, "device")) for name in names]
    return frozenset(address for nic in nics for address in _devices(nic or ""))


def _fibre_channel(host: Host, port: str) -> List[str]:
    """The adapter of an NVMe controller of the fabrics: its `address` ends in the adapter's own port name
    (linux: drivers/nvme/host/fc.c)."""
    own = re.search(r"host_traddr=nn-0x[0-9a-f]+:pn-(0x[0-9a-f]+)", host.text(f"{port}/address") or "")
    found = []
    for name in host.names(FC_HOSTS):
        if own and host.text(f"{FC_HOSTS}/{name}/port_name") == own.group(1):
            found += _devices(host.real_path(f"{FC_HOSTS}/{name}") or "")
    return found


def _made_by_software(host: Host, place: str) -> Disks:
    """A block device with nothing below it that sysfs shows. A zvol is on its pool; one of DRBD has its disk
    on other hosts only, if this driver shows a disk below any (linux: drbd_nl.c, open_backing_dev); what is
    below one of an unknown kind may be any disk."""
    name = place[len(_VIRTUAL) :]
    if name.startswith("zd") and is_number(name[2:]):
        return one_of(ZVOL)
    if name.startswith("loop") and is_number(name[4:]):  # a file is on a file system that is mounted
        file = host.text(f"{place}/loop/backing_file") or ""
        return (by_name(host, file) or UNKNOWN) if file.startswith("/dev/") else NOWHERE
    netif = host.text(f"{place}/netif")  # of ATA over Ethernet, which takes no IP address
    if netif is not None:
        over = [_over_network(host, f"/net/{interface}/") for interface in netif.split(",")]
        return Disks(frozenset().union(*over))
    if name.startswith("drbd"):
        others = [other for other in host.names(BLOCK) if other.startswith("drbd")]
        return NOWHERE if any(host.names(f"{BLOCK}/{other}/slaves") for other in others) else UNKNOWN
    return NOWHERE if _ON_NO_DISK.fullmatch(name) else UNKNOWN


def by_name(host: Host, path: str) -> Optional[Disks]:
    """The PCI devices below the block device at that path or link in /dev; None where there is none."""
    name = name_of(host, path) if path.startswith("/dev/") else None
    folder = host.real_path(f"{BLOCK}/{name}") if name else None
    return None if folder is None else below(host, folder)


def name_of(host: Host, path: str) -> Optional[str]:
    """What /sys calls the block device of that path."""
    real = host.real_path(path)
    is_device = real is not None and real.startswith("/dev/")
    return real[len("/dev/") :].replace("/", "!") if real and is_device else None  # cciss!c0d0


def perhaps(host: Host, kinds: Iterable[str]) -> Set[str]:
    """The PCI devices of all disks that may be of one of these kinds: udev says so of a partition, or of what
    is made of disks (RAID, multipath, encrypted), or does not know it. A hidden disk is one path to an NVMe
    disk, which is seen by itself (linux: block/genhd.c, GENHD_FL_HIDDEN)."""
    wanted, names = set(kinds), host.names(BLOCK)
    found: Set[str] = set()
    for name in names:
        folder = host.real_path(f"{BLOCK}/{name}")
        if folder is None or _NO_DISK.fullmatch(name) or host.text(f"{folder}/hidden") == "1":
            continue
        if ANY in wanted or _may_be(host, folder, wanted):
            found |= below(host, folder).controllers
    return found if names else _storage_controllers(host)


def _may_be(host: Host, folder: str, kinds: Set[str]) -> bool:
    said = _udev(host, folder)
    kind = said.get("ID_FS_TYPE")
    if kind is not None:
        return kind in kinds
    if (host.text(f"{folder}/dm/uuid") or "").startswith("LVM-"):
        return False  # a VM's disk, or part of another volume: udev knows the kind of what dom0 uses itself
    # Its partitions, if it has some, have kinds of their own.
    return not any(host.exists(f"{folder}/{name}/partition") for name in host.names(folder))


def _udev(host: Host, folder: str) -> Dict[str, str]:
    """What udev has noted of a block device (systemd: src/libsystemd/sd-device, the file of a device)."""
    lines = (host.text(f"{UDEV}/b{host.text(f'{folder}/dev')}") or "").splitlines()
    return dict(line[2:].split("=", 1) for line in lines if line.startswith("E:") and "=" in line)


def _storage_controllers(host: Host) -> Set[str]:
    """Where the kernel shows no block device: all that a driver of dom0 has."""
    return {
        address
        for address in host.names(pci.DEVICES)
        if (host.text(sysfs.device(address, "class")) or "").startswith("0x01")
        and host.link(sysfs.device(address, "driver")) not in (None, pci.PCIBACK)
    }
