"""enable_iommu and disable_iommu on the hosts that there are: through xen-cmdline, and on extlinux.conf."""

import os
from pathlib import Path
from typing import Any, Dict, List, Tuple

import forked
import machine
import one_host
import pytest
from faults import full_at
from machine import Machine
from small_pool import SmallPool
from sriovlib.boot import boot_file, extlinux, grub
from sriovlib.config import sriov_conf
from sriovlib.errors import SriovError

CONF = "/boot/extlinux.conf"
GRUB = "/boot/grub/grub.cfg"


def call(host: Machine, function: str, **args: str) -> Any:
    return one_host.call(host, SmallPool(), function, **args)


def refused(host: Machine, function: str, **args: str) -> SriovError:
    return one_host.refused(host, SmallPool(), function, **args)


def codes(answer: Dict[str, Any]) -> List[str]:
    return [problem["code"] for problem in answer["problems"]]


@pytest.fixture(params=["grub", "extlinux"])
def host(request: Any, tmp_path: Path) -> Machine:
    """A host whose Xen was told to leave the IOMMU off."""
    return machine.default_host(
        str(tmp_path), bootloader=request.param, xen_options="dom0_mem=752M iommu=0 watchdog"
    )


def boot_files(host: Machine) -> Dict[str, bytes]:
    found = {}
    for path in (CONF, GRUB):
        if host.exists(path):
            found[path] = host.read_bytes(path)
    return found


def test_off_to_on_over_a_reboot_and_back(host: Machine) -> None:
    before = boot_files(host)
    answer = call(host, "enable_iommu")
    assert answer == {
        "changed": True,
        "configured": "on",
        "active": False,
        "reboot_required": True,
        "bootloader": "grub" if GRUB in before else "extlinux",
        "xen_option": "iommu=0",
        "xen_option_after": "iommu=1",
        "problems": [],
    }
    host.reboot()
    answer = call(host, "enable_iommu")
    assert (answer["changed"], answer["active"], answer["reboot_required"]) == (False, True, False)
    answer = call(host, "disable_iommu")
    assert (answer["changed"], answer["xen_option_after"], answer["reboot_required"]) == (
        True,
        "iommu=0",
        True,
    )
    assert not sriov_conf.read(host).document.sections
    host.reboot()
    assert call(host, "status")["iommu"]["active"] is False
    if CONF in before:
        assert host.read_bytes(CONF) == before[CONF]


def test_a_dry_run_says_what_it_would_write_and_writes_nothing(host: Machine) -> None:
    before = boot_files(host)
    answer = call(host, "enable_iommu", dry_run="yes")
    assert (answer["changed"], answer["xen_option"], answer["xen_option_after"]) == (
        False,
        "iommu=0",
        "iommu=1",
    )
    assert answer["configured"] == "off"
    assert boot_files(host) == before
    assert not host.exists(sriov_conf.PATH)


def test_default_and_active_is_left_alone(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path))
    answer = call(host, "enable_iommu")
    assert (answer["changed"], answer["configured"], answer["active"]) == (False, "default", True)
    assert answer["reboot_required"] is False


def test_firmware_without_iommu_is_told_apart_after_the_reboot(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), iommu="")
    answer = call(host, "enable_iommu")
    assert (answer["changed"], answer["reboot_required"], codes(answer)) == (True, True, [])
    host.reboot()
    answer = call(host, "enable_iommu")
    assert (answer["changed"], answer["reboot_required"]) == (False, False)
    assert codes(answer) == ["NO_FIRMWARE_IOMMU"]
    assert "NO_FIRMWARE_IOMMU" in codes(call(host, "status"))


def test_disable_without_a_record_changes_nothing_and_says_so(host: Machine) -> None:
    before = boot_files(host)
    answer = call(host, "disable_iommu")
    assert (answer["changed"], codes(answer)) == (False, ["NOTHING_RECORDED"])
    assert boot_files(host) == before


def test_safe_mode_and_fallback_keep_their_bytes(host: Machine) -> None:
    before = boot_files(host)
    call(host, "enable_iommu")
    for path, data in boot_files(host).items():
        word = b"label safe" if path == CONF else b"Safe Mode"
        assert data != before[path]
        assert data[data.index(word) :] == before[path][before[path].index(word) :]


def test_two_callers_at_once_write_one_after_the_other(host: Machine) -> None:
    children = [forked.child(lambda: call(host, "enable_iommu")) for _ in range(4)]
    assert list(map(forked.status, children)) == [0] * 4
    assert call(host, "disable_iommu")["xen_option_after"] == "iommu=0"


def test_a_configuration_that_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), xen_options="iommu=0")
    os.mkdir(host.path(sriov_conf.PATH))
    assert refused(host, "enable_iommu").code == "SRIOV_CONFIG_NOT_WRITTEN"
    assert "CONFIG_ERROR" in codes(call(host, "status"))


def test_without_xl_a_change_asks_for_a_reboot_all_the_same(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), xen_options="iommu=0")
    os.unlink(host.path("/usr/sbin/xl"))
    answer = call(host, "enable_iommu")
    assert (answer["changed"], answer["active"], answer["reboot_required"]) == (True, None, True)
    assert codes(answer) == ["NO_XEN"]


def test_iommu_record_is_that_of_the_last_whole_call(host: Machine) -> None:
    sriov_conf.update(host, sriov_conf.XEN_BEFORE, {"xe": "iommu=off,verbose"})
    call(host, "enable_iommu")
    assert sriov_conf.read(host).document.sections[sriov_conf.XEN_BEFORE]["xe"] == "iommu=0"


def test_a_tool_that_fails_leaves_all_as_it_was(host: Machine) -> None:
    before = boot_files(host)
    folder = os.path.dirname(next(iter(before)))
    names = host.names(folder)
    tool = "extlinux" if CONF in before else f"{grub.PROGRAM} --set-xen iommu=1"
    failing = one_host.answering(host, tool, status=1, stderr="no previous boot sector found")
    assert refused(failing, "enable_iommu").code == "SRIOV_BOOT_CONFIG"
    assert (boot_files(host), host.names(folder)) == (before, names)
    assert not host.exists(sriov_conf.PATH)


# -- extlinux.conf ---------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path) -> Machine:
    """A host that boots by extlinux."""
    return machine.default_host(str(tmp_path), bootloader="extlinux", xen_options="iommu=0")


def edit(host: Machine, *edits: Tuple[bytes, bytes]) -> bytes:
    data = host.read_bytes(CONF)
    for one, other in edits:
        assert one in data
        data = data.replace(one, other)
    host.replace_file(CONF, data)
    return data


def test_two_files_with_a_loader_beside_them_are_one_too_many(old: Machine) -> None:
    """Which of them this host boots by is not known."""
    other = "/boot/extlinux/extlinux.conf"
    old.make_folder("/boot/extlinux")
    old.replace_file(other, old.read_bytes(CONF))
    assert call(old, "enable_iommu", dry_run="true")["bootloader"] == "extlinux"
    old.replace_file("/boot/extlinux/ldlinux.sys", b"")
    error = refused(old, "enable_iommu")
    assert (error.code, f"{CONF} and {other}" in error.message) == ("SRIOV_BOOT_CONFIG", True)


def test_a_host_with_neither_boot_configuration_is_told_so(old: Machine) -> None:
    os.unlink(old.path(CONF))
    assert refused(old, "enable_iommu").code == "SRIOV_BOOT_CONFIG"
    assert "BOOT_CONFIG" in codes(call(old, "status"))


def test_a_link_goes_on_pointing_to_the_file(old: Machine) -> None:
    os.rename(old.path(CONF), old.path("/boot/real.conf"))
    os.symlink("real.conf", old.path(CONF))
    call(old, "enable_iommu")
    assert os.readlink(old.path(CONF)) == "real.conf"
    assert b"iommu=1" in old.read_bytes("/boot/real.conf")


def test_a_change_of_extlinux_conf_that_was_cut_off_is_named_and_put_back(old: Machine) -> None:
    os.rename(old.path(CONF), old.path("/boot/real.conf"))
    os.symlink("real.conf", old.path(CONF))
    before = old.read_bytes(CONF)
    old.replace_file("/boot/real.conf.sriov-undo", before)
    edit(old, (b"iommu=0", b"iommu=1"))
    assert "BOOT_CHANGE_CUT_OFF" in codes(call(old, "status"))
    boot_file.recover(old)
    assert (old.read_bytes(CONF), os.path.islink(old.path(CONF))) == (before, True)
    assert "BOOT_CHANGE_CUT_OFF" not in codes(call(old, "status"))


def test_an_old_extlinux_takes_the_folder_alone(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), bootloader="extlinux", extlinux=3, xen_options="iommu=0")
    assert call(host, "enable_iommu")["problems"] == []
    host.reboot()
    assert call(host, "status")["iommu"]["active"] is True


def test_extlinux_runs_on_no_folder_but_that_of_its_loader(old: Machine) -> None:
    os.rename(old.path("/boot/ldlinux.sys"), old.path("/ldlinux.sys"))
    answer = call(old, "enable_iommu")
    assert (answer["changed"], codes(answer)) == (True, ["BOOTLOADER_NOT_UPDATED"])


def test_a_full_disk_at_any_step_changes_nothing_or_all(old: Machine) -> None:
    before = old.read_bytes(CONF)
    number = failures = 0
    while True:
        number += 1
        with full_at(number) as count:
            try:
                call(old, "enable_iommu")
                said = ""
            except SriovError as error:
                said = error.message
        if said:
            failures += 1
            assert "No space left" in said
            assert old.read_bytes(CONF) == before
        old.replace_file(CONF, before)
        old.remove_file(sriov_conf.PATH)
        if count[0] < number:
            assert failures > 5
            return


def test_an_entry_that_is_gone_stays_recorded_and_is_named(old: Machine) -> None:
    call(old, "enable_iommu")
    edit(old, (b"default xe\n", b"default new\n"), (b"label xe\n", b"label new\n"))
    assert "NOT_PUT_BACK" in codes(call(old, "disable_iommu"))
    assert "xe" in sriov_conf.read(old).document.sections[sriov_conf.XEN_BEFORE]


def test_a_broken_entry_that_is_not_the_default_is_left_alone_and_named(old: Machine) -> None:
    before = old.read_bytes(CONF)
    serial = before.index(b"label xe-serial")
    broken = before[:serial] + before[serial:].replace(b" --- ", b" -- ", 1)
    old.replace_file(CONF, broken)
    answer = call(old, "enable_iommu")
    assert (answer["changed"], codes(answer)) == (True, ["BOOT_ENTRY_UNFIT"])
    assert "it would not boot: its append line" in answer["problems"][0]["message"]
    assert old.read_bytes(CONF)[serial:] == broken[serial:]


def test_two_entries_of_one_label_are_left_alone_and_named_once(old: Machine) -> None:
    data = old.read_bytes(CONF)
    again = data[data.index(b"label xe-serial") :]
    old.replace_file(CONF, data + again)
    (problem,) = call(old, "enable_iommu")["problems"]
    assert "`xe-serial` of /boot/extlinux.conf was left as it is: two entries have" in problem["message"]
    assert old.read_bytes(CONF).endswith(again)


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda text: text + "\n",  # a line more
        lambda text: text.replace("timeout 50", "timeout 60"),  # another line
        lambda text: text.replace("iommu=1", "iommu=1,verbose"),  # other options
    ],
)
def test_a_text_that_differs_in_more_than_the_options_is_never_written(
    old: Machine, monkeypatch: pytest.MonkeyPatch, spoilt: Any
) -> None:
    before = old.read_bytes(CONF)
    real = extlinux.with_iommu

    def with_iommu(config: extlinux.Config, wanted: Any) -> Any:
        text = real(config, wanted)
        return spoilt(text) if any(wanted.values()) else text

    monkeypatch.setattr(extlinux, "with_iommu", with_iommu)
    assert "cannot be changed safely" in refused(old, "enable_iommu").message
    assert old.read_bytes(CONF) == before


@pytest.mark.parametrize(
    "line", [b"ui menu.c32 other.conf", b"include more.conf", b"MENU INCLUDE /boot/more.conf More"]
)
def test_extlinux_include_is_named(old: Machine, line: bytes) -> None:
    edit(old, (b"prompt 1", line))
    answer = call(old, "enable_iommu")
    assert (answer["changed"], codes(answer)) == (True, ["OTHER_BOOT_CONFIG"])
    assert f"its line 4 (`{line.decode()}`) reads another file" in answer["problems"][0]["message"]
    assert "OTHER_BOOT_CONFIG" in codes(call(old, "status"))
