"""enable_iommu and disable_iommu on hosts that boot by GRUB: what is refused, recorded and put back."""

import errno
import os
import re
import runpy
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import forked
import machine
import one_host
import pytest
from machine import Done, Machine
from small_pool import SmallPool
from sriovlib.boot import bootloader, grub
from sriovlib.config import sriov_conf
from sriovlib.errors import SriovError
from sriovlib.machine.command import Completed

GRUB = "/boot/grub/grub.cfg"
BACKUP, UNDO = GRUB + ".before-sriov", GRUB + ".sriov-undo"


@pytest.fixture
def host(tmp_path: Path) -> Machine:
    """A host whose normal entry turns the IOMMU off; its serial entry does so too."""
    return machine.default_host(str(tmp_path), xen_options="dom0_mem=752M iommu=0 watchdog")


def call(host: Machine, function: str, **args: str) -> Any:
    return one_host.call(host, SmallPool(), function, **args)


def refused(host: Machine, function: str = "enable_iommu") -> SriovError:
    """The call is refused, and nothing at all is other than it was."""
    before = tree(host)
    error = one_host.refused(host, SmallPool(), function)
    assert (error.code, tree(host)) == ("SRIOV_BOOT_CONFIG", before)
    return error


def tree(host: Machine) -> Dict[str, Any]:
    folder = os.path.dirname(GRUB)
    found = {
        name: (host.read_bytes(f"{folder}/{name}"), host.mode(f"{folder}/{name}"))
        for name in host.names(folder)
    }
    return {**found, "conf": host.text(sriov_conf.PATH)}


def edit(host: Machine, old: bytes, new: bytes, times: int = 1) -> None:
    data = host.read_bytes(GRUB)
    assert old in data
    host.replace_file(GRUB, data.replace(old, new, times))


def options(host: Machine) -> Dict[str, List[str]]:
    return bootloader.find(host).read()


def codes(answer: Dict[str, Any]) -> List[str]:
    return [problem["code"] for problem in answer["problems"]]


NORMAL = b"menuentry 'XCP-ng' {"


@pytest.mark.parametrize(
    ("edits", "was", "on"),
    [
        # each keeps its own sub-options
        (
            [(b"iommu=0", b"iommu=verbose,off"), (b"iommu=0", b"no-iommu iommu=dom0-strict")],
            ["iommu=verbose,off", "no-iommu iommu=dom0-strict"],
            ["iommu=verbose,1", "iommu=1,dom0-strict"],
        ),
        # one that is on already stays so: the tool gives all normal entries the same
        ([(b"iommu=0", b"iommu=1,verbose")], ["iommu=1,verbose", "iommu=0"], ["iommu=1,verbose", "iommu=1"]),
        # one that had none has none again
        (
            [(b"iommu=0", b"iommu=off"), (b" iommu=0", b""), (b"iommu=off", b"iommu=0")],
            ["iommu=0", ""],
            ["iommu=1", "iommu=1"],
        ),
        # one that the tool does not see, and that is on already, stops nothing
        (
            [(NORMAL, NORMAL[:-1] + b"\\\n{"), (b"iommu=0", b"iommu=1")],
            ["iommu=1", "iommu=0"],
            ["iommu=1", "iommu=1"],
        ),
    ],
    ids=["sub-options", "on", "none", "unseen"],
)
def test_each_normal_entry_gets_back_what_it_had(
    host: Machine, edits: List[Tuple[bytes, bytes]], was: List[str], on: List[str]
) -> None:
    for old, new in edits:
        edit(host, old, new)
    for function, expected in ((None, was), ("enable_iommu", on), ("disable_iommu", was)):
        if function:
            call(host, function)
        assert {label: " ".join(found) for label, found in options(host).items()} == dict(
            zip(("xe", "xe-serial"), expected)
        )
    assert not sriov_conf.read(host).document.sections


def test_a_record_of_the_first_builds_is_put_back_in_all_entries(host: Machine) -> None:
    call(host, "enable_iommu")
    sriov_conf.update(host, sriov_conf.XEN_BEFORE, {"xe": None, "xe-serial": None, "default": "iommu=off"})
    assert codes(call(host, "disable_iommu")) == []
    assert options(host) == {"xe": ["iommu=off"], "xe-serial": ["iommu=off"]}
    assert not sriov_conf.read(host).document.sections


def test_an_option_in_quotes_is_read_replaced_and_put_back(host: Machine) -> None:
    edit(host, b"iommu=0", b'"iommu=1"', times=2)
    answer = call(host, "enable_iommu")
    assert (answer["changed"], answer["configured"], answer["xen_option"]) == (False, "on", "iommu=1")
    edit(host, b'"iommu=1"', b"'iommu=0'", times=2)
    assert call(host, "enable_iommu")["xen_option_after"] == "iommu=1"
    assert b"'iommu=0'" not in host.read_bytes(GRUB)[: host.read_bytes(GRUB).index(b"Safe Mode")]
    assert call(host, "disable_iommu")["xen_option_after"] == "iommu=0"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"set timeout=5", b"set timeout=0", "line 5 (`set timeout=0`) is lost"),
        (b"terminal_output serial", b"terminal_output gfxterm", "line 3 (`terminal_output gfxterm console`)"),
        (b"menuentry 'XCP-ng' {", b"if true; then\nmenuentry 'XCP-ng' {", "GRUB would not understand"),
        (b"set default=0", b"set default=3", "did not change the entry that boots by default"),
        (b"iommu=0 watchdog\n", b"watchdog # a note\n", "line 8 (`multiboot2 /boot/xen.gz"),
        (b"iommu=0 watchdog\n", b"watchdog -- quiet\n", "line 8 (`multiboot2 /boot/xen.gz"),
        (b"set default=0", b'set default="${saved_entry}"', "does not say which entry boots by default"),
        (NORMAL, b"menuentry 'memory test' {\n\tlinux /memtest\n}\n" + NORMAL, "`memory test`, which"),
        (b"iommu=0", b"$xen_options", "line 8: what a variable holds"),
        (b"\tmodule2", b"\tmultiboot2 /boot/xen-other.gz\n\tmodule2", "Xen is loaded a second time"),
    ],
)
def test_grub_change_that_is_not_certain_is_refused(
    host: Machine, old: bytes, new: bytes, words: str
) -> None:
    os.chmod(host.path(GRUB), 0o640)
    edit(host, old, new)
    if b"if true" in new:
        host.replace_file(GRUB, host.read_bytes(GRUB) + b"fi\n")
    assert words in refused(host).message
    assert host.mode(GRUB) == 0o640


def test_grub_file_that_is_broken_already_is_refused(host: Machine) -> None:
    host.replace_file(GRUB, host.read_bytes(GRUB) + b"fi\n")
    assert "cannot be read with certainty: line 36: `fi`" in refused(host).message


def test_an_option_put_there_by_hand_counts_where_the_tool_cannot_read_the_file(host: Machine) -> None:
    """So its hint leads to an end."""
    edit(host, b"set default=0", b"set default='XCP-ng'")
    with pytest.raises(SriovError, match="KeyError"):
        call(host, "enable_iommu", dry_run="yes")
    error = refused(host)
    assert "KeyError: 'XCP-ng'" in error.message
    assert "is the number of a normal entry (GRUB would take a title, the tool does not)" in error.hint
    assert "by hand" in error.hint
    edit(host, b"iommu=0", b"iommu=1", times=2)
    answer = call(host, "enable_iommu")
    assert (answer["changed"], answer["configured"]) == (False, "on")


def test_a_link_would_become_a_file(host: Machine) -> None:
    os.rename(host.path(GRUB), host.path("/boot/grub.cfg"))
    os.symlink("../grub.cfg", host.path(GRUB))
    with pytest.raises(SriovError, match="is a link"):
        call(host, "enable_iommu")
    assert os.path.islink(host.path(GRUB))


def answering(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Machine, Any], Any]) -> None:
    """Commands for which `answer` has an exit status and words on stderr end so."""
    start = Machine.start

    def answered(self: Machine, argv: Any, input_text: Any = None) -> Any:
        said = answer(self, argv)
        return Done(Completed(argv, said[0], "", said[1])) if said else start(self, argv, input_text)

    monkeypatch.setattr(Machine, "start", answered)


def with_checker(monkeypatch: pytest.MonkeyPatch, verdict: Any) -> None:
    """GRUB's own checker is installed; `verdict(text)` is its exit status."""

    def checked(_host: Machine, argv: Any) -> Any:
        if argv[0] not in grub.CHECKERS:
            return None
        return verdict(Path(argv[1]).read_bytes()), "Syntax error at line 9"

    answering(monkeypatch, checked)


def no_room(monkeypatch: pytest.MonkeyPatch, pattern: str, number: int = errno.ENOSPC) -> None:
    """Files with such paths cannot be written."""
    replace = Machine.replace_file

    def failing(self: Any, path: str, data: bytes, mode: int = 0o644) -> None:
        if re.fullmatch(pattern, path):
            raise OSError(number, os.strerror(number))
        replace(self, path, data, mode)

    monkeypatch.setattr(Machine, "replace_file", failing)


def test_grub_change_that_grub_script_check_refuses_is_undone(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_checker(monkeypatch, lambda data: int(b"iommu=1" in data))
    assert "GRUB would refuse it (grub-script-check" in refused(host).message


def test_a_checker_that_refused_the_file_already_is_no_witness(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_checker(monkeypatch, lambda _: 1)
    assert call(host, "enable_iommu")["changed"] is True


def test_a_second_grub_file_is_named(host: Machine) -> None:
    os.mkdir(host.path("/boot/grub2"))
    os.symlink("../grub/grub.cfg", host.path("/boot/grub2/grub.cfg"))
    assert codes(call(host, "enable_iommu", dry_run="yes")) == []  # it is the same file
    os.unlink(host.path("/boot/grub2/grub.cfg"))
    host.replace_file("/boot/grub2/grub.cfg", host.read_bytes(GRUB))
    assert codes(call(host, "enable_iommu")) == ["OTHER_BOOT_CONFIG"]


def test_entries_that_another_file_brings_are_named(host: Machine) -> None:
    edit(
        host,
        b"set timeout=5\n",
        b"set timeout=5\nif [ -f $prefix/custom.cfg ]; then\n\tsource $prefix/custom.cfg\nfi\n",
    )
    answer = call(host, "enable_iommu")
    assert codes(answer) == ["OTHER_BOOT_CONFIG"]
    assert "line 7 (`source $prefix/custom.cfg`)" in answer["problems"][0]["message"]


def test_the_file_keeps_owner_and_mode_and_the_first_original_stays_beside_it(host: Machine) -> None:
    original = host.read_bytes(GRUB)
    os.chmod(host.path(GRUB), 0o640)
    if os.geteuid() == 0:
        os.chown(host.path(GRUB), 1234, 4321)
    owner = host.owner(GRUB)
    for function in ("enable_iommu", "disable_iommu", "enable_iommu"):
        call(host, function)
    assert host.names("/boot/grub") == ["grub.cfg", "grub.cfg.before-sriov"]
    assert host.read_bytes(BACKUP) == original
    edit(host, b"set timeout=5", b"set timeout=0")
    refused(host, "disable_iommu")
    for path in (GRUB, BACKUP):
        assert (host.owner(path), host.mode(path)) == (owner, 0o640)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_folder_that_takes_no_file_is_named_and_nothing_has_changed(
    host: Machine, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    no_room(monkeypatch, "/boot/.*", number)
    error = refused(host)
    assert error.message == f"{GRUB} cannot be changed: {os.strerror(number)}."
    assert error.hint.startswith("Nothing was changed. Make room in /boot/grub")


def test_a_file_that_the_tool_began_and_could_not_finish_is_taken_away(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.replace_file("/boot/grub/tmp-of-mine", b"not ours\n")

    def full(self: Machine, argv: Any) -> Any:
        if "--set-xen" not in argv:
            return None
        self.replace_file("/boot/grub/tmpa1b2c3", b"serial --un")
        return 1, "OSError: [Errno 28] No space left on device"

    answering(monkeypatch, full)
    assert "No space left" in refused(host).message


def test_where_the_options_of_one_entry_cannot_be_written_the_tools_text_goes_too(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(host, b"iommu=0 watchdog\n", b"iommu=0,verbose watchdog\n")  # the two differ
    no_room(monkeypatch, GRUB)
    assert refused(host).message == f"{GRUB} cannot be changed: No space left on device."


def cut_off(host: Machine, monkeypatch: pytest.MonkeyPatch, spoil: bytes = b"") -> bytes:
    """enable_iommu is killed when the tool has just written the file (and has lost `spoil`); what it was."""
    before = host.read_bytes(GRUB)
    with monkeypatch.context() as patch:
        patch.setattr(grub.Grub, "_judged", lambda *_: os._exit(9))
        assert forked.status(forked.child(lambda: call(host, "enable_iommu"))) == 9
    if spoil:
        data = host.read_bytes(GRUB).replace(spoil, b"")
        with open(host.path(GRUB), "wb") as file:
            file.write(data)
    assert (host.mode(GRUB), host.exists(UNDO)) == (0o600, True)
    return before


def test_a_call_cut_off_after_the_tool_wrote_is_completed_by_the_next(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode = host.mode(GRUB)
    cut_off(host, monkeypatch)
    answer = call(host, "enable_iommu")
    assert (answer["configured"], host.mode(GRUB), host.exists(UNDO)) == ("on", mode, False)
    assert call(host, "disable_iommu")["xen_option_after"] == "iommu=0"
    assert not sriov_conf.read(host).document.sections


def test_boot_service_undoes_a_grub_change_that_was_cut_off(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode = host.mode(GRUB)
    before = cut_off(host, monkeypatch, spoil=b"set timeout=5\n")
    assert "BOOT_CHANGE_CUT_OFF" in codes(call(host, "status"))
    assert boot_service(host, monkeypatch) == 0
    assert (host.read_bytes(GRUB), host.mode(GRUB), host.exists(UNDO)) == (before, mode, False)
    assert "BOOT_CHANGE_CUT_OFF" not in codes(call(host, "status"))


def boot_service(host: Machine, monkeypatch: pytest.MonkeyPatch) -> int:
    """hooks/boot/sriov-restore on this machine; its exit status."""
    path = os.path.join(os.path.dirname(__file__), "../../hooks/boot/sriov-restore")
    with monkeypatch.context() as patch:
        patch.setattr("sriovlib.machine.host.this_machine", lambda: host)
        patch.setattr("sys.argv", ["sriov-restore"])
        patch.setattr("os._exit", sys.exit)
        patch.setattr("gc.disable", lambda: None)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(path, run_name="__main__")
    return int(ended.value.code or 0)


def read_only(_self: Any, _path: str, _new: str) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_spoilt_file_that_cannot_be_put_back_is_named_and_what_was_there_recorded(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(host, b"set timeout=5", b"set timeout=0")
    monkeypatch.setattr(Machine, "rename", read_only)
    with pytest.raises(SriovError, match="put back either: Read-only file system") as error:
        call(host, "enable_iommu")
    assert f"put {UNDO} in its place" in error.value.hint
    assert sriov_conf.read(host).document.sections[sriov_conf.XEN_BEFORE]["xe"] == "iommu=0"


def test_a_boot_file_that_cannot_be_put_back_is_named_and_the_vfs_are_restored_all_the_same(
    host: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off(host, monkeypatch)

    with monkeypatch.context() as patch:
        patch.setattr(Machine, "rename", read_only)
        assert boot_service(host, monkeypatch) == 0
    assert f"put {UNDO} in its place" in capsys.readouterr().err


def test_edit_after_a_grub_change_was_cut_off_stays(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(host, monkeypatch)
    later = os.stat(host.path(UNDO)).st_mtime + 3600
    edit(host, b"set timeout=5", b"set timeout=9")
    os.utime(host.path(GRUB), (later, later))
    call(host, "enable_iommu")
    assert b"set timeout=9" in host.read_bytes(GRUB)
    assert not host.exists(UNDO)
