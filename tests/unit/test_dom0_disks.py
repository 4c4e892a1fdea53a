"""Which controllers dom0's disks are on: file systems, swap, ZFS and block devices over each other."""

from typing import Any, Dict, List, Optional

import pytest
import small_disks
from answering_host import AnsweringHost
from pyfakefs.fake_filesystem import FakeFilesystem
from small_disks import HBA, NVME, ROOT, SATA, SWAPS, TOP, block, kind, mount, needed, repository, virtual
from sriovlib.config.sriov_conf import PfConfig
from sriovlib.errors import SriovError
from sriovlib.machine import dom0_disks
from sriovlib.vf import inventory, restore


@pytest.fixture(autouse=True)
def disks(fs: FakeFilesystem) -> FakeFilesystem:
    small_disks.make(fs)
    return fs


def test_a_disk_that_nobody_uses_is_nobodys() -> None:
    assert needed() == {"hba": [], "nvme": []}


# -- what cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize("text", [None, "", ROOT + "23 1 8:1", ROOT + "23 1 8 / /x rw - ext4 /dev/sdb1 rw\n"])
def test_mounts_that_cannot_be_read_may_be_on_every_disk(fs: FakeFilesystem, text: Optional[str]) -> None:
    if text is None:
        fs.remove("/proc/self/mountinfo")
    else:
        fs.get_object("/proc/self/mountinfo").set_contents(text)
    found = dom0_disks.by_controller(AnsweringHost(), ())
    expected = "what is mounted (/proc/self/mountinfo cannot be read), which may be on one of its disks"
    assert {address for address in found if expected in found[address]} == {SATA, HBA, NVME}


@pytest.mark.parametrize("text", [None, "", SWAPS + "/dev/gone partition 1048572 0 -2\n"])
def test_swap_that_cannot_be_read_may_be_on_every_disk(fs: FakeFilesystem, text: Optional[str]) -> None:
    if text is None:
        fs.remove("/proc/swaps")
    else:
        fs.get_object("/proc/swaps").set_contents(text)
    assert needed()["nvme"] == ["swap, which may be on one of its disks"]


def test_where_the_kernel_shows_no_disks_each_storage_controller_may_have_them(fs: FakeFilesystem) -> None:
    fs.remove("/proc/self/mountinfo")
    fs.remove_object("/sys/class/block")
    for address, driver in ((HBA, "megaraid_sas"), (NVME, "pciback"), ("0000:06:00.0", None)):
        fs.create_file(f"/sys/bus/pci/devices/{address}/class", contents="0x010400\n")
        if driver:
            fs.create_symlink(f"/sys/bus/pci/devices/{address}/driver", f"../../drivers/{driver}")
    assert set(dom0_disks.by_controller(AnsweringHost(), ())) == {HBA}


# -- file systems without a device number of their own --------------------------------------------

ZPOOL = """  pool: tank
 state: ONLINE
status: Some supported features are not enabled on the pool. It was made
\tby an older version.
config:

\tNAME                                STATE     READ WRITE CKSUM
\ttank                                ONLINE       0     0     0
\t  mirror-0                          ONLINE       0     0     0
\t    /dev/disk/by-id/wwn-0x5000-part1  ONLINE       0     0     0
\tlogs
\t  {log}  ONLINE       0     0     0

errors: No known data errors
"""
TANK = "60 22 0:52 / /mnt/zfs rw shared:9 - zfs tank/vm rw,xattr"


@pytest.fixture
def zfs(fs: FakeFilesystem) -> FakeFilesystem:
    fs.create_dir("/sys/module/zfs")
    fs.create_symlink("/dev/disk/by-id/wwn-0x5000-part1", "../../sdb1")
    kind(fs, "8:17", "zfs_member")
    return fs


def test_a_zfs_file_system_is_on_the_disks_of_its_pool(zfs: FakeFilesystem) -> None:
    mount(zfs, TANK)
    said = needed(repository("zfs", location="/mnt/zfs/sr"), zpool=ZPOOL.format(log="/root/log.img"))
    assert said["hba"] == [
        "the mounted file system /mnt/zfs",
        "the ZFS pool tank",
        "the storage repository Pool",
    ]
    assert said["nvme"] == []


@pytest.mark.usefixtures("zfs")
def test_a_pool_that_is_imported_and_not_mounted_counts() -> None:
    said = needed(zpool=ZPOOL.format(log="/dev/nvme0n1"))
    assert said == {"hba": ["the ZFS pool tank"], "nvme": ["the ZFS pool tank"]}


@pytest.mark.parametrize(
    "answer", [127, 1, "no pools available\n", ZPOOL.replace("tank", "other").format(log="")]
)
def test_where_zpool_does_not_tell_every_disk_that_may_be_of_the_pool_counts(
    zfs: FakeFilesystem, answer: Any
) -> None:
    """udev says that the NVMe disk is of another kind."""
    mount(zfs, TANK)
    said = needed(zpool=answer)
    assert "the mounted file system /mnt/zfs, which may be on one of its disks" in said["hba"]
    assert said["nvme"] == []


def test_zfs_disk_unknown_to_udev_is_found(zfs: FakeFilesystem) -> None:
    kind(zfs, "259:0", "")
    mount(zfs, TANK)
    assert needed(zpool=1)["nvme"]


@pytest.mark.parametrize(
    ("name", "disk_is"),
    [
        ("md127", "linux_raid_member"),
        ("dm-0", "mpath_member"),
        ("dm-1", "crypto_LUKS"),
        ("bcache0", "bcache"),
    ],
)
def test_zfs_disk_of_raid_multipath_or_encryption_is_found(
    zfs: FakeFilesystem, name: str, disk_is: str
) -> None:
    kind(zfs, "8:17", disk_is)
    virtual(zfs, name, "9:127", "sdb1")
    kind(zfs, "9:127", "zfs_member")
    mount(zfs, TANK)
    assert needed(zpool=1)["hba"][0] == "the mounted file system /mnt/zfs, which may be on one of its disks"


def test_the_paths_of_an_nvme_disk_are_not_disks_of_which_udev_knows_nothing(zfs: FakeFilesystem) -> None:
    """The disk with several paths says what it is; its paths are hidden, without a number of their own."""
    path = f"{TOP}/{NVME}/nvme/nvme0/nvme0c0n1"
    block(zfs, path, "0:0")
    zfs.create_file(f"{path}/hidden", contents="1\n")
    mount(zfs, TANK)
    assert needed(zpool=1)["nvme"] == []


@pytest.mark.parametrize("lost", ["/dev/sdz1", "9234567890123456789"])
def test_a_disk_of_the_pool_that_is_not_to_be_found_may_be_any(zfs: FakeFilesystem, lost: str) -> None:
    kind(zfs, "259:0", "zfs_member")
    status = ZPOOL.format(log="/root/l").replace(
        "\tlogs\n", f"\t    {lost}  UNAVAIL      0     0     0  was /dev/sdz1\n\tlogs\n"
    )
    assert needed(zpool=status)["nvme"] == ["the ZFS pool tank, which may be on one of its disks"]


def test_zpool_is_not_asked_where_there_can_be_no_pool() -> None:
    host = AnsweringHost({"zpool": ""})
    dom0_disks.by_controller(host, [repository("ext", device="/dev/sdb1")])
    assert host.asked == []


def test_swap_on_a_zvol_is_on_the_pools(zfs: FakeFilesystem) -> None:
    virtual(zfs, "zd0", "230:0")
    zfs.get_object("/proc/swaps").set_contents(SWAPS + "/dev/zd0 partition 1048572 0 -2\n")
    assert "swap" in needed(zpool=ZPOOL.format(log="/root/l"))["hba"]
    assert "swap, which may be on one of its disks" in needed(zpool=1)["hba"]


BTRFS = "23 1 0:41 /@data /b rw - btrfs /dev/sdb1 rw,subvol=/@data"


def test_a_btrfs_of_several_disks_as_the_kernel_shows_it(fs: FakeFilesystem) -> None:
    for device in ("sdb1", "nvme0n1"):
        fs.create_symlink(f"/sys/fs/btrfs/0ab1/devices/{device}", f"/sys/class/block/{device}")
    mount(fs, BTRFS)
    said = needed(repository("btrfs", location="/b/sr"))
    assert said["hba"] == said["nvme"] == ["the mounted file system /b", "the storage repository Pool"]


SHOWN = (
    "Label: none  uuid: 0ab1\n\tTotal devices {}\tFS bytes used 1.00GiB\n"
    "\tdevid    1 size 9GiB used 2GiB path "
)


@pytest.mark.parametrize(
    ("answer", "nvme"),
    [
        (SHOWN.format(2) + "/dev/sdb1\n\tdevid    2 size 9GiB used 2GiB path /dev/nvme0n1\n", ""),
        (SHOWN.format(1) + "/dev/sdb1\n", None),
        (SHOWN.format(2) + "/dev/sdb1\n\t*** Some devices missing\n", ", which may be on one of its disks"),
        (1, ", which may be on one of its disks"),
    ],
)
def test_a_btrfs_as_its_tool_shows_it(fs: FakeFilesystem, answer: Any, nvme: Optional[str]) -> None:
    kind(fs, "259:0", "btrfs")
    mount(fs, BTRFS)
    said = needed(btrfs=answer)
    assert said["hba"] == ["the mounted file system /b"]
    assert said["nvme"] == ([] if nvme is None else [f"the mounted file system /b{nvme}"])


@pytest.mark.parametrize(
    "line",
    [
        "60 22 0:60 / /d rw - overlay overlay rw,lowerdir=/run/gone/l,upperdir=relative",
        "60 22 0:60 / /d rw - overlay overlay rw",
        "60 22 0:60 / /d rw - fuse.mergerfs a:b rw",
        "60 22 0:60 / /d rw - newfs newfs rw",
        "60 22 0:60 / /d rw - newfs /dev/gone rw",
        "60 22 8:99 / /d rw - ext4 /dev/sdz1 rw",
    ],
)
def test_a_file_system_that_is_on_nobody_knows_what_may_be_on_every_disk(
    fs: FakeFilesystem, line: str
) -> None:
    mount(fs, line)
    assert needed()["nvme"] == ["the mounted file system /d, which may be on one of its disks"]


@pytest.mark.parametrize(
    "line",
    [
        "60 22 0:60 / /d rw - overlay overlay rw,lowerdir=/srv/l:/srv/m,upperdir=/u,workdir=/w",
        "60 22 0:60 / /d rw - tmpfs  rw",
        "60 22 0:60 / /d rw - nfs4 nas:/x rw",
        "60 22 0:60 / /d rw - cifs //nas/x rw",
        "60 22 0:60 / /d rw - fuse.glusterfs nas:/gv0 rw",
    ],
)
def test_a_file_system_in_memory_of_the_network_or_over_others_takes_no_disk(
    fs: FakeFilesystem, line: str
) -> None:
    mount(fs, line)
    assert needed() == {"hba": [], "nvme": []}


def test_a_file_system_that_names_all_its_disks(fs: FakeFilesystem) -> None:
    mount(fs, "60 22 0:60 / /d rw - bcachefs /dev/sdb1:/dev/nvme0n1 rw")
    said = needed()
    assert said["hba"] == said["nvme"] == ["the mounted file system /d"]


# -- block devices --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        ("loop0", {"loop__backing_file": "/dev/sdb"}, ["the mounted file system /d"]),
        ("loop0", {"loop__backing_file": "/srv/disk.img"}, []),
        ("drbd1000", {}, ["the mounted file system /d, which may be on one of its disks"]),
        ("zram0", {}, []),
        ("nbd0", {}, []),
    ],
)
def test_a_mounted_device_that_is_made_by_software(
    fs: FakeFilesystem, name: str, files: Dict[str, str], expected: List[str]
) -> None:
    virtual(fs, name, "7:0", **files)
    mount(fs, f"60 22 7:0 / /d rw - ext4 /dev/{name} rw")
    assert needed()["hba"] == expected


def test_a_drbd_device_is_on_the_disk_below_it_or_on_other_hosts_only(fs: FakeFilesystem) -> None:
    virtual(fs, "drbd1000", "147:1000", "sdb1")
    virtual(fs, "drbd1001", "147:1001")
    mount(
        fs, "60 22 147:1000 / /d rw - ext4 /dev/drbd1000 rw", "61 22 147:1001 / /e rw - ext4 /dev/drbd1001 rw"
    )
    assert needed() == {"hba": ["the mounted file system /d"], "nvme": []}


def test_a_disk_behind_a_vmd_is_on_the_vmd_too(fs: FakeFilesystem) -> None:
    place = f"{TOP}/0000:00:0e.0/pci10000:00/10000:00:02.0/10000:01:00.0/nvme/nvme1/nvme1n1"
    block(fs, place, "259:9")
    mount(fs, "60 22 259:9 / /d rw - ext4 /dev/nvme1n1 rw")
    found = dom0_disks.by_controller(AnsweringHost(), ())
    assert found["0000:00:0e.0"] == found["10000:01:00.0"] == ["the mounted file system /d"]


def test_an_nvme_disk_with_several_paths_is_on_all_its_controllers(fs: FakeFilesystem) -> None:
    """As /sys shows it since Linux 4.15: the disk is the subsystem's, which has a link to each controller."""
    top = "/sys/devices/virtual/nvme-subsystem/nvme-subsys1"
    block(fs, f"{top}/nvme1n1", "259:9")
    for number, address in enumerate((HBA, NVME)):
        fs.create_dir(f"{TOP}/{address}/nvme/nvme{number + 1}")
        fs.create_symlink(f"{top}/nvme{number + 1}", f"{TOP}/{address}/nvme/nvme{number + 1}")
    mount(fs, "60 22 259:9 / /d rw - ext4 /dev/nvme1n1 rw")
    said = needed()
    assert said["hba"] == said["nvme"] == ["the mounted file system /d"]


def test_nvme_over_fibre_channel_is_on_the_adapter(fs: FakeFilesystem) -> None:
    top, port = (
        "/sys/devices/virtual/nvme-subsystem/nvme-subsys1",
        "/sys/devices/virtual/nvme-fabrics/ctl/nvme1",
    )
    block(fs, f"{top}/nvme1n1", "259:9")
    names = "traddr=nn-0x20:pn-0x21,host_traddr=nn-0x2000:pn-0x10000090fa\n"
    fs.create_file(f"{port}/address", contents=names)
    fs.create_symlink(f"{top}/nvme1", port)
    fs.create_file(f"{TOP}/{HBA}/host7/fc_host/host7/port_name", contents="0x10000090fa\n")
    fs.create_symlink("/sys/class/fc_host/host7", f"{TOP}/{HBA}/host7/fc_host/host7")
    mount(fs, "60 22 259:9 / /d rw - ext4 /dev/nvme1n1 rw")
    assert needed()["hba"] == ["the mounted file system /d"]


@pytest.mark.parametrize("wanted", [0, 1, 4])
def test_a_vf_that_a_disk_of_dom0_is_on_is_neither_taken_nor_made_anew(
    fs: FakeFilesystem, wanted: int
) -> None:
    """NVMe with SR-IOV: dom0's own driver has the VF's controller."""
    pf, vf = f"{TOP}/{NVME}", f"{TOP}/0000:05:00.1"
    for device in (pf, vf):
        fs.create_file(f"{device}/uevent", contents="DRIVER=nvme\nPCI_CLASS=10802\nPCI_ID=144D:A824\n")
        fs.create_symlink(f"{device}/driver", "/sys/bus/pci/drivers/nvme")
        fs.create_symlink(f"/sys/bus/pci/devices/{device.rsplit('/', 1)[1]}", device)
    fs.create_file(f"{pf}/sriov_totalvfs", contents="32\n")
    numvfs = fs.create_file(f"{pf}/sriov_numvfs", contents="1\n")
    fs.create_symlink(f"{pf}/virtfn0", "../0000:05:00.1")
    block(fs, f"{vf}/nvme/nvme1/nvme1n1", "259:9")
    mount(fs, "60 22 259:9 / /d rw - ext4 /dev/nvme1n1 rw")
    host = AnsweringHost({"xenstore": {}})
    seen = inventory.look(host)
    with pytest.raises(SriovError) as error:
        restore.bring_to_count(host, seen.pfs[0], PfConfig(NVME, None, wanted, {}), seen)
    assert (error.value.code, "the mounted file system /d" in error.value.message) == (
        "SRIOV_NEEDED_BY_DOM0",
        True,
    )
    assert numvfs.contents == "1\n"


def test_a_disk_of_software_fcoe_is_on_the_nic_below_its_vlan(fs: FakeFilesystem) -> None:
    fs.create_symlink("/sys/class/net/eth1/device", f"{TOP}/0000:07:00.0")
    fs.create_dir(f"{TOP}/0000:07:00.0")
    fs.create_dir("/sys/devices/virtual/net/eth1.100/lower_eth1")
    fs.create_symlink("/sys/class/net/eth1.100", "/sys/devices/virtual/net/eth1.100")
    block(fs, "/sys/devices/virtual/net/eth1.100/ctlr_0/host9/rport-9:0-1/9:0:0:0/block/sdf", "8:80")
    mount(fs, "60 22 8:80 / /d rw - ext4 /dev/sdf rw")
    assert dom0_disks.by_controller(AnsweringHost(), ())["0000:07:00.0"] == ["the mounted file system /d"]
