"""enable_iommu and disable_iommu on the hosts that there are: through xen-cmdline, and on extlinux.conf."""

import json
import os
from pathlib import Path
from typing import Any, Dict, List

import machine
import pytest
from faults import ended_at, full_at
from machine import Done, Machine
from sriovlib.boot import extlinux
from sriovlib.calls import table
from sriovlib.config import sriov_conf
from sriovlib.errors import SriovError
from sriovlib.machine.host import Completed

CONF = "/boot/extlinux.conf"
GRUB = "/boot/grub/grub.cfg"


def call(host: Machine, function: str, **args: str) -> Dict[str, Any]:
    answer: Dict[str, Any] = json.loads(table.call(host, function, None, args))
    return answer


def refused(host: Machine, function: str, **args: str) -> SriovError:
    with pytest.raises(SriovError) as error:
        call(host, function, **args)
    return error.value


def test_two_files_with_a_loader_beside_them_are_one_too_many(tmp_path: Path) -> None:
    """Which of them this host boots by is not known."""
    host = machine.default_host(str(tmp_path), bootloader="extlinux")
    other = "/boot/extlinux/extlinux.conf"
    host.make_folder("/boot/extlinux")
    host.replace_file(other, host.read_bytes(CONF))
    assert call(host, "enable_iommu", dry_run="true")["bootloader"] == "extlinux"
    host.replace_file("/boot/extlinux/ldlinux.sys", b"")
    error = refused(host, "enable_iommu")
    assert (error.code, f"{CONF} and {other}" in error.message) == ("SRIOV_BOOT_CONFIG", True)


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


def test_sub_options_survive(tmp_path: Path) -> None:
    host = machine.default_host(
        str(tmp_path), bootloader="extlinux", xen_options="iommu=verbose,off,dom0-strict"
    )
    assert call(host, "enable_iommu")["xen_option_after"] == "iommu=verbose,1,dom0-strict"


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


def test_owner_mode_and_first_original_are_kept(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), bootloader="extlinux", xen_options="iommu=0")
    path, original = host.path(CONF), host.read_bytes(CONF)
    os.chmod(path, 0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    owner = os.stat(path).st_uid, os.stat(path).st_gid
    call(host, "enable_iommu")
    call(host, "disable_iommu")
    call(host, "enable_iommu")
    after = os.stat(path)
    assert (after.st_uid, after.st_gid, after.st_mode & 0o7777) == (*owner, 0o640)
    assert host.read_bytes(CONF + ".before-sriov") == original
    assert sorted(name for name in host.names("/boot") if name.startswith((".", "extlinux.conf"))) == [
        "extlinux.conf",
        "extlinux.conf.before-sriov",
    ]


def test_a_link_goes_on_pointing_to_the_file(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), bootloader="extlinux", xen_options="iommu=0")
    os.rename(host.path(CONF), host.path("/boot/real.conf"))
    os.symlink("real.conf", host.path(CONF))
    call(host, "enable_iommu")
    assert os.readlink(host.path(CONF)) == "real.conf"
    assert b"iommu=1" in host.read_bytes("/boot/real.conf")


def test_an_old_extlinux_takes_the_folder_alone(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), bootloader="extlinux", extlinux=3, xen_options="iommu=0")
    assert call(host, "enable_iommu")["problems"] == []
    host.reboot()
    assert call(host, "status")["iommu"]["active"] is True


def test_extlinux_runs_on_no_folder_but_that_of_its_loader(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), bootloader="extlinux", xen_options="iommu=0")
    os.rename(host.path("/boot/ldlinux.sys"), host.path("/ldlinux.sys"))
    answer = call(host, "enable_iommu")
    assert (answer["changed"], codes(answer)) == (True, ["BOOTLOADER_NOT_UPDATED"])


def test_a_tool_that_fails_leaves_all_as_it_was(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = boot_files(host)
    tool = "extlinux" if CONF in before else "--set-xen"
    start = Machine.start

    def failing(self: Machine, argv: Any, input_text: Any = None) -> Any:
        if tool in argv:
            return Done(Completed(argv, 1, "", "extlinux: no previous syslinux boot sector found"))
        return start(self, argv, input_text)

    monkeypatch.setattr(Machine, "start", failing)
    assert refused(host, "enable_iommu").code == "SRIOV_BOOT_CONFIG"
    assert boot_files(host) == before
    assert not host.exists(sriov_conf.PATH)


def test_a_default_entry_that_xen_cmdline_does_not_write_is_noticed(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), xen_options="iommu=0")
    grub = host.read_bytes(GRUB).replace(b"set default=0", b"set default=3")
    host.replace_file(GRUB, grub)
    error = refused(host, "enable_iommu")
    assert error.code == "SRIOV_BOOT_CONFIG"
    assert "did not change the entry that boots by default" in error.message
    assert host.read_bytes(GRUB) == grub


def test_a_host_with_neither_is_told_so(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), bootloader="extlinux")
    os.unlink(host.path(CONF))
    assert refused(host, "enable_iommu").code == "SRIOV_BOOT_CONFIG"
    assert "BOOT_CONFIG" in codes(call(host, "status"))


def test_ended_at_any_step_the_file_is_old_or_new_and_calling_again_completes(host: Machine) -> None:
    path = CONF if host.exists(CONF) else GRUB
    before = boot_files(host)[path]
    number = 0
    while True:
        number += 1
        host.replace_file(path, before)
        host.remove_file(sriov_conf.PATH)
        host.remove_file(CONF + ".before-sriov")
        cut = ended_at(number, lambda: call(host, "enable_iommu"))
        assert host.read_bytes(path).count(b"\n") >= before.count(b"\n")
        assert call(host, "enable_iommu")["configured"] == "on"
        assert call(host, "enable_iommu")["changed"] is False
        assert sriov_conf.read(host).document.get(*("boot", "regenerate")) is None
        assert call(host, "disable_iommu")["xen_option_after"] == "iommu=0"
        if path == CONF:
            assert host.read_bytes(CONF) == before
        if not cut:
            assert number > 20  # it did cut at many places before it came through
            return


def test_ended_at_any_step_disable_is_completed_by_the_next_call(host: Machine) -> None:
    number = 0
    while True:
        number += 1
        call(host, "enable_iommu")
        cut = ended_at(number, lambda: call(host, "disable_iommu"))
        call(host, "disable_iommu")
        assert call(host, "status")["iommu"]["xen_option"] == "iommu=0"
        assert not sriov_conf.read(host).document.sections
        if not cut:
            assert number > 20
            return


def test_a_full_disk_at_any_step_changes_nothing_or_all(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), bootloader="extlinux", xen_options="iommu=0")
    before = host.read_bytes(CONF)
    number = 0
    failures = 0
    while True:
        number += 1
        with full_at(number) as count:
            try:
                call(host, "enable_iommu")
                full = ""
            except SriovError as error:
                full = error.message
        if full:
            failures += 1
            assert "No space left" in full
            assert host.read_bytes(CONF) == before
        host.replace_file(CONF, before)
        host.remove_file(sriov_conf.PATH)
        if count[0] < number:
            assert failures > 5
            return


def test_two_callers_at_once_write_one_after_the_other(host: Machine) -> None:
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            call(host, "enable_iommu")
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert call(host, "disable_iommu")["xen_option_after"] == "iommu=0"


def test_what_xen_cmdline_would_spoil_is_noticed_and_put_back(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), xen_options="iommu=0")
    grub = host.read_bytes(GRUB) + b"if [ x$more = x1 ]; then\n\tset timeout=1\nfi\n"
    host.replace_file(GRUB, grub)
    start = Machine.start

    class Real(Machine):
        """The real tool drops what stands behind the last entry."""

        def start(self, argv: Any, input_text: Any = None) -> Any:
            done = start(self, argv, input_text)
            if "--set-xen" in argv:
                data = self.read_bytes(GRUB)
                self.replace_file(GRUB, data[: data.rindex(b"}") + 2])
            return done

    error = refused(Real(host.root), "enable_iommu")
    assert error.code == "SRIOV_BOOT_CONFIG"
    assert "would have spoilt" in error.message
    assert host.read_bytes(GRUB) == grub


def test_the_grub_file_keeps_its_mode_and_its_first_original(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), xen_options="iommu=0")
    original = host.read_bytes(GRUB)
    os.chmod(host.path(GRUB), 0o644)
    call(host, "enable_iommu")
    assert os.stat(host.path(GRUB)).st_mode & 0o7777 == 0o644
    assert host.read_bytes(GRUB + ".before-sriov") == original


def test_what_cannot_be_put_back_stays_recorded_and_is_named(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), bootloader="extlinux", xen_options="iommu=0")
    call(host, "enable_iommu")
    data = (
        host.read_bytes(CONF)
        .replace(b"default xe\n", b"default new\n")
        .replace(b"label xe\n", b"label new\n")
    )
    host.replace_file(CONF, data)
    answer = call(host, "disable_iommu")
    assert "NOT_PUT_BACK" in codes(answer)
    assert "xe" in sriov_conf.read(host).document.sections[sriov_conf.XEN_BEFORE]


def test_a_broken_entry_that_is_not_the_default_is_left_alone_and_named(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), bootloader="extlinux", xen_options="iommu=0")
    before = host.read_bytes(CONF)
    serial = before.index(b"label xe-serial")
    broken = before[:serial] + before[serial:].replace(b" --- ", b" -- ", 1)
    host.replace_file(CONF, broken)
    answer = call(host, "enable_iommu")
    assert (answer["changed"], codes(answer)) == (True, ["BOOT_ENTRY_UNFIT"])
    assert "it would not boot: its append line" in answer["problems"][0]["message"]
    assert host.read_bytes(CONF)[serial:] == broken[serial:]


def test_two_entries_of_one_label_are_left_alone_and_named_once(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), bootloader="extlinux", xen_options="iommu=0")
    data = host.read_bytes(CONF)
    again = data[data.index(b"label xe-serial") :]
    host.replace_file(CONF, data + again)
    (problem,) = call(host, "enable_iommu")["problems"]
    assert "`xe-serial` of /boot/extlinux.conf was left as it is: two entries have" in problem["message"]
    assert host.read_bytes(CONF).endswith(again)


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


def test_what_a_call_that_was_cut_off_found_stays_the_record(host: Machine) -> None:
    """By then the file may say what that call wrote."""
    sriov_conf.update(host, sriov_conf.XEN_BEFORE, {"xe": "iommu=off,verbose"})
    sriov_conf.update(host, "boot", {"regenerate": "yes"})
    call(host, "enable_iommu")
    assert sriov_conf.read(host).document.sections[sriov_conf.XEN_BEFORE]["xe"] == "iommu=off,verbose"
    assert call(host, "disable_iommu")["xen_option_after"] == "iommu=off,verbose"


def test_what_the_last_whole_call_found_is_the_record(host: Machine) -> None:
    sriov_conf.update(host, sriov_conf.XEN_BEFORE, {"xe": "iommu=off,verbose"})
    call(host, "enable_iommu")
    assert sriov_conf.read(host).document.sections[sriov_conf.XEN_BEFORE]["xe"] == "iommu=0"


def test_a_refused_change_of_extlinux_conf_leaves_no_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = machine.default_host(str(tmp_path), bootloader="extlinux", xen_options="iommu=0")
    before, names = host.read_bytes(CONF), host.names("/boot")
    start = Machine.start

    def failing(self: Machine, argv: Any, input_text: Any = None) -> Any:
        if argv[0] == "extlinux":
            return Done(Completed(argv, 1, "", "extlinux: cannot open device /dev/sda1"))
        return start(self, argv, input_text)

    with monkeypatch.context() as patch:
        patch.setattr(Machine, "start", failing)
        assert refused(host, "enable_iommu").code == "SRIOV_BOOT_CONFIG"
    assert (host.read_bytes(CONF), host.names("/boot")) == (before, names)
    call(host, "enable_iommu")  # from now on there is one, and it stays the first
    host.replace_file(CONF, before.replace(b"timeout 50", b"timeout 60"))
    call(host, "enable_iommu")
    assert host.read_bytes(CONF + ".before-sriov") == before


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda data: data + b"\n",  # a line more
        lambda data: data.replace(b"timeout 50", b"timeout 60"),  # another line
        lambda data: data.replace(b"iommu=1", b"iommu=1,verbose"),  # other options
    ],
)
def test_a_text_that_differs_in_more_than_the_options_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: Any
) -> None:
    host = machine.default_host(str(tmp_path), bootloader="extlinux", xen_options="iommu=0")
    before = host.read_bytes(CONF)
    real = extlinux.with_iommu
    monkeypatch.setattr(extlinux, "with_iommu", lambda config, wanted: spoilt(real(config, wanted)))
    assert "could not be changed safely" in refused(host, "enable_iommu").message
    assert host.read_bytes(CONF) == before


@pytest.mark.parametrize(
    "line", [b"ui menu.c32 other.conf", b"include more.conf", b"MENU INCLUDE /boot/more.conf More"]
)
def test_another_file_that_extlinux_or_its_menu_reads_is_named(tmp_path: Path, line: bytes) -> None:
    host = machine.default_host(str(tmp_path), bootloader="extlinux", xen_options="iommu=0")
    host.replace_file(CONF, host.read_bytes(CONF).replace(b"prompt 1", line))
    answer = call(host, "enable_iommu")
    assert (answer["changed"], codes(answer)) == (True, ["OTHER_BOOT_CONFIG"])
    assert f"its line 4 (`{line.decode()}`) reads another file" in answer["problems"][0]["message"]
    assert "OTHER_BOOT_CONFIG" in codes(call(host, "status"))
