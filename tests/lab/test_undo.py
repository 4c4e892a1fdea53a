"""What a second reboot shows: `disable_iommu` puts back what was found, and firmware may offer no IOMMU."""

from typing import Callable

from lab import toolstack
from lab.host import LabHost
from lab.qemu import Hardware
from lab.toolstack import call, problems

Say = Callable[[str], None]
SwitchOn = Callable[..., LabHost]
COMMAND_LINE = "xl info xen_commandline"


def test_disable_iommu_puts_back_what_was_there(switch_on: SwitchOn, say: Say) -> None:
    """disable_iommu and a reboot put Xen's command line and extlinux.conf back, byte for byte."""
    host = switch_on("undone", "extlinux")
    toolstack.bring(host)
    toolstack.install(host, toolstack.package())
    line, file = host.run(COMMAND_LINE), host.run("cat /boot/extlinux.conf")
    assert call(host, "enable_iommu")["changed"]
    host.reboot()
    assert call(host, "status")["iommu"]["active"] is True
    say("the IOMMU is on")

    disabled = call(host, "disable_iommu")
    assert (disabled["changed"], disabled["reboot_required"]) == (True, True)
    assert host.run("cat /boot/extlinux.conf") == file
    host.reboot()
    assert host.run(COMMAND_LINE) == line
    status = call(host, "status")
    assert (status["iommu"]["active"], status["reboot_required"]) == (False, False)
    say("the command line is what it was, and the IOMMU is off")

    assert "NOTHING_RECORDED" in problems(call(host, "disable_iommu"))
    assert host.run("cat /boot/extlinux.conf") == file
    say("a second disable_iommu changes nothing and says so")


def test_a_machine_without_an_iommu(switch_on: SwitchOn, say: Say) -> None:
    """Where firmware offers no IOMMU, status says so after the reboot, and disable_iommu undoes (GRUB)."""
    host = switch_on("without", "grub", Hardware(iommu=False))
    toolstack.bring(host)
    toolstack.install(host, toolstack.package())
    options = host.run(COMMAND_LINE).split()
    enabled = call(host, "enable_iommu")
    assert (enabled["changed"], enabled["reboot_required"]) == (True, True)
    host.reboot()

    status = call(host, "status")
    assert (status["iommu"]["configured"], status["iommu"]["active"]) == ("on", False)
    assert "NO_FIRMWARE_IOMMU" in problems(status)
    again = call(host, "enable_iommu")
    assert (again["changed"], again["reboot_required"]) == (False, False)
    assert "NO_FIRMWARE_IOMMU" in problems(again)
    say("NO_FIRMWARE_IOMMU: no further reboot is asked for")

    assert call(host, "disable_iommu")["changed"]
    host.reboot()
    # xen-cmdline appends: an option that it wrote again is the last one
    assert sorted(host.run(COMMAND_LINE).split()) == sorted(options)
    say("Xen's options are those of before")
