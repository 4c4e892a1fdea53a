"""Boot configuration and reboots of the fake machine: xen-cmdline as recorded, extlinux as the lab saw it,
and what the next boot makes of the files."""

import json
import os
import stat
from pathlib import Path
from typing import List

import pytest
from machine import Machine, default_host
from machine_boot import EXTLINUX, GRUB, XEN_CMDLINE, DoesNotBoot

TRANSCRIPT = Path(__file__).parent / "transcripts" / "xen-cmdline.json"


def has_iommu(machine: Machine) -> bool:
    return "hvm_directio" in machine.run(["xl", "info"]).stdout


def test_xen_cmdline_is_as_recorded(tmp_path: Path) -> None:
    machine = default_host(str(tmp_path))
    real = machine.path(GRUB)
    played: List[str] = []
    for step in json.loads(TRANSCRIPT.read_text())["steps"]:
        if "file" in step:
            with open(real, "w", encoding="utf-8") as file:  # in place: it keeps its mode
                file.write(step["text"])
        elif "run" in step:
            if step["left_in_folder"] == []:
                os.unlink(real)
            before = machine.text(GRUB)
            answer = machine.run([XEN_CMDLINE, *step["run"][1:]])
            assert (answer.stdout, answer.status) == (step["stdout"], step["exit"]), step["run"]
            assert answer.stderr.splitlines()[-1:] == [
                step[key] for key in ("stderr_last_line",) if key in step
            ]
            assert os.listdir(os.path.dirname(real)) == step["left_in_folder"]
            if before is not None:
                assert machine.text(GRUB) == step.get("file_after", before).rstrip("\n"), step["run"]
                assert oct(stat.S_IMODE(os.stat(real).st_mode)) == step["mode_after"]
            played.append(step["run"][1])
    assert len(played) > 20


@pytest.mark.parametrize(
    ("options", "by_default", "firmware", "active"),
    [
        ("", True, "Intel VT-d", True),
        ("", False, "Intel VT-d", False),  # an old Xen has to be told
        ("iommu=1", False, "Intel VT-d", True),
        ("iommu=0", True, "Intel VT-d", False),
        ("iommu=off,verbose", True, "Intel VT-d", False),
        ("iommu=0 iommu=verbose,on", True, "AMD-Vi", True),
        ("no-iommu", True, "Intel VT-d", False),
        ("iommu=1", True, "", False),
    ],
)
def test_when_xen_uses_an_iommu(
    tmp_path: Path, options: str, by_default: bool, firmware: str, active: bool
) -> None:
    machine = default_host(str(tmp_path), xen_options=options, iommu_by_default=by_default, iommu=firmware)
    assert has_iommu(machine) is active


# -- what a boot brings --------------------------------------------------------------------------


def test_a_reboot_leaves_only_what_is_on_the_disk(tmp_path: Path) -> None:
    machine = default_host(str(tmp_path), pciback="xen-pciback", blacklist=())
    machine.write_attribute("/sys/class/net/eth1/device/sriov_numvfs", "2")
    machine.run(["modprobe", "xen-pciback"])
    machine.start_domain("11111111-0000-4000-8000-000000000001", "guest", ["0000:07:10.0"])
    machine.replace_file("/etc/sriov.conf", b"[host]\n")
    with machine.lock("config", "a test"):
        pass
    machine.reboot()
    assert machine.number("/sys/class/net/eth1/device/sriov_numvfs") == 0
    assert not machine.exists("/sys/bus/pci/devices/0000:07:10.0")
    assert not machine.exists("/sys/bus/pci/drivers/pciback")
    assert "ixgbe " in machine.read("/proc/modules")
    assert "ixgbevf" not in machine.read("/proc/modules")
    assert machine.run(["xenstore-ls", "-f", "/local/domain/0/backend/pci"]).status == 1
    assert machine.names("/run") == []
    assert machine.read("/etc/sriov.conf") == "[host]\n"


@pytest.mark.parametrize(
    ("options", "active"),
    [
        ('"iommu=1"', True),  # GRUB takes the quotes away
        ("iommu=0 # iommu=1", False),  # a comment
        ("iommu=0 -- iommu=1", False),  # dom0's, not Xen's
    ],
)
def test_xen_options_of_the_boot_file_reach_xen(tmp_path: Path, options: str, active: bool) -> None:
    machine = default_host(str(tmp_path), xen_options="iommu=0")
    text = machine.read(GRUB).replace("iommu=0", options, 1)
    machine.replace_file(GRUB, text.encode())
    machine.reboot()
    assert has_iommu(machine) is active


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("set default=0", "set default=9", "there is no entry 9"),
        ("multiboot2 /boot/xen.gz", "multiboot2 /boot/xem.gz", r"/boot/xem.gz\.\.\. failed"),
        ("\tmodule2 /boot/initrd-xen.img\n", "", "does not load Xen, Linux and an initrd"),
        ("default xe\n", "default xx\n", "the default 'xx' has no kernel or no append"),
        ("default xe\n", "", "the default '' has no kernel"),
        ("  append /boot/xen.gz", "  apend /boot/xen.gz", "has no kernel or no append"),
        (" --- ", " -- ", "dom0 kernel not specified"),
        ("mboot.c32", "mbot.c32", "failed to load COM32 file mbot.c32"),
        ("/boot/vmlinuz-xen ", "/boot/vmlinuzz ", r"Loading /boot/vmlinuzz\.\.\. failed"),
    ],
)
def test_a_damaged_entry_does_not_boot(tmp_path: Path, before: str, after: str, reason: str) -> None:
    is_grub = "default=" in before or "2 " in before
    machine = default_host(str(tmp_path), bootloader="grub" if is_grub else "extlinux")
    path = GRUB if is_grub else EXTLINUX
    text = machine.read(path)
    assert before in text
    machine.replace_file(path, text.replace(before, after, 1).encode())
    with pytest.raises(DoesNotBoot, match=reason):
        machine.reboot()


# -- extlinux ------------------------------------------------------------------------------------


def test_extlinux_reads_its_file_at_each_boot_and_ignores_what_it_does_not_know(tmp_path: Path) -> None:
    machine = default_host(str(tmp_path), bootloader="extlinux")
    assert not machine.exists(XEN_CMDLINE)
    text = machine.read(EXTLINUX).replace("/boot/xen.gz ", "/boot/xen.gz iommu=0 ") + "nonsense\r\n"
    machine.replace_file(EXTLINUX, text.replace("\n", "\r\n").encode())
    machine.reboot()
    assert not has_iommu(machine)


@pytest.mark.parametrize(
    ("version", "command", "status", "said"),
    [
        (6, "extlinux --update /boot", 0, "/boot is device /dev/sda1"),
        (6, "extlinux /boot", 64, "Usage: extlinux"),
        (6, "extlinux --bogus /boot", 64, "Usage: extlinux"),
        (6, "extlinux --update /nonexistent", 1, "extlinux: Not a directory: /nonexistent"),
        (3, "extlinux /boot", 0, "will require --install or --update"),
    ],
)
def test_extlinux_itself(tmp_path: Path, version: int, command: str, status: int, said: str) -> None:
    machine = default_host(str(tmp_path), bootloader="extlinux", extlinux=version)
    answer = machine.run(command.split())
    assert (answer.status, answer.stdout) == (status, "")
    assert said in answer.stderr
    machine.reboot()


def test_extlinux_with_the_wrong_folder_costs_the_host(tmp_path: Path) -> None:
    machine = default_host(str(tmp_path), bootloader="extlinux")
    assert machine.run(["extlinux", "--update", "/tmp"]).status == 0
    with pytest.raises(DoesNotBoot, match=r"looks for /tmp/ldlinux\.sys"):
        machine.reboot()
