"""Small trees of dom0's disks with pyfakefs: sda (of the SATA controller) carries dom0's root; sdb (of the
HBA) and nvme0n1 carry nothing."""

from typing import Any, Dict, List

from answering_host import AnsweringHost
from pyfakefs.fake_filesystem import FakeFilesystem
from sriovlib.machine import dom0_disks
from sriovlib.machine.storage_repositories import Repository

SATA, HBA, NVME = "0000:00:1f.2", "0000:04:00.0", "0000:05:00.0"
TOP = "/sys/devices/pci0000:00"
ROOT = "22 1 8:1 / / rw,noatime shared:1 - ext3 /dev/sda1 rw\n"
SWAPS = "Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n"
SDA = f"{TOP}/{SATA}/ata1/host0/target0:0:0/0:0:0:0/block/sda"
SDB = f"{TOP}/0000:00:01.0/{HBA}/host1/target1:0:0/1:0:0:0/block/sdb"
NVME0 = f"{TOP}/0000:00:02.0/{NVME}/nvme/nvme0/nvme0n1"


def make(fs: FakeFilesystem) -> None:
    block(fs, SDA, "8:0")
    part(fs, SDA, "sda1", "8:1", "ext3")
    block(fs, SDB, "8:16")
    part(fs, SDB, "sdb1", "8:17", "xfs")
    block(fs, NVME0, "259:0", "ntfs")
    fs.create_file("/proc/self/mountinfo", contents=ROOT)
    fs.create_file("/proc/swaps", contents=SWAPS)


def block(fs: FakeFilesystem, folder: str, number: str, kind: str = "") -> None:
    """A block device, and what udev has noted of it."""
    name = folder.rsplit("/", 1)[1]
    fs.create_file(f"{folder}/dev", contents=number + "\n")
    fs.create_symlink(f"/sys/class/block/{name}", folder)
    fs.create_symlink(f"/sys/dev/block/{number}", folder)
    fs.create_file(f"/dev/{name}")
    fs.create_file(f"/run/udev/data/b{number}", contents=f"E:ID_FS_TYPE={kind}\n" if kind else "I:1\n")


def part(fs: FakeFilesystem, folder: str, name: str, number: str, kind: str = "") -> None:
    block(fs, f"{folder}/{name}", number, kind)
    fs.create_file(f"{folder}/{name}/partition", contents="1\n")


def virtual(fs: FakeFilesystem, name: str, number: str, *slaves: str, **files: str) -> None:
    """A block device that is made by software."""
    folder = f"/sys/devices/virtual/block/{name}"
    block(fs, folder, number)
    for slave in slaves:
        fs.create_symlink(f"{folder}/slaves/{slave}", f"/sys/class/block/{slave}")
    for file, text in files.items():
        fs.create_file(f"{folder}/{file.replace('__', '/')}", contents=text + "\n")


def mount(fs: FakeFilesystem, *lines: str) -> None:
    """Besides the root."""
    fs.get_object("/proc/self/mountinfo").set_contents(ROOT + "".join(line + "\n" for line in lines))


def kind(fs: FakeFilesystem, number: str, what: str) -> None:
    fs.get_object(f"/run/udev/data/b{number}").set_contents(f"E:ID_FS_TYPE={what}\n" if what else "I:1\n")


def needed(*plugged: Repository, **says: Any) -> Dict[str, List[str]]:
    """What is on the HBA, and on the NVMe controller; `says`: what commands print."""
    found = dom0_disks.by_controller(AnsweringHost(says), plugged)
    assert found[SATA][0] == "the mounted file system /"
    return {"hba": found.get(HBA, []), "nvme": found.get(NVME, [])}


def repository(sr_type: str, **device_config: str) -> Repository:
    config = {key.replace("_", "-"): value for key, value in device_config.items()}
    return Repository("Pool", sr_type, "7c6a1b0e-1f7d-4b1c-8a55-2f2f27b1f9a1", config)
