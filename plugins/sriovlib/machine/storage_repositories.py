"""The disks of a storage repository, by the device_config of its PBD: each driver has keys of its own
(xcp-ng/sm: drivers/*SR.py, CONFIGURATION). What is not understood may be on any disk."""

import re
from typing import List, Mapping, NamedTuple, Optional, Sequence

from . import block_devices, lvm, mounts
from .block_devices import Disks
from .host import Host
from .mounts import Mount, Pools

_BY_SCSI_ID = ("/dev/disk/by-id/scsi-{}", "/dev/mapper/{}", "/dev/disk/by-scsid/{}")
# Volume groups that are called by the SR's UUID (lvhdutil.VG_PREFIX, constants.EXT_PREFIX, LargeBlockSR.py).
_GROUPS = {
    "lvm": "VG_XenStorage-",
    "lvhd": "VG_XenStorage-",
    "ext": "XSLocalEXT-",
    "xfs": "XSLocalEXT-",
    "largeblock": "XSLocalLargeBlock-",
}
_OF_NETWORK = set(
    "nfs smb cephfs glusterfs moosefs iscsi lvmoiscsi lvhdoiscsi netapp equal cslg nfs_iso".split()
)
_NETWORK_KEYS = ("server", "serverpath", "target", "targetIQN", "masterhost", "ips", "iqns")
_ON_NO_DISK = ("dummy", "shm")
_CD = re.compile(r"sr\d+")


class Repository(NamedTuple):
    """A storage repository with a plugged PBD on this host."""

    name: str
    kind: str  # xapi's SR.type: `ext`, `lvmoiscsi`, `udev`
    uuid: str
    device_config: Mapping[str, str]

    @property
    def is_of_network(self) -> bool:
        return self.kind in _OF_NETWORK or any(self.device_config.get(key) for key in _NETWORK_KEYS)


def disks(host: Host, one: Repository, mounted: Optional[Sequence[Mount]], pools: Pools) -> Disks:
    """What the repository is on; `mounted`: what mounts.read tells."""
    if one.kind in _ON_NO_DISK:
        return block_devices.NOWHERE
    found = [*_devices(host, one), *_by_scsi_id(host, one)]
    location = one.device_config.get("location", "").strip()
    if location:
        found.append(_location(host, one.kind, location, mounted, pools))
    volume_group = one.device_config.get("group-name", "").strip()
    if volume_group:  # of LINSTOR: a group, or GROUP/POOL for a thin one
        found.append(lvm.group(host, volume_group.split("/")[0]))
    told = [part for part in found if part is not None]
    if found and len(told) == len(found):
        return _with_group(host, one, block_devices.together(told))
    if one.kind in _GROUPS:
        return block_devices.together([*told, lvm.group(host, _GROUPS[one.kind] + one.uuid)])
    return block_devices.together(told if one.is_of_network else [*told, block_devices.UNKNOWN])


def _with_group(host: Host, one: Repository, told: Disks) -> Disks:
    """An LVM repository is attached by the name of its volume group, and `device` says what that was made on
    (LVHDSR.py, attach): a disk may be called otherwise by now, and the group may have got another. LVM is
    asked where there is a disk that this could be; the file system of other drivers is seen as mounted."""
    is_by_name = _GROUPS.get(one.kind) == _GROUPS["lvm"]
    if not is_by_name or block_devices.perhaps(host, [block_devices.LVM]) <= told.controllers:
        return told
    group = lvm.group(host, _GROUPS[one.kind] + one.uuid)
    return block_devices.together([told, group]) if group.perhaps else group


def _devices(host: Host, one: Repository) -> List[Optional[Disks]]:
    """What is named by a path in /dev, under whatever key: drivers of others (SMAPIv3) have theirs."""
    values = [value for key, value in one.device_config.items() if key != "location"]
    named = [re.sub("^file://(?=/)", "", part.strip()) for value in values for part in value.split(",")]
    paths = [path for path in named if path.startswith("/dev/")]
    wanted = [part.strip() for part in one.device_config.get("device", "").split(",")]
    others = [part for part in wanted if part and part not in paths]
    return [block_devices.by_name(host, path) for path in paths] + [None for _ in others]


def _by_scsi_id(host: Host, one: Repository) -> List[Optional[Disks]]:
    found: List[Optional[Disks]] = []
    for key, value in one.device_config.items():
        if key.lower() == "scsiid" and value.strip():
            patterns = [] if "/" in value else _BY_SCSI_ID
            links = [pattern.format(value.strip()) for pattern in patterns]
            paths = links + [f"{link}/{name}" for link in links for name in host.names(link)]
            told = [part for part in (block_devices.by_name(host, path) for path in paths) if part]
            found.append(block_devices.together(told) if told else None)
    return found


def _location(
    host: Host, kind: str, location: str, mounted: Optional[Sequence[Mount]], pools: Pools
) -> Optional[Disks]:
    """A path of this host; `nas:/export` and `//nas/isos` are of another."""
    path = re.sub("^file://(?=/)", "", location)
    if not path.startswith("/") or path.startswith("//"):
        is_elsewhere = re.match(r"//|\\\\|[^/]+:", path) is not None
        return block_devices.NOWHERE if is_elsewhere else None
    if kind == "udev":
        return _links(host, path)
    on_device = block_devices.by_name(host, path)
    if on_device is not None:
        return on_device
    found = [mounts.at(mounted or (), one) for one in {path, _existing(host, path)}]
    told = [mounts.disks(host, mount, mounted or (), pools) for mount in found if mount is not None]
    return block_devices.together(told) if told else None


def _existing(host: Host, path: str) -> str:
    """The folder without links; of one that is not there, the nearest above it."""
    while path.strip("/"):
        real = host.real_path(path)
        if real is not None:
            return real
        path = path.rstrip("/").rpartition("/")[0]
    return "/"


def _links(host: Host, folder: str) -> Optional[Disks]:
    """A `udev` repository is a folder of links, which udev makes for what is plugged in (udevSR.py); one that
    leads nowhere is of what was pulled out. A CD drive keeps nothing of dom0's: its controller may go to a
    VM."""
    try:
        paths = [f"{folder}/{name}" for name in host.listing(folder)]
    except OSError:
        return None
    disks = [path for path in paths if not _CD.fullmatch(block_devices.name_of(host, path) or "")]
    return block_devices.together(
        [block_devices.by_name(host, path) for path in disks], block_devices.NOWHERE
    )
