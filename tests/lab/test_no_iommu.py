"""A machine whose firmware offers no IOMMU."""

from typing import Callable

from lab import toolstack
from lab.host import LabHost
from lab.qemu import Hardware
from lab.toolstack import call, problems

Say = Callable[[str], None]
SwitchOn = Callable[..., LabHost]

# of the entry that boots by default, in the file
OPTIONS = "sed -n 's,^\\tmultiboot2 /boot/xen.gz ,,p' /boot/grub/grub.cfg | head -1"


def test_a_machine_without_an_iommu(switch_on: SwitchOn, say: Say) -> None:
    """Where firmware offers no IOMMU, status says so once the reboot has shown it (boot by GRUB)."""
    host = switch_on("without", "grub", Hardware(iommu=False))
    toolstack.bring(host)
    toolstack.install(host, toolstack.package())
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
