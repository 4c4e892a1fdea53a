"""Hosts that boot as today's do: through GRUB 2, whose file xen-cmdline edits."""

import os
import re
from typing import Callable, Dict

import pytest
from lab import toolstack
from lab.host import LabHost
from lab.toolstack import call, problems

Say = Callable[[str], None]
SwitchOn = Callable[..., LabHost]
ENABLED = "systemctl is-enabled sriov-restore"

HOOKS = ("vm-pre-start", "vm-post-destroy", "vm-pre-resume")
LINKS = ("plugins/sriov", *(f"{hook}/50-xapi-sriov" for hook in HOOKS))


@pytest.fixture(scope="module")
def host(switch_on_for_all: SwitchOn) -> LabHost:
    host = switch_on_for_all("today", "grub")
    toolstack.bring(host)
    return host


def test_the_package_comes_and_goes(host: LabHost, say: Say) -> None:
    """rpm installs, upgrades and erases in dom0, and xapi never meets a bad file in its folders."""
    older = toolstack.package()
    newer = toolstack.newer_package("99.0")
    host.push("/root", older, newer)
    before = host.run("find /etc/xapi.d | sort")

    for action, rpm in (("installed", older), ("upgraded", newer)):
        seen = toolstack.watched(host, f"rpm -U /root/{os.path.basename(rpm)}")
        assert (seen["status"], seen["stumbled"]) == (0, [])
        renamed = {f"{link} MOVED_TO" for link in LINKS}
        if action == "installed":  # a folder that rpm makes is not watched yet
            assert {"plugins/sriov MOVED_TO"} <= set(seen["events"]) <= renamed
        else:
            assert set(seen["events"]) == renamed
        assert call(host, "status")["version"] == os.path.basename(rpm).split("-")[2]
        assert host.run(ENABLED).strip() == "enabled"
        say(f"{action}: {os.path.basename(rpm)} answers, its service is enabled ({seen['looked']} looks)")

    host.run("echo '# kept' >> /etc/sriov.conf")
    seen = toolstack.watched(host, "rpm -e xapi-sriov")
    assert (seen["status"], seen["stumbled"]) == (0, [])
    assert set(seen["events"]) == {f"{link} DELETE" for link in LINKS}
    assert host.run("find /etc/xapi.d | sort") == before
    assert host.attempt(ENABLED).returncode != 0
    assert "# kept" in host.run("cat /etc/sriov.conf.rpmsave")
    assert not host.exists("/usr/libexec/xapi-sriov")
    host.run("rm /etc/sriov.conf.rpmsave")
    say("erased: nothing is left but the administrator's configuration")


@pytest.mark.short
def test_enable_iommu_through_xen_cmdline(host: LabHost, say: Say) -> None:
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


def boot_entries(host: LabHost) -> Dict[str, str]:
    """The menu entries of grub.cfg, by their titles."""
    text = host.run("cat /boot/grub/grub.cfg")
    return dict(re.findall(r"^menuentry '([^']*)' \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE))
