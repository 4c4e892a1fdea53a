"""Hosts that boot as the first ones did: through extlinux, from their disk."""

import os
import re
from typing import Callable, Dict, List

import pytest
from lab import image, toolstack
from lab.host import LabHost, wait_for
from lab.toolstack import call, problems

CARDS = ("0000:01:00.0", "0000:02:00.0")
GUEST_UUID = "5c2f8a4e-7b1d-4c59-9b1e-1a2b3c4d5e6f"
GUEST_MAC = "02:16:3e:00:00:01"

Say = Callable[[str], None]
SwitchOn = Callable[..., LabHost]


@pytest.fixture(scope="module")
def host(switch_on_for_all: SwitchOn) -> LabHost:
    host = switch_on_for_all("first", "extlinux")
    toolstack.bring(host)
    toolstack.install(host, toolstack.package())
    return host


@pytest.mark.short
def test_from_no_iommu_to_a_guest_with_a_vf(host: LabHost, say: Say) -> None:
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
    assert starts_in_order(host, "sriov-restore", "xcp-networkd", "xapi")
    say("pciback is there: our service loaded it, before networks and xapi came up")

    for card in CARDS:
        host.run(f"echo 7 > /sys/bus/pci/devices/{card}/sriov_numvfs")
    vfs = call(host, "list_vfs")
    assert len(vfs) == 14
    assert [vf["address"] for vf in vfs] == seen_by_lspci(host)
    assert [(vf["pf"], vf["index"]) for vf in vfs] == [(card, n) for card in CARDS for n in range(7)]
    assert {vf["state"] for vf in vfs} == {"free"}
    say("list_vfs shows the 14 VFs that lspci shows, in its order")

    chosen = vfs[3]
    pf = chosen["interface"]
    host.run(f"ip link set {pf} up && ip link set {pf} vf {chosen['index']} mac {GUEST_MAC}")
    host.create_guest("guest", GUEST_UUID, chosen["address"])
    driver_and_mac = wait_for("the guest's VF", lambda: vf_in_guest(host, "guest"), 120)
    assert driver_and_mac == ["igbvf", GUEST_MAC]
    say("the guest sees 8086:10ca on its own bus, with igbvf and the MAC set in dom0")

    now = {vf["address"]: vf for vf in call(host, "list_vfs")}
    assert now[chosen["address"]]["state"] == "in-use"
    assert now[chosen["address"]]["assigned_to"]["vm_uuid"] == GUEST_UUID
    assert now[chosen["address"]]["mac"] == GUEST_MAC
    assert {vf["state"] for address, vf in now.items() if address != chosen["address"]} == {"free"}
    assert list(now) == [vf["address"] for vf in vfs]
    say("list_vfs calls that one in-use by the guest, and only that one")


def test_disable_iommu_puts_back_what_was_there(host: LabHost, say: Say) -> None:
    """disable_iommu and a reboot put Xen's command line and extlinux.conf back, byte for byte."""
    with open(os.path.join(image.HERE, "dom0", "boot", "extlinux.conf")) as file:
        original = file.read()
    if not call(host, "status")["iommu"]["active"]:  # this story is told alone
        call(host, "enable_iommu")
        host.reboot()
        assert call(host, "status")["iommu"]["active"]
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

    again = call(host, "disable_iommu")
    assert (again["changed"], problems(again)) == (False, ["NOTHING_RECORDED"])
    assert host.run("cat /boot/extlinux.conf") == original
    say("a second disable_iommu changes nothing and says so")


def starts_in_order(host: LabHost, *units: str) -> bool:
    """Whether each unit began after the one before it had come up."""
    began, up = "InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic"
    times = []
    for unit in units:
        shown = host.run(f"systemctl show -p {began} -p {up} {unit}").split()
        values = dict(line.split("=") for line in shown)
        times += [int(values[began]), int(values[up])]
    return times[0] > 0 and times == sorted(times)


def boot_entries(host: LabHost) -> Dict[str, str]:
    """What extlinux.conf says below each label."""
    _head, *entries = host.run("cat /boot/extlinux.conf").split("\nlabel ")
    return {text.split()[0]: text for text in entries}


def seen_by_lspci(host: LabHost) -> List[str]:
    """The addresses of the VFs of igb, as lspci shows them in dom0."""
    return [line.split()[0] for line in host.run("lspci -D -d 8086:10ca").splitlines()]


def vf_in_guest(host: LabHost, name: str) -> List[str]:
    """Driver and MAC of the VF of igb on the guest's own PCI bus; nothing while there is none with a MAC."""
    look = (
        "cd /sys/bus/pci/devices && for d in *; do "
        'test "$(cat $d/vendor)$(cat $d/device)" = 0x80860x10ca || continue; '
        "basename $(readlink $d/driver); cat $d/net/*/address; done"
    )
    found = host.run_in_guest(name, look).split()
    return found if len(found) == 2 else []
