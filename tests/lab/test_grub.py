"""Hosts that boot as today's do: through GRUB 2, whose file xen-cmdline edits."""

import os
import re
from pathlib import Path
from typing import Callable, Dict

import packages
import pytest
from lab import image, toolstack
from lab.host import LabHost, say
from lab.qemu import Hardware
from lab.toolstack import call, problems

SwitchOn = Callable[..., LabHost]
ENABLED = "systemctl is-enabled sriov-restore"
# of the entry that boots by default, in the file
OPTIONS = "sed -n 's,^\\tmultiboot2 /boot/xen.gz ,,p' /boot/grub/grub.cfg | head -1"


@pytest.fixture(scope="module")
def host(switch_on: SwitchOn) -> LabHost:
    host = switch_on("today", "grub")
    toolstack.bring_xapi(host)
    return host


def test_the_package_comes_and_goes(host: LabHost, tmp_path: Path) -> None:
    """rpm installs, upgrades and erases in dom0: the new version answers, its service is enabled."""
    tree = packages.copy(Path(image.REPOSITORY), tmp_path / "older")
    packages.make_older(tree)
    before = host.run("find /etc/xapi.d | sort")
    for rpm in (packages.build(tree).path, toolstack.package()):
        toolstack.install(host, rpm)
        assert call(host, "status")["version"] == os.path.basename(rpm).split("-")[2]
        assert host.run(ENABLED).strip() == "enabled"
        say(f"{os.path.basename(rpm)} answers, its service is enabled")

    host.run("echo '# kept' >> /etc/sriov.conf")
    host.run("rpm -e xapi-sriov")
    assert host.run("find /etc/xapi.d | sort") == before
    assert host.attempt(ENABLED).returncode != 0
    assert "# kept" in host.run("cat /etc/sriov.conf.rpmsave")
    assert not host.exists("/usr/libexec/xapi-sriov")
    host.run("rm /etc/sriov.conf.rpmsave")
    say("erased: nothing is left but the administrator's configuration")


@pytest.mark.short
def test_enable_iommu_through_xen_cmdline(host: LabHost) -> None:
    """enable_iommu and a reboot turn the IOMMU on by xen-cmdline, safe mode and fallback untouched (GRUB)."""
    toolstack.install(host, toolstack.package())
    status = call(host, "status")
    assert (status["iommu"]["bootloader"], status["iommu"]["active"]) == ("grub", False)
    before = boot_entries(host)

    enabled = call(host, "enable_iommu")
    assert (enabled["changed"], enabled["reboot_required"]) == (True, True)
    after = boot_entries(host)
    assert list(after) == list(before)
    changed = {title for title in after if after[title] != before[title]}
    assert changed == {"XCP-ng", "XCP-ng (Serial)"}
    assert all("iommu=1" in after[title].split() for title in changed)
    say(f"the entries {' and '.join(sorted(changed))} have iommu=1, the other {len(after) - 2} are as before")

    host.reboot()
    status = call(host, "status")
    assert (status["iommu"]["configured"], status["iommu"]["active"]) == ("on", True)
    assert "IOMMU_OFF" not in problems(status)
    assert "hvm_directio" in host.run("xl info virt_caps")
    say("status and xl agree: the IOMMU is on")


def test_a_machine_without_an_iommu(switch_on: SwitchOn) -> None:
    """Where firmware offers no IOMMU, status says so once the reboot has shown it (boot by GRUB)."""
    host = toolstack.bring(switch_on("without", "grub", Hardware(iommu=False)))
    options = host.run(OPTIONS).split()
    enabled = call(host, "enable_iommu")
    assert (enabled["changed"], enabled["reboot_required"]) == (True, True)
    assert "NO_FIRMWARE_IOMMU" not in problems(enabled)
    host.reboot()

    status = call(host, "status")
    assert (status["iommu"]["configured"], status["iommu"]["active"]) == ("on", False)
    assert "NO_FIRMWARE_IOMMU" in problems(status)
    again = call(host, "enable_iommu")
    assert (again["changed"], again["reboot_required"]) == (False, False)
    assert "NO_FIRMWARE_IOMMU" in problems(again)
    say("NO_FIRMWARE_IOMMU: no further reboot is asked for")

    assert call(host, "disable_iommu")["changed"]
    # xen-cmdline appends what it writes: the options are the same, their order is not
    assert host.run(OPTIONS).split() == [*(word for word in options if word != "iommu=0"), "iommu=0"]
    say("disable_iommu puts Xen's options of before into grub.cfg")


def boot_entries(host: LabHost) -> Dict[str, str]:
    """The menu entries of grub.cfg, by their titles."""
    text = host.run("cat /boot/grub/grub.cfg")
    return dict(re.findall(r"^menuentry '([^']*)' \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE))
