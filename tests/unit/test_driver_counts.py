"""Drivers that make other numbers of VFs than they are asked for, and one that takes a 0 without obeying."""

import errno
import os
import time
from pathlib import Path
from typing import Any, Dict, Optional

import kernel_sriov
import machine
import one_host
import pytest
from machine import Machine
from machine_description import Card, Sriov, default_description
from one_host import call, drivers, host_with, odd, problems, refusing
from small_pool import SmallPool
from sriovlib.config import sriov_conf
from sriovlib.errors import SriovError
from sriovlib.vf import create, pciback, restore

QAT, ETH1 = "0000:1a:00.0", "0000:07:00.0"
WEB = "11111111-2222-4333-8444-555555555555"


def quick_assist(folder: Path, total: int = 16, **sriov: Any) -> Machine:
    """A host with a QAT C62x beside its management NIC (8086:37c8; VFs 8086:37c9)."""
    card = Card(
        (QAT,),
        "8086:37c8",
        "C62x QuickAssist Technology",
        "c6xx",
        pci_class="0b4000",
        sriov=Sriov(total, "37c9", offset=8, stride=1, driver="qat_c62xvf", **sriov),
    )
    return machine.default_host(str(folder), cards=(default_description().cards[0], card), blacklist=())


def refused(host: Machine, pool: SmallPool, **args: str) -> SriovError:
    return one_host.refused(host, pool, "set_vf_count", **args)


@pytest.mark.parametrize(("driver", "made"), [({"makes": 16}, 16), ({"at_most": 3}, 3)])
def test_other_vf_count_of_the_driver_is_kept(
    tmp_path: Path, pool: SmallPool, driver: Dict[str, int], made: int
) -> None:
    host = quick_assist(tmp_path, **driver)
    started = time.monotonic()
    answer = call(host, pool, "set_vf_count", pf=QAT, count="4")
    assert time.monotonic() - started < create.BIRTH_SECONDS  # for which it would wait for others
    assert (answer["after"], answer["changed"]) == (made, True)
    assert f"made {made} VFs instead of the 4 asked for" in answer["warnings"][0]
    assert made > 4 or "requested; only 3 enabled" in answer["warnings"][0]  # the kernel's own words
    assert sriov_conf.read(host).pfs[QAT].vfs == made
    assert drivers(host, QAT) == ["pciback"] * made
    assert pciback.slots(host) == set(create.present(host, QAT))
    assert problems(host, pool, "DRIFT") == []
    host.reboot()
    assert [result.error for result in restore.restore(host)] == [None, None]
    assert drivers(host, QAT) == ["pciback"] * made
    assert call(host, pool, "set_vf_count", pf=QAT, count=str(made))["changed"] is False


def test_a_driver_that_takes_a_number_and_makes_none(
    tmp_path: Path, pool: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As bnxt_en does where the card has no room: the kernel calls it a success."""
    monkeypatch.setattr(create, "END_SECONDS", 0.1)
    host = quick_assist(tmp_path, at_most=0)
    error = refused(host, pool, pf=QAT, count="4")
    assert (error.code, "accepted the 4, but made none" in error.message) == ("SRIOV_KERNEL_REFUSED", True)
    assert "only 0 enabled" in error.message
    assert (pciback.slots(host), sriov_conf.read(host).pfs) == (set(), {})


def test_sections_of_vfs_that_the_driver_did_not_make_leave_the_file(tmp_path: Path, pool: SmallPool) -> None:
    host = host_with(tmp_path, at_most=3)
    text = "".join(f"[vf {ETH1} {number}]\nvlan = {number + 1}\n" for number in range(5))
    host.replace_file(sriov_conf.PATH, text.encode())
    assert call(host, pool, "set_vf_count", pf="eth1", count="5")["after"] == 3
    config = sriov_conf.read(host)
    assert (sorted(config.pfs[ETH1].settings), config.errors) == ([0, 1, 2], [])


def test_a_boot_takes_what_the_driver_makes_and_asks_once(tmp_path: Path, pool: SmallPool) -> None:
    """The file was written by hand. Asked again, the driver refuses every other number, 0 too."""
    host = quick_assist(tmp_path, makes=16)
    host.replace_file(sriov_conf.PATH, f"[pf {QAT}]\nvfs = 4\n".encode())
    for _ in range(2):
        results = restore.restore(host)
        assert [result.error for result in results] == [None, None]
        assert "16 VFs, all that its driver made of 4" in results[-1].done
    assert drivers(host, QAT) == ["pciback"] * 16
    (problem,) = problems(host, pool, "DRIFT")
    assert "count=16" in problem["hint"]
    assert sriov_conf.read(host).pfs[QAT].vfs == 4
    call(host, pool, "set_vf_count", pf=QAT, count="16")
    assert problems(host, pool, "DRIFT") == []


def test_a_driver_that_takes_no_vf_away_is_named_with_what_helps(tmp_path: Path, pool: SmallPool) -> None:
    host = quick_assist(tmp_path, makes=16)
    call(host, pool, "set_vf_count", pf=QAT, count="16")
    for count in ("0", "4"):
        error = refused(host, pool, pf=QAT, count=count)
        assert error.code == "SRIOV_KERNEL_REFUSED"
        assert f"to remove the VFs of {QAT}: Invalid argument" in error.message
        assert "modprobe -r c6xx" in error.hint
        assert "count=16 keeps them" in error.hint
        assert sriov_conf.read(host).pfs[QAT].vfs == 16
        assert drivers(host, QAT) == ["pciback"] * 16


@pytest.mark.parametrize(
    ("holder", "said"), [(None, "as it has none now"), ("pciback", "as pciback holds it now")]
)
def test_vfs_that_outlive_their_pf_s_driver(
    tmp_path: Path, pool: SmallPool, holder: Optional[str], said: str
) -> None:
    """Seen with nvme: the kernel has no other way to remove them, and says ENOENT."""
    drive = "0000:1b:00.0"
    sriov = Sriov(8, "a824", driver="nvme")
    card = Card((drive,), "144d:a824", "NVMe SSD", "nvme", pci_class="010802", sriov=sriov)
    host = machine.default_host(str(tmp_path), cards=(default_description().cards[0], card), blacklist=())
    call(host, pool, "set_vf_count", pf=drive, count="2")
    host.write_attribute("/sys/bus/pci/drivers/nvme/unbind", drive)
    if holder:
        pciback.take(host, drive)
    error = refused(host, pool, pf=drive, count="0")
    assert f"to remove the VFs of {drive}" in error.message
    assert f"give {drive} back to the driver that made them, {said}" in error.hint
    assert drivers(host, drive) == ["pciback"] * 2
    if holder:
        pciback.release(host, drive)
    host.write_attribute("/sys/bus/pci/drivers/nvme/bind", drive)
    assert call(host, pool, "set_vf_count", pf=drive, count="0")["after"] == 0


def test_a_zero_that_the_driver_takes_and_does_not_obey(
    tmp_path: Path, pool: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen with igb: bound anew while a VM had a VF, it does not know its VFs any more."""
    monkeypatch.setattr(create, "END_SECONDS", 0.1)
    real = kernel_sriov._none

    def talking(sysfs: Any, physical: str, sriov: Any) -> None:
        sysfs.say(f"ixgbe {ETH1}: Detected Tx Unit Hang")  # which has nothing to do with it
        real(sysfs, physical, sriov)

    monkeypatch.setattr(kernel_sriov, "_none", talking)
    host = machine.default_host(str(tmp_path))
    call(host, pool, "set_vf_count", pf="eth1", count="4")
    host.start_domain(WEB, "web", ["0000:07:10.2"])
    host.write_attribute("/sys/bus/pci/drivers/ixgbe/unbind", ETH1)
    host.write_attribute("/sys/bus/pci/drivers/ixgbe/bind", ETH1)
    assert "web" in refused(host, pool, pf="eth1", count="0").message
    host.stop_domain(WEB)
    for count in ("0", "2"):
        error = refused(host, pool, pf="eth1", count=count)
        assert (error.code, "4 VFs are still there" in error.message) == ("SRIOV_KERNEL_REFUSED", True)
        assert "it has 4 as before" in error.message
        assert "no VM has one" in error.hint
        assert "then reboot the host" in error.hint
        assert "Tx Unit Hang" not in error.message
        assert sriov_conf.read(host).pfs[ETH1].vfs == 4
        assert drivers(host, ETH1) == ["pciback"] * 4
    host.run(["modprobe", "-r", "ixgbe"])  # which does not help
    host.run(["modprobe", "ixgbe"])
    assert refused(host, pool, pf="eth1", count="0").code == "SRIOV_KERNEL_REFUSED"
    host.reboot()
    restore.restore(host)
    assert call(host, pool, "set_vf_count", pf="eth1", count="0")["after"] == 0


def test_links_that_stay_though_the_number_is_zero_are_vfs(
    tmp_path: Path, pool: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(write: Any, path: str, text: str) -> None:
        if path.endswith("sriov_numvfs") and text == "0":
            with host.changed() as sysfs:
                sysfs.put(path, "0\n")
        else:
            write(path, text)

    monkeypatch.setattr(create, "END_SECONDS", 0.1)
    host = machine.default_host(str(tmp_path))
    call(host, pool, "set_vf_count", pf="eth1", count="4")
    error = refused(odd(host, "write_attribute", deaf), pool, pf="eth1", count="0")
    assert "4 VFs are still there" in error.message
    assert sriov_conf.read(host).pfs[ETH1].vfs == 4


def test_a_busy_drivers_hint_leads_out(tmp_path: Path, pool: SmallPool) -> None:
    busy = refusing(machine.default_host(str(tmp_path)), errno.EBUSY, "sriov_numvfs")
    assert "reboot the host" in refused(busy, pool, pf="eth1", count="4").hint


@pytest.mark.parametrize("tidied", ["remove_slot", "sriov_drivers_autoprobe"])
def test_failure_after_the_vfs_are_made_undoes_nothing(tmp_path: Path, pool: SmallPool, tidied: str) -> None:
    host = machine.default_host(str(tmp_path), pciback="xen-pciback")
    host.run(["modprobe", "xen-pciback"])

    def failing(write: Any, path: str, text: str) -> None:
        there = len(create.present(host, ETH1)) == 4
        if path.endswith("sriov_numvfs") and not there:
            pciback.add_slot(host, "0000:07:1f.6")  # where the PF's last VF would be
        if path.endswith(tidied) and there:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        write(path, text)

    answer = call(odd(host, "write_attribute", failing), pool, "set_vf_count", pf="eth1", count="4")
    assert (answer["after"], drivers(host, ETH1)) == (4, ["pciback"] * 4)
    assert sriov_conf.read(host).pfs[ETH1].vfs == 4


def test_settings_that_fail_after_the_vfs_are_there_are_a_warning(
    tmp_path: Path, pool: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = machine.default_host(str(tmp_path))
    host.replace_file(sriov_conf.PATH, f"[vf {ETH1} 0]\nvlan = 5\n".encode())

    def broken(*_: Any) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(restore, "apply_settings", broken)
    answer = call(host, pool, "set_vf_count", pf="eth1", count="4")
    assert (answer["after"], sriov_conf.read(host).pfs[ETH1].vfs) == (4, 4)
    assert "cannot be applied" in answer["warnings"][0]
