"""What dom0 has on the disks of each PCI device: mounted file systems, swap, ZFS pools, storage repositories.
A device that a disk may be on counts like one that it is on."""

from typing import Dict, List, Optional, Sequence, Tuple

from . import block_devices, mounts, storage_repositories, zfs
from .block_devices import Disks
from .host import Host
from .mounts import Mount, Pools
from .storage_repositories import Repository


def by_controller(host: Host, plugged: Sequence[Repository]) -> Dict[str, List[str]]:
    """PCI device -> what is on it, in words. `plugged`: the storage repositories. Other commands are run only
    where there are such volumes."""
    mounted = mounts.read(host)
    pools = _pools(host, mounted, plugged)
    found: Dict[str, List[str]] = {}
    for what, disks in _uses(host, mounted, pools, plugged):
        told = _zvols_by_pools(disks, pools)
        for address in sorted(told.controllers):
            found.setdefault(address, []).append(what)
        if told.perhaps:
            for address in sorted(block_devices.perhaps(host, told.perhaps) - told.controllers):
                found.setdefault(address, []).append(f"{what}, which may be on one of its disks")
    return found


def _pools(host: Host, mounted: Optional[Sequence[Mount]], plugged: Sequence[Repository]) -> Pools:
    is_wanted = (
        zfs.is_loaded(host)
        or any(mount.kind == "zfs" for mount in mounted or ())
        or any("zfs" in one.kind for one in plugged)
    )
    return zfs.pools(host) if is_wanted else {}


def _uses(
    host: Host, mounted: Optional[Sequence[Mount]], pools: Pools, plugged: Sequence[Repository]
) -> List[Tuple[str, Disks]]:
    found: List[Tuple[str, Disks]] = []
    if mounted is None:
        found.append((f"what is mounted ({mounts.MOUNTS} cannot be read)", block_devices.UNKNOWN))
    for mount in mounted or ():
        disks = mounts.disks(host, mount, mounted or (), pools)
        found.append((f"the mounted file system {mount.place}", disks))
    found.append(("swap", mounts.swap(host)))
    if pools is None:
        found.append(("a ZFS pool (`zpool status` fails)", block_devices.one_of(block_devices.ZFS)))
    for name, disks in (pools or {}).items():
        found.append((f"the ZFS pool {name}", disks))
    for one in plugged:
        found.append(
            (f"the storage repository {one.name}", storage_repositories.disks(host, one, mounted, pools))
        )
    return found


def _zvols_by_pools(disks: Disks, pools: Pools) -> Disks:
    """What is on a zvol is on one of the pools."""
    if block_devices.ZVOL not in disks.perhaps:
        return disks
    rest = disks._replace(perhaps=disks.perhaps - {block_devices.ZVOL})
    known = pools.values() if pools else [block_devices.one_of(block_devices.ZFS)]
    return block_devices.together([rest, *known])
