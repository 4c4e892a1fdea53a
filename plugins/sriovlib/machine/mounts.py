"""The disks of dom0's mounted file systems and swap space (linux: Documentation/filesystems/proc.rst, 3.5).
What cannot be read is unknown, not nothing."""

import re
from typing import Dict, Iterable, List, NamedTuple, Optional

from ..safetext import is_number
from . import block_devices, zfs
from .block_devices import Disks
from .host import Host

MOUNTS, SWAPS = "/proc/self/mountinfo", "/proc/swaps"
BTRFS = "/sys/fs/btrfs"
SECONDS = 10
# File systems without a device number of their own that are in memory or show what the kernel knows ...
_IN_MEMORY = set(
    "anon_inodefs apparmorfs autofs bdev binder binfmt_misc bpf cgroup cgroup2 configfs cpuset debugfs "
    "devfs devpts devtmpfs dlmfs efivarfs functionfs fusectl hugetlbfs ibasmfs mqueue nfsd nsfs "
    "ocfs2_dlmfs pipefs proc pstore ramfs resctrl rootfs rpc_pipefs securityfs selinuxfs smackfs "
    "sockfs sysfs tmpfs tracefs usbfs usbdevfs xenfs fuse.lxcfs fuse.gvfsd-fuse fuse.portal".split()
)
# ... and those of other hosts.
_OF_NETWORK = set(
    "9p afs ceph cifs coda glusterfs lustre mfs ncpfs nfs nfs4 orangefs smb3 smbfs virtiofs fuse.ceph "
    "fuse.ceph-fuse fuse.glusterfs fuse.mfs fuse.rclone fuse.s3fs fuse.sshfs".split()
)


class Mount(NamedTuple):
    place: str
    number: str  # of its device, 8:1; 0:52 is one that the kernel made up
    kind: str
    source: str
    options: str  # of the file system: lowerdir=/a:/b


def read(host: Host) -> Optional[List[Mount]]:
    """Later ones hide earlier ones at the same place; None where a line cannot be read."""
    lines = (host.text(MOUNTS) or "").splitlines()
    found = [_mount(line) for line in lines]
    known = [mount for mount in found if mount is not None]
    return known if lines and len(known) == len(lines) else None


def _mount(line: str) -> Optional[Mount]:
    left, separator, right = line.partition(" - ")
    fields, others = left.split(" "), right.split(" ")
    if not separator or len(fields) < 5 or not _is_number_of_device(fields[2]):
        return None
    kind, source, options = (others + ["", ""])[:3]
    return Mount(_plain(fields[4]), fields[2], kind, _plain(source), _plain(options))


def _is_number_of_device(text: str) -> bool:
    major, _, minor = text.partition(":")
    return is_number(major) and is_number(minor)


def at(mounts: Iterable[Mount], path: str) -> Optional[Mount]:
    """The mounted file system that a path is on."""
    found = None
    for mount in mounts:
        is_above = mount.place == "/" or f"{path}/".startswith(mount.place + "/")
        if is_above and (found is None or len(mount.place) >= len(found.place)):
            found = mount
    return found


Pools = Optional[Dict[str, Disks]]  # see zfs.pools


def disks(host: Host, mount: Mount, mounts: Iterable[Mount], pools: Pools) -> Disks:
    """What the file system is on."""
    if not mount.number.startswith("0:"):
        return block_devices.below(host, host.real_path(f"/sys/dev/block/{mount.number}"))
    if mount.kind in _IN_MEMORY or mount.kind in _OF_NETWORK:
        return block_devices.NOWHERE
    if mount.kind == "zfs":
        return zfs.of_source(pools, mount.source)
    if mount.kind == "btrfs":
        return _btrfs(host, mount.source)
    if mount.kind in ("overlay", "overlayfs"):
        return _overlay(mount, mounts)
    parts = mount.source.split(":")  # bcachefs names all its disks
    return block_devices.together(block_devices.by_name(host, part) for part in parts)


def _overlay(mount: Mount, mounts: Iterable[Mount]) -> Disks:
    """Its layers are folders of other file systems, which are seen by themselves if they are mounted."""
    named = re.findall(r"(?:lowerdir\+?|datadir\+?|upperdir|workdir)=([^,]*)", mount.options)
    folders = [folder for value in named for folder in value.split(":") if folder]
    others = [one for one in mounts if one != mount]
    below = [at(others, folder) if folder.startswith("/") else None for folder in folders]
    return block_devices.NOWHERE if folders and all(below) else block_devices.UNKNOWN


def _btrfs(host: Host, source: str) -> Disks:
    """All disks of the file system, of which the mount names one: as the kernel shows them (linux:
    fs/btrfs/sysfs.c), else as `btrfs` does."""
    name = block_devices.name_of(host, source)
    for identity in host.names(BTRFS):
        devices = host.names(f"{BTRFS}/{identity}/devices")
        if name is not None and name in devices:
            folders = [host.real_path(f"{block_devices.BLOCK}/{device}") for device in devices]
            return block_devices.together(block_devices.below(host, folder) for folder in folders)
    answer = host.run(["btrfs", "filesystem", "show", source], SECONDS)
    total = re.search(r"Total devices (\d+)", answer.stdout)
    found = [block_devices.by_name(host, path) for path in re.findall(r"path (/dev/\S+)", answer.stdout)]
    if answer.status != 0 or total is None or int(total.group(1)) != len(found):
        found.append(None)
    own = block_devices.by_name(host, source) or block_devices.NOWHERE
    return block_devices.together([own, *found], block_devices.one_of(block_devices.BTRFS))


def swap(host: Host) -> Disks:
    """What the swap space is on; a swap file is on a file system that is mounted."""
    text = host.text(SWAPS)
    if not text:  # it has a heading, if nothing else
        return block_devices.UNKNOWN
    spaces = [line.split() for line in text.splitlines()[1:]]
    names = [words[0] for words in spaces if words[1:2] != ["file"]]
    return block_devices.together(block_devices.by_name(host, _plain(name)) for name in names)


def _plain(text: str) -> str:
    """The kernel writes blanks and the like as `\\040` in these files."""
    if "\\" not in text:
        return text
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), text)
