"""Boot configuration and reboots of the fake machine: xen-cmdline as recorded, extlinux as the lab saw it,
and what the next boot makes of the files."""

import json
import os
import stat
from pathlib import Path
from typing import Any, Dict, List

import pytest
from machine import default_host
from machine_boot import EXTLINUX, GRUB, DoesNotBoot

HERE = os.path.dirname(os.path.abspath(__file__))
XEN_CMDLINE = "/opt/xensource/libexec/xen-cmdline"


def transcript() -> List[Dict[str, Any]]:
    with open(os.path.join(HERE, "transcripts", "xen-cmdline.json"), encoding="utf-8") as file:
        steps: List[Dict[str, Any]] = json.load(file)["steps"]
    return steps


def test_xen_cmdline_is_as_recorded(tmp_path: Path) -> None:
    machine = default_host(str(tmp_path))
    real = machine.path(GRUB)
    expected = ""
    played = 0
    for step in transcript():
        if "file" in step:
            assert step["file"] == GRUB
            expected = step["text"]
            with open(real, "w", encoding="utf-8") as file:  # in place: it keeps its mode
                file.write(expected)
        elif "run" in step:
            if step["left_in_folder"] == []:
                os.unlink(real)
            answer = machine.run([XEN_CMDLINE, *step["run"][1:]])
            assert (answer.stdout, answer.status) == (step["stdout"], step["exit"]), step["run"]
            if "stderr_last_line" in step:
                assert answer.stderr.splitlines()[-1] == step["stderr_last_line"]
            assert os.listdir(os.path.dirname(real)) == step["left_in_folder"]
            if os.path.exists(real):
                expected = step.get("file_after", expected)
                assert machine.read(GRUB) == expected, step["run"]
                assert oct(stat.S_IMODE(os.stat(real).st_mode)) == step["mode_after"]
            played += 1
    assert played == len([step for step in transcript() if "run" in step]) > 30


@pytest.mark.parametrize("bootloader", ["grub", "grub-efi"])
def test_the_iommu_goes_off_with_the_next_boot(tmp_path: Path, bootloader: str) -> None:
    machine = default_host(str(tmp_path), bootloader=bootloader)
    assert "hvm_directio" in machine.run(["xl", "info"]).stdout
    assert machine.run([XEN_CMDLINE, "--set-xen", "iommu=0"]).status == 0
    assert "hvm_directio" in machine.run(["xl", "info"]).stdout  # Xen runs as it was booted
    machine.reboot()
    assert "hvm_directio" not in machine.run(["xl", "info"]).stdout
    assert "xen_commandline        : dom0_mem" in machine.run(["xl", "info"]).stdout
    assert machine.run(["xl", "dmesg"]).stdout.endswith("(XEN) I/O virtualisation disabled\n")


@pytest.mark.parametrize(
    ("options", "firmware", "active"),
    [
        ("", "Intel VT-d", True),
        ("iommu=1", "Intel VT-d", True),
        ("iommu=0", "Intel VT-d", False),
        ("iommu=off,verbose", "Intel VT-d", False),
        ("iommu=0 iommu=verbose,on", "AMD-Vi", True),
        ("no-iommu", "Intel VT-d", False),
        ("iommu=1", "", False),
    ],
)
def test_when_xen_uses_an_iommu(tmp_path: Path, options: str, firmware: str, active: bool) -> None:
    machine = default_host(str(tmp_path), xen_options=options, iommu=firmware)
    assert ("hvm_directio" in machine.run(["xl", "info"]).stdout) is active
    log = machine.run(["xl", "dmesg"]).stdout
    assert ("I/O virtualisation enabled" in log, "I/O virtualisation disabled" in log) == (active, not active)
    assert (firmware in log if active else True) is True


def test_an_old_xen_has_to_be_told(tmp_path: Path) -> None:
    machine = default_host(str(tmp_path), iommu_by_default=False)
    assert "hvm_directio" not in machine.run(["xl", "info"]).stdout


# -- what a boot brings --------------------------------------------------------------------------


def test_a_reboot_leaves_only_what_is_on_the_disk(tmp_path: Path) -> None:
    machine = default_host(str(tmp_path), pciback="xen-pciback", blacklist=())
    first_boot = machine.read("/proc/sys/kernel/random/boot_id")
    machine.write_attribute("/sys/class/net/eth1/device/sriov_numvfs", "2")
    machine.run(["modprobe", "xen-pciback"])
    machine.start_domain("11111111-0000-4000-8000-000000000001", "guest", ["0000:07:10.0"])
    machine.replace_file("/etc/sriov.conf", b"[host]\n")
    with machine.lock("config", "a test"):
        pass
    machine.reboot()
    assert machine.read("/proc/sys/kernel/random/boot_id") != first_boot
    assert machine.number("/sys/class/net/eth1/device/sriov_numvfs") == 0
    assert not machine.exists("/sys/bus/pci/devices/0000:07:10.0")
    assert not machine.exists("/sys/bus/pci/drivers/pciback")
    assert "ixgbe " in machine.read("/proc/modules")
    assert "ixgbevf" not in machine.read("/proc/modules")
    assert machine.run(["xenstore-ls", "/local/domain/0/backend/pci"]).status == 1
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
    assert ("hvm_directio" in machine.run(["xl", "info"]).stdout) is active


def test_modules_load_d_and_module_options_count_at_each_boot(tmp_path: Path) -> None:
    machine = default_host(str(tmp_path), pciback="xen-pciback")
    machine.replace_file("/etc/modules-load.d/pciback.conf", b"xen-pciback\n")
    machine.replace_file("/etc/modprobe.d/ixgbe.conf", b"options ixgbe max_vfs=63,2\n")
    machine.run(["dracut", "-f", "/boot/initrd-4.19.0+1.img", "4.19.0+1"])
    machine.reboot()
    assert machine.exists("/sys/bus/pci/drivers/pciback")
    assert machine.number("/sys/class/net/eth1/device/sriov_numvfs") == 63
    assert machine.link("/sys/class/net/eth2/device/virtfn1") == "0000:07:10.3"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("set default=0", "set default=9", "there is no entry 9"),
        ("multiboot2 /boot/xen.gz", "multiboot2 /boot/xem.gz", r"/boot/xem.gz\.\.\. failed"),
        ("\tmodule2 /boot/initrd-xen.img\n", "", "does not load Xen, Linux and an initrd"),
    ],
)
def test_a_damaged_grub_entry_does_not_boot(tmp_path: Path, before: str, after: str, reason: str) -> None:
    machine = default_host(str(tmp_path))
    machine.replace_file(GRUB, machine.read(GRUB).replace(before, after).encode())
    with pytest.raises(DoesNotBoot, match=reason):
        machine.reboot()


# -- extlinux ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("default xe\n", "default xx\n", "the default 'xx' has no kernel or no append"),
        ("default xe\n", "", "the default '' has no kernel"),
        ("  append /boot/xen.gz", "  apend /boot/xen.gz", "has no kernel or no append"),
        (" --- ", " -- ", "dom0 kernel not specified"),
        ("mboot.c32", "mbot.c32", "failed to load COM32 file mbot.c32"),
        ("/boot/vmlinuz-xen ", "/boot/vmlinuzz ", r"Loading /boot/vmlinuzz\.\.\. failed"),
    ],
)
def test_a_damaged_extlinux_entry_does_not_boot(tmp_path: Path, before: str, after: str, reason: str) -> None:
    machine = default_host(str(tmp_path), bootloader="extlinux")
    machine.replace_file(EXTLINUX, machine.read(EXTLINUX).replace(before, after, 1).encode())
    with pytest.raises(DoesNotBoot, match=reason):
        machine.reboot()


def test_extlinux_reads_its_file_at_each_boot_and_ignores_what_it_does_not_know(tmp_path: Path) -> None:
    machine = default_host(str(tmp_path), bootloader="extlinux")
    assert not machine.exists(XEN_CMDLINE)
    text = machine.read(EXTLINUX).replace("/boot/xen.gz ", "/boot/xen.gz iommu=0 ") + "nonsense\r\n"
    machine.replace_file(EXTLINUX, text.replace("\n", "\r\n").encode())
    machine.reboot()
    assert "I/O virtualisation disabled" in machine.run(["xl", "dmesg"]).stdout


@pytest.mark.parametrize(
    ("version", "command", "status", "said"),
    [
        (6, "extlinux --update /boot", 0, "/boot is device /dev/sda1"),
        (6, "extlinux --install /boot", 0, "/boot is device /dev/sda1"),
        (6, "extlinux /boot", 64, "Usage: extlinux"),
        (6, "extlinux", 64, "Usage: extlinux"),
        (6, "extlinux --update", 64, "Usage: extlinux"),
        (6, "extlinux --bogus /boot", 64, "unrecognized option"),
        (6, "extlinux --update /nonexistent", 1, "extlinux: Not a directory: /nonexistent"),
        (6, "extlinux --update /proc", 1, "extlinux: not a fat, ntfs, ext2/3/4"),
        (6, "extlinux --version", 0, "extlinux 6.04"),
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
