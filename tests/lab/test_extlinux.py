"""Hosts that boot as the first ones did: through extlinux, from their disk."""

import os
import re
from typing import Callable, Dict, List

import pytest
from lab import image, toolstack, vms
from lab.host import LabHost, say
from lab.toolstack import call, problems
from lab.vfs import FIRST, SECOND

CARDS = (FIRST, SECOND)
GUEST_MAC = "02:16:3e:00:00:01"

SwitchOn = Callable[..., LabHost]


@pytest.fixture(scope="module")
def host(switch_on: SwitchOn) -> LabHost:
    return toolstack.bring(switch_on("first", "extlinux"))


@pytest.mark.short
def test_from_no_iommu_to_a_guest_with_a_vf(host: LabHost) -> None:
    """enable_iommu, load_pciback and one reboot: then a guest drives a VF (boot by extlinux)."""
    status = call(host, "status")
    assert status["platform"] == {"product": "XCP-ng", "version": "8.3.0"}
    assert status["iommu"] == {
        "configured": "off",
        "active": False,
        "bootloader": "extlinux",
        "xen_option": "iommu=0",
    }
    assert {"IOMMU_OFF", "NO_PCIBACK"} <= set(problems(status))
    say("status: the IOMMU is off, pciback is not loaded")

    before = boot_entries(host)
    enabled = call(host, "enable_iommu")
    assert (enabled["changed"], enabled["active"], enabled["reboot_required"]) == (True, False, True)
    assert enabled["xen_option_after"] == "iommu=1"
    for label in ("xe", "xe-serial"):
        before[label] = before[label].replace("iommu=0", "iommu=1")
    assert boot_entries(host) == before
    loaded = call(host, "load_pciback")
    assert loaded == {"loaded": True, "changed": True, "persistent": True, "module": "xen-pciback"}
    assert "REBOOT_PENDING" in problems(call(host, "status"))
    say("enable_iommu and load_pciback are done, a reboot is asked for")

    host.reboot()
    status = call(host, "status")
    assert status["iommu"]["active"] is True
    assert status["reboot_required"] is False
    assert not {"IOMMU_OFF", "NO_PCIBACK", "REBOOT_PENDING"} & set(problems(status))
    assert "hvm_directio" in host.run("xl info virt_caps")
    say("status and xl agree: the IOMMU is on")
    assert host.exists("/sys/bus/pci/drivers/pciback")
    say("pciback is there: our service loaded it")

    for card in CARDS:
        call(host, "set_vf_count", pf=card, count="7")
    vfs = call(host, "list_vfs")
    assert [vf["address"] for vf in vfs] == seen_by_lspci(host)
    assert [(vf["pf"], vf["index"]) for vf in vfs] == [(card, n) for card in CARDS for n in range(7)]
    assert {vf["state"] for vf in vfs} == {"free"}
    say("list_vfs shows the 14 VFs that lspci shows, in its order")

    guest = vms.new(host, "guest")
    chosen = vfs[3]["address"]
    call(host, "assign_vf", vm_uuid=guest.uuid, vf=chosen, mac=GUEST_MAC)
    guest.start()
    assert guest.mac(host) == GUEST_MAC
    driver = "readlink /sys/class/net/eth0/device/driver"
    assert host.run_in_guest("guest", driver).strip().endswith("/igbvf")
    now = {vf["address"]: vf for vf in call(host, "list_vfs")}
    assert now[chosen]["assigned_to"]["vm_uuid"] == guest.uuid
    assert [address for address, vf in now.items() if vf["state"] == "in-use"] == [chosen]
    guest.shut_down()
    say("a guest drives one of them with igbvf and its MAC, and list_vfs calls only that one in use")


def test_disable_iommu_puts_back_what_was_there(host: LabHost) -> None:
    """disable_iommu and a reboot put Xen's command line and extlinux.conf back, byte for byte."""
    with open(os.path.join(image.HERE, "dom0", "boot", "extlinux.conf")) as file:
        original = file.read()
    assert host.run("cat /boot/extlinux.conf") != original

    disabled = call(host, "disable_iommu")
    assert (disabled["changed"], disabled["active"], disabled["reboot_required"]) == (True, True, True)
    assert host.run("cat /boot/extlinux.conf") == original
    host.reboot()
    options = re.findall(r"append /boot/xen.gz (.*?) ---", original)
    assert host.run("xl info xen_commandline").strip() == options[0]
    status = call(host, "status")
    assert (status["iommu"]["active"], status["reboot_required"]) == (False, False)
    say("the command line is what it was, and the IOMMU is off")


def boot_entries(host: LabHost) -> Dict[str, str]:
    """What extlinux.conf says below each label."""
    _head, *entries = host.run("cat /boot/extlinux.conf").split("\nlabel ")
    return {text.split()[0]: text for text in entries}


def seen_by_lspci(host: LabHost) -> List[str]:
    """The addresses of the VFs of igb, as lspci shows them in dom0."""
    return [line.split()[0] for line in host.run("lspci -D -d 8086:10ca").splitlines()]
