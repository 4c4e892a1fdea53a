"""VFs that are there after every boot, with their settings, and that dom0's own drivers never get."""

from typing import Any, Callable

import pytest
from lab import toolstack
from lab.host import LabHost, wait_for
from lab.toolstack import call, problems
from lab.vfs import FIRST, IN_ORDER, RESTORE, SECOND, all_vfs, note, noted, refusal, taken_by_dom0, watch_vfs

Say = Callable[[str], None]
SwitchOn = Callable[..., LabHost]

COUNTS = {FIRST: 7, SECOND: 4}
MAC_OF_GUEST = "02:16:3e:00:00:14"
SETTINGS = {  # PF, number of its VF -> what configure_vf is given
    (FIRST, 1): {"mac": "02:16:3e:00:00:11", "vlan": "12", "qos": "3"},
    (FIRST, 4): {"mac": MAC_OF_GUEST, "trust": "on", "spoof_check": "off"},
    (SECOND, 0): {"mac": "02:16:3e:00:00:20", "max_tx_rate": "100"},
    (SECOND, 3): {"vlan": "4094"},
}
GUEST_UUID = "5c2f8a4e-7b1d-4c59-9b1e-1a2b3c4d5e6f"


@pytest.fixture(scope="module")
def host(switch_on_for_all: SwitchOn) -> LabHost:
    """A host with our package, which wants the IOMMU at its next boot."""
    host = switch_on_for_all("kept", "extlinux")
    watch_vfs(host)
    toolstack.bring(host)
    toolstack.install(host, toolstack.package())
    assert call(host, "enable_iommu")["changed"]
    return host


@pytest.mark.short
def test_a_reboot_brings_back_vfs_and_settings(host: LabHost, say: Say) -> None:
    """set_vf_count and configure_vf hold over a reboot, before xapi looks, and no VF is ever dom0's."""
    own = note(host, "before").interfaces
    for pf, count in COUNTS.items():
        made = call(host, "set_vf_count", pf=pf, count=str(count))
        assert (made["before"], made["after"], made["changed"]) == (0, count, True)
        assert made["reboot_required"] is False
    say("7 and 4 VFs are made")
    addresses = {(vf["pf"], vf["index"]): vf["address"] for vf in call(host, "list_vfs")}
    for which, settings in SETTINGS.items():
        vf = call(host, "configure_vf", vf=addresses[which], **settings)
        assert {name: as_argument(vf[name]) for name in settings} == settings
    say(f"{len(SETTINGS)} of them have settings")
    vfs = all_vfs(host)
    now = note(host, "configured")
    assert now.drivers == dict.fromkeys(addresses.values(), "pciback")
    assert now.interfaces == own
    assert taken_by_dom0(host) == []

    host.reboot()
    for unit in ("xcp-networkd", "xapi"):
        then = noted(host, unit)
        assert then.drivers == now.drivers
        assert then.interfaces | {"xenbr0"} == own
        assert then.settings == now.settings
    say("when the network daemon and xapi started, all was there: pciback's VFs, and their settings")
    assert all_vfs(host) == vfs
    assert host.exists("/sys/bus/pci/drivers/igbvf")
    assert taken_by_dom0(host) == []
    say("list_vfs is as before, and the kernel's log speaks of no VF in dom0")
    status = call(host, "status")
    assert {pf["address"]: (pf["desired"], pf["actual"], pf["last_error"]) for pf in status["pfs"]} == {
        pf: (count, count, None) for pf, count in COUNTS.items()
    }
    assert "DRIFT" not in problems(status)
    assert host.run(f"{RESTORE} --check") == IN_ORDER
    say("status and --check agree with /etc/sriov.conf")


@pytest.mark.short
def test_a_guest_keeps_its_vf(host: LabHost, say: Say) -> None:
    """A change of the count is refused while a guest has a VF, and the guest goes on pinging through it."""
    vfs = all_vfs(host)
    vf = next(vf for vf in vfs if vf["mac"] == MAC_OF_GUEST)
    host.run(f"ip address add 192.0.2.1/24 dev {vf['interface']}")
    host.create_guest("guest", GUEST_UUID, vf["address"])
    host.run_in_guest("guest", "ip address add 192.0.2.2/24 dev eth0 && ip link set eth0 up")
    assert host.run_in_guest("guest", "cat /sys/class/net/eth0/address").strip() == MAC_OF_GUEST
    wait_for("the guest's first ping", lambda: pings(host), 120)
    say("the guest pings dom0 through its VF")

    for force in ("false", "true"):
        refused = refusal(host, "set_vf_count", pf=FIRST, count="3", force=force)
        assert refused[0] == "SRIOV_VF_IN_USE"
        assert f"guest ({vf['address']})" in refused[1]
        assert pings(host)
    assert refusal(host, "configure_vf", vf=vf["address"], vlan="5")[0] == "SRIOV_VF_IN_USE"
    say(f"refused, forced or not: {refused[1]}")
    host.run(RESTORE)
    assert host.run(f"{RESTORE} --check") == IN_ORDER
    assert pings(host)
    say("it still does after sriov-restore ran by hand, and --check is clean")

    host.run("xl destroy guest")
    wait_for("the VF without the guest", lambda: all_vfs(host) == vfs, 60)


def test_a_driver_is_loaded_again(host: LabHost, say: Say) -> None:
    """The driver unloaded and loaded again: udev has VFs and settings restored, none is dom0's."""
    vfs = all_vfs(host)
    host.run("modprobe -r igb")
    assert not host.exists("/sys/bus/pci/drivers/igb")
    host.run("modprobe igb")
    wait_for("VFs and settings", lambda: all_vfs(host) == vfs, 180)
    assert host.run(f"{RESTORE} --check") == IN_ORDER
    assert taken_by_dom0(host) == []
    say("igb was loaded again: all VFs and settings are back")


def as_argument(value: Any) -> str:
    """A value of list_vfs as configure_vf takes it."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def pings(host: LabHost) -> bool:
    """Whether dom0 answers each ping of the guest."""
    said = host.attempt("guest-run guest 'ping -c 3 -W 5 192.0.2.1'").stdout
    return " 0% packet loss" in said
