"""VFs that are there after every boot, with their settings, and that dom0's own drivers never get, whatever
fails or comes in between."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Tuple

import pytest
from lab import toolstack
from lab.host import LabHost, say, wait_for
from lab.qemu import Hardware
from lab.toolstack import call, problems, refusal
from lab.vfs import FIRST, IN_ORDER, RESTORE, SECOND, all_vfs, note, noted, taken_by_dom0, watch_vfs

SwitchOn = Callable[..., LabHost]

NVME = "0000:03:00.0"
SLOTS = "cat /sys/bus/pci/drivers/pciback/slots"
COUNTS = {FIRST: 7, SECOND: 4}
SETTINGS = {  # PF, number of its VF -> what configure_vf is given
    (FIRST, 1): {"mac": "02:16:3e:00:00:11", "vlan": "12", "qos": "3"},
    (FIRST, 4): {"mac": "02:16:3e:00:00:14", "trust": "on", "spoof_check": "off"},
    (SECOND, 0): {"mac": "02:16:3e:00:00:20", "max_tx_rate": "100"},
    (SECOND, 3): {"vlan": "4094"},
}


@pytest.fixture(scope="module")
def host(switch_on: SwitchOn) -> LabHost:
    """A host with our package and a third card. It needs no IOMMU: no guest is started on it."""
    host = switch_on("troubled", "grub", Hardware(nvme=True))
    watch_vfs(host)
    toolstack.bring(host)
    return host


@pytest.mark.short
def test_a_reboot_brings_back_vfs_and_settings(host: LabHost) -> None:
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
    stand = desired_and_actual(host)
    assert (stand[FIRST], stand[SECOND]) == ((7, 7), (4, 4))
    assert "DRIFT" not in problems(call(host, "status"))
    assert host.run(f"{RESTORE} --check") == IN_ORDER
    say("status and --check agree with /etc/sriov.conf")


def test_a_driver_is_loaded_again(host: LabHost) -> None:
    """The driver unloaded and loaded again: udev has VFs and settings restored, none is dom0's."""
    vfs = all_vfs(host)
    host.run("modprobe -r igb")
    assert not host.exists("/sys/bus/pci/drivers/igb")
    host.run("modprobe igb")
    wait_for("VFs and settings", lambda: all_vfs(host) == vfs, 180)
    assert host.run(f"{RESTORE} --check") == IN_ORDER
    assert taken_by_dom0(host) == []
    say("igb was loaded again: all VFs and settings are back")


def test_one_pf_fails_and_the_others_are_restored(host: LabHost) -> None:
    """A PF whose driver refuses its number at boot stops no other: igb and NVMe have their VFs (GRUB)."""
    (nvme,) = [pf for pf in call(host, "list_pfs") if pf["address"] == NVME]
    assert (nvme["driver"], nvme["total_vfs"], nvme["interface"], nvme["mac"]) == ("nvme", 4, None, None)
    for pf, count in ((FIRST, 2), (SECOND, 2), (NVME, 3)):
        assert call(host, "set_vf_count", pf=pf, count=str(count))["after"] == count
    of_nvme = call(host, "list_vfs", pf=NVME)
    assert [vf["driver"] for vf in of_nvme] == ["pciback"] * 3
    assert {vf["mac"] for vf in of_nvme} == {None}
    refused = refusal(host, "configure_vf", vf=of_nvme[0]["address"], mac="02:16:3e:00:00:30")
    assert refused[0] == "SRIOV_BAD_ARGUMENT"
    say(f"NVMe is listed and has 3 VFs, and a MAC is refused: {refused[1]}")

    second = call(host, "list_vfs", pf=SECOND)
    call(host, "configure_vf", vf=second[1]["address"], mac="02:16:3e:00:00:31", vlan="7")
    others = [vf for vf in all_vfs(host) if vf["pf"] != FIRST]
    host.run(f"sed -i '/^.pf {FIRST}/,/^vfs/ s/^vfs = 2$/vfs = 99/' /etc/sriov.conf")
    host.reboot()
    assert all_vfs(host) == others
    assert sorted(host.run(SLOTS).split()) == sorted(vf["address"] for vf in others)
    assert taken_by_dom0(host) == []
    say("the other igb card and NVMe have their VFs again, and no slot waits for one that is not there")

    stand = desired_and_actual(host)
    assert (stand[FIRST], stand[SECOND], stand[NVME]) == ((99, 0), (2, 2), (3, 3))
    status = call(host, "status")
    errors = {pf["address"]: pf["last_error"] for pf in status["pfs"]}
    assert (errors[SECOND], errors[NVME]) == (None, None)
    assert "Numerical result out of range" in errors[FIRST]
    assert "DRIFT" in problems(status)
    checked = host.attempt(f"{RESTORE} --check")
    assert (checked.returncode, checked.stdout) == (1, f"{FIRST}: should have 99 VFs\n")
    assert host.run("systemctl is-failed sriov-restore").strip() == "failed"
    assert errors[FIRST] in host.run("journalctl -b -u sriov-restore -o cat --no-pager")
    say(f"status, --check and the journal name the one: {errors[FIRST]}")


def test_vfs_that_the_driver_makes_are_adopted(host: LabHost) -> None:
    """VFs of igb's max_vfs, which dom0's driver has: set_vf_count gives just these to pciback."""
    for pf in (FIRST, SECOND):
        assert call(host, "set_vf_count", pf=pf, count="0")["after"] == 0
    host.run("echo options igb max_vfs=3 > /etc/modprobe.d/lab.conf && modprobe -r igb && modprobe igb")
    wait_for("dom0's VFs", lambda: states(host, FIRST) == states(host, SECOND) == ["dom0"] * 3, 120)
    theirs = [vf["address"] for vf in call(host, "list_vfs", pf=FIRST)]
    assert set(theirs) < set(taken_by_dom0(host))
    assert "VF_HELD_BY_DOM0" in problems(call(host, "status"))
    born = births(host)
    say("igb made 3 VFs on each card, and igbvf has them: they are interfaces of dom0")

    adopted = call(host, "set_vf_count", pf=FIRST, count="3")
    assert (adopted["before"], adopted["after"], adopted["changed"]) == (3, 3, True)
    assert [vf["address"] for vf in call(host, "list_vfs", pf=FIRST)] == theirs
    assert (states(host, FIRST), states(host, SECOND)) == (["free"] * 3, ["dom0"] * 3)
    assert births(host) == born
    assert host.run(f"{RESTORE} --check") == IN_ORDER
    say("the 3 of the first card are pciback's: the same ones, none was made anew")


def test_power_goes_in_the_middle_of_set_vf_count(host: LabHost) -> None:
    """The plug is pulled while VFs are being born: the next boot makes what was asked for, on all PFs."""
    host.run("sync")  # what the story before wrote; not what the call writes
    with ThreadPoolExecutor(1) as pool:
        cut_off = pool.submit(call, host, "set_vf_count", pf=SECOND, count="7")
        host.run(f"until test -e /sys/bus/pci/devices/{SECOND}/virtfn3; do :; done")  # there were 3, 0 to 2
        host.stop()
        assert cut_off.exception() is not None
    say("the power is gone, with at least 4 of 7 VFs made")

    host.power_on()
    assert desired_and_actual(host) == {FIRST: (3, 3), SECOND: (7, 7), NVME: (3, 3)}
    assert host.run(f"{RESTORE} --check") == IN_ORDER
    drivers = noted(host, "xcp-networkd").drivers
    assert list(drivers.values()) == ["pciback"] * 13
    assert sorted(host.run(SLOTS).split()) == sorted(drivers)
    say("the next boot made all 7, and pciback had every VF of the host before the network daemon looked")


def desired_and_actual(host: LabHost) -> Dict[str, Tuple[Any, Any]]:
    return {pf["address"]: (pf["desired"], pf["actual"]) for pf in call(host, "status")["pfs"]}


def states(host: LabHost, pf: str) -> List[str]:
    return [vf["state"] for vf in call(host, "list_vfs", pf=pf)]


def births(host: LabHost) -> int:
    """How many VFs of igb were born since boot."""
    return host.run("journalctl -k -b -o cat --no-pager").count("[8086:10ca]")


def as_argument(value: Any) -> str:
    """A value of list_vfs as configure_vf takes it."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
