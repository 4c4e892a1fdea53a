"""set_vf_count with drivers that make VFs by a module parameter: four ports of one card, other cards of the
same driver, other files."""

import errno
import os
from pathlib import Path
from typing import Any, Dict

import machine
import one_host
import pytest
from igb_hosts import (
    COMMENTS,
    CONF,
    ETH2,
    ETH3,
    FOUR,
    I210,
    count,
    default_management,
    drift,
    i350,
    igb_host,
    option,
    present,
    reboot,
    refused,
)
from machine import Machine
from one_host import answering, call, drivers, listing, odd, problems, refusing, unreadable
from small_pool import SmallPool
from sriovlib.config import sriov_conf
from sriovlib.errors import SriovError
from sriovlib.vf import create, pciback, restore


def one_for_all(folder: Path, text: str = "") -> Machine:
    """The driver has one number of VFs for all ports, of which none has the management network."""
    cards = (*default_management(), i350(1, FOUR, for_all=True))
    return igb_host(folder, text, cards, management_interface="eth0")


def test_one_value_of_an_array_is_that_of_the_first_device(tmp_path: Path, pool: SmallPool) -> None:
    host = igb_host(tmp_path, "options igb max_vfs=4\n")
    assert present(host) == [4, 0, 0, 0]
    assert count(host, pool, "eth3", 2)["reboot_required"] is True
    assert option(host) == "options igb max_vfs=4,0,0,2\n"
    host.reboot()
    assert present(host) == [4, 0, 0, 2]  # none on eth1, the management port
    assert [result.error for result in restore.restore(host)] == [None, None]
    assert count(host, pool, "eth3", 2)["changed"] is False


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, pool: SmallPool) -> None:
    host = igb_host(tmp_path, "")

    def immutable(replace: Any, path: str, data: bytes) -> None:  # chattr +i
        if path == CONF:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), path)
        replace(path, data)

    error = refused(odd(host, "replace_file", immutable), pool, "eth3", 2)
    assert (error.code, f"{CONF} could not be written" in error.message) == ("SRIOV_CONFIG_NOT_WRITTEN", True)


def test_vfs_that_the_driver_drives_itself_have_no_place(tmp_path: Path, pool: SmallPool) -> None:
    """As bnx2x does: they are not there yet when it is loaded."""
    last = "0000:06:00.0"
    host = igb_host(
        tmp_path, "options igb max_vfs=0,0,0,2\n", (i350(0, FOUR), i350(4, (last,))), blacklist=()
    )
    for vf in create.present(host, ETH3):
        host.write_attribute(f"/sys/bus/pci/devices/{vf}/driver/unbind", vf)
        with host.changed() as sysfs:
            sysfs.put(f"/sys/bus/pci/drivers/igb/{vf}/physfn", "")
    assert sorted(name for name in host.names("/sys/bus/pci/drivers/igb") if name > ETH3)
    count(host, pool, "eth4", 3)
    assert option(host) == "options igb max_vfs=0,0,0,2,3\n"


@pytest.mark.parametrize("text", ["# the end \\\n", "options igb debug=1 \\"])
def test_a_last_line_that_goes_on_does_not_swallow_ours(tmp_path: Path, pool: SmallPool, text: str) -> None:
    host = igb_host(tmp_path, text)
    count(host, pool, "eth3", 2)
    assert option(host).splitlines()[-2:] == ["", "options igb max_vfs=0,0,0,2"]
    host.reboot()
    assert present(host) == [0, 0, 0, 2]


def test_a_file_that_cannot_be_read_is_no_word_for_sysfs(tmp_path: Path, pool: SmallPool) -> None:
    host = igb_host(tmp_path, "options igb max_vfs=0,0,0,2\n")
    host.replace_file(sriov_conf.PATH, f"[pf {ETH3}]\nvfs = 3\n".encode())

    broken = unreadable(host, CONF)
    error = one_host.refused(broken, pool, "set_vf_count", pf="eth3", count="4")
    assert (error.code, f"{CONF} cannot be read" in error.message) == ("SRIOV_BOOT_CONFIG", True)
    assert sriov_conf.read(host).pfs[ETH3].vfs == 3
    assert f"{CONF} cannot be read" in drift(broken, pool)["hint"]
    assert f"{CONF} cannot be read" in str(restore.restore(broken)[-1].error)


def test_vfs_that_go_at_the_next_boot_are_told_until_then(tmp_path: Path, pool: SmallPool) -> None:
    host = igb_host(tmp_path, "options igb max_vfs=0,0,0,2\n")
    assert call(host, pool, "status")["reboot_required"] is False
    assert count(host, pool, "eth3", 0)["reboot_required"] is True
    status = call(host, pool, "status")
    (told,) = problems(host, pool, "REBOOT_PENDING")
    assert "(eth3) has 2 VFs, and 0 after the next boot" in told["message"]
    assert status["reboot_required"] is True
    host.reboot()
    assert call(host, pool, "status")["reboot_required"] is False


def test_more_than_the_driver_makes_is_nothing_that_a_boot_changes(tmp_path: Path, pool: SmallPool) -> None:
    host = igb_host(tmp_path, "options igb max_vfs=0,0,0,9\n")
    assert present(host)[3] == 7
    assert call(host, pool, "status")["reboot_required"] is False


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "0,0,0,2"),
        ("options igb max_vfs=0,0,1,0,0,5,6\n", "0,0,1,2,0,5,6"),  # of cards that were taken out
        ("options igb max_vfs=0x4,010\n", "0x4,010,0,2"),
        ("options igb max_vfs=-1,,3\n", "-1,0,3,2"),
    ],
)
def test_parameters_of_other_devices_stay(tmp_path: Path, pool: SmallPool, before: str, after: str) -> None:
    host = machine.default_host(
        str(tmp_path), cards=(i350(0, FOUR),), management_interface="eth1", interfaces=()
    )
    host.replace_file(CONF, (COMMENTS + before).encode())
    count(host, pool, "eth3", 2)
    assert option(host) == f"options igb max_vfs={after}\n"


def test_positions_count_each_device_of_the_driver(tmp_path: Path, pool: SmallPool) -> None:
    """An I210 cannot do SR-IOV, and igb counts it all the same."""
    ports = ("0000:05:00.0", "0000:05:00.1")
    host = igb_host(tmp_path, "", (I210, i350(1, ports)), management_interface="eth0")
    count(host, pool, "eth1", 7)
    assert option(host) == "options igb max_vfs=0,7,0\n"
    host.reboot()
    assert present(host, ports) == [7, 0]
    assert restore.restore(host)[-1].error is None


def test_a_device_that_only_a_vm_has_now_is_counted_and_one_that_boot_hides_is_not(
    tmp_path: Path, pool: SmallPool
) -> None:
    ports = ("0000:05:00.0", "0000:05:00.1")
    cards = (i350(0, ("0000:02:00.0",)), I210._replace(interfaces=("eth3",)), i350(1, ports))
    host = igb_host(tmp_path, "", cards, management_interface="eth0")
    for pf, value in (("eth1", "0,0,3,0"), ("eth2", "0,0,3,2")):
        host.start_domain("11111111-2222-4333-8444-555555555555", "web", ["0000:03:00.0"])
        count(host, pool, pf, 3 if pf == "eth1" else 2)
        assert option(host) == f"options igb max_vfs={value}\n"
        host.stop_domain("11111111-2222-4333-8444-555555555555")
    with host.changed() as sysfs:
        sysfs.put("/proc/cmdline", "root=LABEL=x xen-pciback.hide=(0000:03:00.0) console=hvc0\n")
    host.replace_file(CONF, COMMENTS.encode())
    count(host, pool, "eth1", 3)
    assert option(host) == "options igb max_vfs=0,3,0\n"


def test_a_port_that_cannot_be_read_keeps_its_number(tmp_path: Path, pool: SmallPool) -> None:
    """Its attributes fail; the driver's folder still has it."""
    host = igb_host(tmp_path, "options igb max_vfs=4,0,5,0\n")

    count(unreadable(host, f"/sys/bus/pci/devices/{ETH2}/"), pool, "eth3", 2)
    assert option(host) == "options igb max_vfs=4,0,5,2\n"


def test_the_drivers_devices_cannot_be_listed(tmp_path: Path, pool: SmallPool) -> None:
    host = igb_host(tmp_path, "options igb max_vfs=4,0,5,0\n")

    broken = listing(host, lambda path, found: [] if path == "/sys/bus/pci/drivers/igb" else found)
    error = refused(broken, pool, "eth3", 2)
    assert (error.code, ETH3 in error.message) == ("SRIOV_BOOT_CONFIG", True)


@pytest.mark.parametrize("modinfo", ["missing", "silent"])
def test_array_or_not_cannot_be_told(tmp_path: Path, pool: SmallPool, modinfo: str) -> None:
    host = igb_host(tmp_path, "options igb max_vfs=4\n")
    if modinfo == "missing":
        os.unlink(host.path("/sbin/modinfo"))
    else:
        host = answering(host, "modinfo", stdout="debug:int\n")
    message = refused(host, pool, "eth3", 2).message
    assert ("one number for all" if modinfo == "missing" else "igb has no parameter max_vfs") in message
    assert present(host) == [4, 0, 0, 0]
    with host.changed() as sysfs:  # some drivers show their values: these say that it is an array
        sysfs.put("/sys/module/igb/parameters/max_vfs", "4,0\n")
    count(host, pool, "eth3", 2)
    assert option(host) == "options igb max_vfs=4,0,0,2\n"


def test_one_number_for_all_devices_is_no_business_of_the_management_port(
    tmp_path: Path, pool: SmallPool
) -> None:
    host = igb_host(tmp_path, "options igb max_vfs=0\n", (i350(0, FOUR, for_all=True),))
    error = refused(host, pool, "eth3", 2)
    assert (error.code, "0000:05:00.1" in error.message) == ("SRIOV_MANAGEMENT_INTERFACE", True)


def test_one_number_for_all_devices_is_told(tmp_path: Path, pool: SmallPool) -> None:
    host = one_for_all(tmp_path)
    answer = count(host, pool, "eth3", 2)
    assert option(host) == "options igb max_vfs=2\n"
    assert f"{FOUR[0]}, {FOUR[1]}, {FOUR[3]} get it too" in answer["warnings"][0]
    host.reboot()
    assert present(host) == [2, 2, 2, 2]


def test_one_number_for_all_devices_leads_to_one_number_in_the_file(tmp_path: Path, pool: SmallPool) -> None:
    host = one_for_all(tmp_path)
    for pf, number in (("eth3", 2), ("eth2", 4)):
        count(host, pool, pf, number)
    reboot(host)
    restore.restore(host)
    assert "count=4 to keep that, or with count=2 for each of its PFs" in drift(host, pool)["hint"]
    count(host, pool, "eth3", 4)
    assert [result.error for result in restore.restore(host)] == [None, None, None]
    assert problems(host, pool, "DRIFT") == []


def test_one_number_for_all_devices_is_no_number_for_a_port_of_xapis(tmp_path: Path, pool: SmallPool) -> None:
    host = one_for_all(tmp_path, "options igb max_vfs=7\n")
    pool.managed = ["eth2"]
    error = refused(host, pool, "eth3", 2)
    assert (error.code, FOUR[1] in error.message) == ("SRIOV_MANAGED_BY_XAPI", True)


def test_vfs_that_somebody_gave_the_management_port_are_named(tmp_path: Path, pool: SmallPool) -> None:
    host = igb_host(tmp_path, "options igb max_vfs=0,3\n")
    answer = count(host, pool, "eth3", 2)
    assert option(host) == "options igb max_vfs=0,3,0,2\n"
    assert "also to 0000:05:00.1, which carries the management network" in answer["warnings"][0]


@pytest.mark.parametrize(
    ("path", "text", "place"),
    [
        (
            "/etc/modprobe.d/zz.conf",
            "# mine\noptions igb max_vfs=0,4,0,0\n",
            "line 2 of /etc/modprobe.d/zz.conf",
        ),
        ("/lib/modprobe.d/zz.conf", "options igb max_vfs=0,4,0,0\n", "line 1 of /lib/modprobe.d/zz.conf"),
        ("/proc/cmdline", "root=x igb.max_vfs=0,4,0,0\n", "the dom0 kernel's command line"),
    ],
)
def test_a_line_that_wins_is_named(tmp_path: Path, pool: SmallPool, path: str, text: str, place: str) -> None:
    host = igb_host(tmp_path, "options igb max_vfs=0,0,0,3\n")
    with host.changed() as sysfs:
        sysfs.put(path, text)
    error = refused(host, pool, "eth3", 2)
    assert error.code == "SRIOV_BOOT_CONFIG"
    assert f"{place} says max_vfs=0,4,0,0, and overrides {CONF}" in error.message
    assert "max_vfs=0,4,0,2" in error.hint


def test_a_line_that_wins_and_agrees_is_left_alone(tmp_path: Path, pool: SmallPool) -> None:
    host = igb_host(tmp_path, "options igb max_vfs=4,4\n")
    host.replace_file("/etc/modprobe.d/zz.conf", b"options igb max_vfs=0,0,0,2\n")
    reboot(host)
    assert present(host) == [0, 0, 0, 2]
    answer = count(host, pool, "eth3", 2)
    assert (answer["reboot_required"], answer["warnings"][1:]) == (False, [])
    assert option(host) == "options igb max_vfs=4,4\n"


def test_a_line_before_ours_is_what_we_go_on_from(tmp_path: Path, pool: SmallPool) -> None:
    host = igb_host(tmp_path, "")
    host.replace_file("/etc/modprobe.d/aaa.conf", b"options igb max_vfs=0,0,5\n")
    count(host, pool, "eth3", 2)
    assert option(host) == "options igb max_vfs=0,0,5,2\n"


def test_status_names_the_line_that_wins_and_asks_for_no_reboot(tmp_path: Path, pool: SmallPool) -> None:
    host = igb_host(tmp_path, "")
    count(host, pool, "eth3", 2)
    assert drift(host, pool)["hint"].startswith("Reboot the host")
    assert call(host, pool, "status")["reboot_required"] is True
    host.replace_file("/etc/modprobe.d/zz.conf", b"options igb max_vfs=0,4,0,0\n")
    reboot(host)
    assert present(host)[3] == 0
    assert "line 1 of /etc/modprobe.d/zz.conf says max_vfs=0,4,0,0" in drift(host, pool)["hint"]
    assert call(host, pool, "status")["reboot_required"] is False
    host.remove_file("/etc/modprobe.d/zz.conf")
    host.replace_file(CONF, COMMENTS.encode())  # as an update of the driver's package would
    assert "call set_vf_count with count=2" in drift(host, pool)["hint"]
    assert "`status` says what helps" in str(restore.restore(host)[-1].error)


def test_a_command_in_the_place_of_loading_wins_in_the_file_itself(tmp_path: Path, pool: SmallPool) -> None:
    text = "install igb /sbin/modprobe --ignore-install igb max_vfs=1,1,1,1 $CMDLINE_OPTS\n"
    host = igb_host(tmp_path, text)
    host.replace_file(sriov_conf.PATH, f"[pf {ETH3}]\nvfs = 2\n".encode())
    assert f"line 4 of {CONF} says max_vfs=1,1,1,1" in refused(host, pool, "eth3", 2).message
    assert f"line 4 of {CONF} says max_vfs=1,1,1,1" in drift(host, pool)["hint"]


def test_a_driver_that_makes_fewer_than_its_parameter_says(tmp_path: Path, pool: SmallPool) -> None:
    """A reboot changes nothing about that: the hint leads out, and what there is can be used meanwhile."""
    host = igb_host(tmp_path, "options igb max_vfs=0,0,0,9\n", blacklist=())
    host.replace_file(sriov_conf.PATH, f"[pf {ETH3}]\nvfs = 9\n".encode())
    there = create.present(host, ETH3)
    assert len(there) == 7
    assert "has 7 VFs, not 9" in str(restore.restore(host)[-1].error)
    assert set(drivers(host, ETH3)) == {"pciback"}
    assert "count=7 to keep that" in drift(host, pool)["hint"]
    count(host, pool, "eth3", 7)
    assert option(host) == "options igb max_vfs=0,0,0,7\n"
    assert problems(host, pool, "DRIFT") == []


def test_ports_are_no_devices(tmp_path: Path, pool: SmallPool) -> None:
    """mlx4's num_vfs=2,2,0 are VFs on port 1, on port 2 and on both, of one device."""
    card = i350(1, ("0000:05:00.0",))._replace(driver="mlx4_core")
    host = machine.default_host(str(tmp_path), cards=(*default_management(), card))
    conf = "/etc/modprobe.d/mlx4_core.conf"
    text = "# VFs-param: max_vfs\n# VFs-maxvfs-by-default: 7\noptions mlx4_core max_vfs=2,2,0\n"
    host.replace_file(conf, text.encode())
    error = one_host.refused(host, pool, "set_vf_count", pf="eth1", count="3")
    assert (error.code, "by port" in error.message) == ("SRIOV_BOOT_CONFIG", True)
    assert host.read(conf) == text


def test_a_vf_that_cannot_be_taken_over_is_a_warning(tmp_path: Path, pool: SmallPool) -> None:
    """File and initrd are there by then, and half of it is not undone."""
    host = igb_host(tmp_path, "options igb max_vfs=0,0,1,2\n", blacklist=())

    answer = count(refusing(host, errno.EIO, "/driver/unbind"), pool, "eth3", 5)
    assert len([warning for warning in answer["warnings"] if "could not be taken from igbvf" in warning]) == 2
    assert option(host) == "options igb max_vfs=0,0,1,5\n"
    assert sriov_conf.read(host).pfs[ETH3].vfs == 5
    count(host, pool, "eth3", 5)
    assert (drivers(host, ETH3), drivers(host, ETH2)) == (["pciback"] * 2, ["igbvf"])  # nobody asked for that
    assert pciback.slots(host) == set(create.present(host, ETH3))


def test_a_note_that_cannot_be_taken_away_undoes_nothing(
    tmp_path: Path, pool: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = igb_host(tmp_path, "")
    update = sriov_conf.update

    def full(host: Any, section: str, values: Dict[str, Any]) -> None:
        if values == {"initrd": None}:
            raise SriovError("SRIOV_CONFIG_NOT_WRITTEN", "No space left on device.", "")
        update(host, section, values)

    monkeypatch.setattr(sriov_conf, "update", full)
    count(host, pool, "eth3", 2)
    assert option(host) == "options igb max_vfs=0,0,0,2\n"
    assert sriov_conf.read(host).pfs[ETH3].vfs == 2
    monkeypatch.undo()
    count(host, pool, "eth3", 2)  # makes the initrd once more
    assert sriov_conf.read(host).document.get("boot", "initrd") is None
