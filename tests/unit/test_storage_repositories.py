"""Which controllers a plugged storage repository is on, by its kind and the device_config of its PBD."""

from typing import Dict, Set

import pytest
import small_disks
from answering_host import AnsweringHost
from pyfakefs.fake_filesystem import FakeFilesystem
from small_disks import HBA, kind, mount, needed, repository, virtual
from sriovlib.machine import dom0_disks


@pytest.fixture(autouse=True)
def disks(fs: FakeFilesystem) -> FakeFilesystem:
    small_disks.make(fs)
    return fs


SR = ["the storage repository Pool"]
PERHAPS = ["the storage repository Pool, which may be on one of its disks"]


@pytest.mark.parametrize("location", ["/srv/pool", "/srv/link/x", "file:///srv/pool/deep"])
def test_a_folder_of_a_mounted_file_system(fs: FakeFilesystem, location: str) -> None:
    fs.create_dir("/srv/pool")
    fs.create_symlink("/srv/link", "/srv/pool")
    mount(fs, "60 22 8:17 /vms /srv/pool rw - xfs /dev/sdb1 rw")
    assert needed(repository("file", location=location))["hba"] == ["the mounted file system /srv/pool", *SR]


@pytest.mark.parametrize(
    ("sr_type", "config"),
    [
        ("lvm", {"device": "/dev/disk/by-id/scsi-3600"}),
        ("lvm", {"device": "/dev/sdz, /dev/sdb"}),
        ("lvmohba", {"SCSIid": "3600"}),
        ("gfs2", {"provider": "hba", "ScsiId": "3600"}),
        ("zfs-vol", {"devices": "/dev/nothing-of-ours,/dev/sdb"}),
        ("newer", {"uri": "file:///dev/sdb"}),
    ],
)
def test_a_disk_under_whatever_key(fs: FakeFilesystem, sr_type: str, config: Dict[str, str]) -> None:
    fs.create_symlink("/dev/disk/by-id/scsi-3600", "../../sdb")
    fs.create_file("/dev/nothing-of-ours")
    assert needed(repository(sr_type, **config))["hba"][0].startswith(SR[0])


def test_a_folder_of_links_to_what_is_plugged_in(fs: FakeFilesystem) -> None:
    fs.create_symlink("/dev/xapi/block/sdb", "/dev/sdb")
    fs.create_symlink("/dev/xapi/block/sdz", "/dev/sdz")
    assert needed(repository("udev", location="/dev/xapi/block")) == {"hba": SR, "nvme": []}
    assert needed(repository("udev", location="/dev/xapi/cd")) == {"hba": [], "nvme": []}


def test_a_cd_drive_leaves_its_controller_free(fs: FakeFilesystem) -> None:
    small_disks.block(fs, f"{small_disks.TOP}/{HBA}/ata3/host3/target3:0:0/3:0:0:0/block/sr0", "11:0")
    fs.create_symlink("/dev/xapi/cd/sr0", "/dev/sr0")
    assert needed(repository("udev", location="/dev/xapi/cd")) == {"hba": [], "nvme": []}


@pytest.mark.parametrize(
    ("volumes", "on"),
    [(" /dev/nvme0n1\n", {"nvme"}), (" /dev/sdb1\n /dev/nvme0n1\n", {"hba", "nvme"})],
    ids=["renamed", "extended"],
)
def test_an_lvm_repository_is_where_its_volume_group_is_by_now(
    fs: FakeFilesystem, volumes: str, on: Set[str]
) -> None:
    """LVHDSR.py attaches the group by its name: the device in the PBD is that of the day it was made."""
    kind(fs, "259:0", "LVM2_member")
    said = needed(repository("lvm", device="/dev/sdb1"), vgs=volumes)
    assert {name for name, what in said.items() if what == SR} == on


def test_an_lvm_repository_where_lvm_does_not_answer_may_be_on_every_disk_of_lvm(fs: FakeFilesystem) -> None:
    kind(fs, "259:0", "LVM2_member")
    assert needed(repository("lvm", device="/dev/sdb1"), vgs=5) == {"hba": SR, "nvme": PERHAPS}


def test_lvm_is_not_asked_where_a_repository_can_be_on_the_named_disk_only() -> None:
    host = AnsweringHost()
    assert dom0_disks.by_controller(host, [repository("lvm", device="/dev/sdb1")])[HBA] == SR
    assert host.asked == []


@pytest.mark.parametrize("group", ["linstor_group/thin_device", "linstor_group"])
@pytest.mark.parametrize("command", ["vgs", "lvs"])
def test_the_volume_group_of_linstor(group: str, command: str) -> None:
    said = {"vgs": "  /dev/sdb1 \n", "lvs": "  thin_device_tdata(0)\n  /dev/sdb1(0),/dev/sdb1(9)\n"}[command]
    assert needed(repository("linstor", group_name=group, redundancy="2"), **{command: said}) == {
        "hba": SR,
        "nvme": [],
    }


def test_its_active_volumes_count_where_lvm_does_not_answer(fs: FakeFilesystem) -> None:
    virtual(fs, "dm-3", "253:3", "nvme0n1", dm__name="linstor_group-thin_device_tdata")
    virtual(fs, "dm-4", "253:4", "sdb1", dm__name="linstor_group--2-other", dm__uuid="LVM-x1")
    plugged = repository("linstor", group_name="linstor_group/thin_device")
    assert needed(plugged, vgs=5) == {"hba": [], "nvme": SR}
    kind(fs, "8:17", "LVM2_member")
    assert needed(plugged, vgs=5) == {"hba": PERHAPS, "nvme": SR}


@pytest.mark.parametrize("name", ["--help", "a b", "", "x;y"])
def test_a_group_that_is_no_name_is_no_argument(name: str) -> None:
    host = AnsweringHost({"vgs": "/dev/sdb1"})
    dom0_disks.by_controller(host, [repository("linstor", group_name=name)])
    assert host.asked == []


@pytest.mark.parametrize(
    ("sr_type", "group"),
    [
        ("lvm", "VG_XenStorage-"),
        ("ext", "XSLocalEXT-"),
        ("xfs", "XSLocalEXT-"),
        ("largeblock", "XSLocalLargeBlock-"),
    ],
)
def test_where_the_device_is_called_otherwise_by_now_its_volume_group_tells(sr_type: str, group: str) -> None:
    line = f"vgs --noheadings --options pv_name {group}7c6a1b0e-1f7d-4b1c-8a55-2f2f27b1f9a1"
    plugged = repository(sr_type, device="/dev/disk/by-id/gone-part3")
    assert dom0_disks.by_controller(AnsweringHost({line: " /dev/sdb1\n"}), [plugged])[HBA] == SR


@pytest.mark.parametrize(
    ("sr_type", "config"),
    [
        ("hba", {}),
        ("hba", {"type": "FC"}),
        ("newer", {}),
        ("newer", {"label": "x"}),
        ("file", {"location": "relative"}),
        ("lvmohba", {"SCSIid": "../../sda"}),
        ("zfs-vol", {"device": "/etc/passwd"}),
    ],
)
def test_unknown_storage_repository_may_be_on_every_disk(sr_type: str, config: Dict[str, str]) -> None:
    assert needed(repository(sr_type, **config)) == {"hba": PERHAPS, "nvme": PERHAPS}


@pytest.mark.parametrize(
    ("sr_type", "config"),
    [
        ("nfs", {"server": "nas", "serverpath": "/export"}),
        ("smb", {"server": "\\\\nas\\vms", "username": "x"}),
        ("iso", {"location": "nas:/isos", "type": "nfs_iso"}),
        ("iso", {"location": "//nas/isos", "type": "cifs"}),
        ("iso", {"location": "\\\\nas\\isos"}),
        ("iso", {"location": "/opt/xensource/packages/iso", "legacy_mode": "true"}),
        ("iscsi", {"target": "10.0.0.9", "targetIQN": "iqn.x"}),
        ("lvmoiscsi", {"target": "10.0.0.9", "targetIQN": "iqn.x", "SCSIid": "3600gone"}),
        ("gfs2", {"provider": "iscsi", "ips": "10.0.0.9", "iqns": "iqn.x", "ScsiId": "3600gone"}),
        ("cephfs", {"server": "ceph", "serverpath": "/", "serverport": "6789"}),
        ("glusterfs", {"server": "nas:/gv0"}),
        ("moosefs", {"masterhost": "mfs", "rootpath": "/"}),
        ("shm", {"location": "/dev/shm/x"}),
        ("dummy", {}),
    ],
)
def test_one_of_the_network_takes_no_disk(sr_type: str, config: Dict[str, str]) -> None:
    assert needed(repository(sr_type, **config)) == {"hba": [], "nvme": []}
