"""The machine's files, locks and log: what a failure leaves, who may open what, what is written."""

import errno
import os
import re
import syslog
from pathlib import Path
from typing import Any, List, Tuple

import pytest
from sriovlib.machine.host import Host


def test_a_file_is_replaced_though_its_folder_cannot_be_opened_to_make_that_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rename has happened by then: an error would say that the old file is as it was."""
    host = Host(str(tmp_path))
    host.replace_file("/a", b"old")
    opened = os.open

    def out_of_files(path: Any, flags: int, *mode: int) -> int:
        if flags & os.O_DIRECTORY:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", out_of_files)
    host.replace_file("/a", b"new")
    host.rename("/a", "/b")
    assert host.read_bytes("/b") == b"new"


@pytest.mark.parametrize("before", [None, 0o644])
def test_lock_files_are_for_root_only(tmp_path: Path, before: Any) -> None:
    host = Host(str(tmp_path))
    path = host.path("/run/sriov/boot.lock")
    if before is not None:  # of an older version
        host.make_folder("/run/sriov")
        host.replace_file("/run/sriov/boot.lock", b"", before)
    with host.lock("boot", "a test"):
        assert os.stat(path).st_mode & 0o777 == 0o600


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    lines: List[str] = []
    monkeypatch.setattr(Host, "_write_log", lambda _host, text: lines.append(text))
    return lines


def work(host: Host) -> None:
    host.make_folder("/sys")
    host.replace_file("/sys/numvfs", b"0")
    host.write_attribute("/sys/numvfs", "7")
    host.write_attribute_within("/sys/numvfs", "5", 9)
    with pytest.raises(FileNotFoundError):
        host.write_attribute_within("/sys/none", "7", 9)
    host.run(["cat", "-", "/sys/none"], input_text="link set 1\nlink set 2\n")
    host.remove_file("/sys/numvfs")


def test_debug_logs_each_command_and_write_with_time_and_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: List[str]
) -> None:
    monkeypatch.setenv("SRIOV_DEBUG", "1")
    work(Host(str(tmp_path)))
    assert [re.sub(r"\b[0-9]+ ms", "9 ms", line) for line in log] == [
        "debug: 1 bytes > /sys/numvfs: 9 ms, done",
        "debug: 7 > /sys/numvfs: 9 ms, done",
        "debug: 5 > /sys/numvfs: 9 ms, done",
        "debug: 7 > /sys/none: 9 ms, No such file or directory",
        "debug: cat - /sys/none | link set 1 | link set 2: 9 ms, 1, "
        "cat: /sys/none: No such file or directory",
        "debug: remove /sys/numvfs: 9 ms, done",
    ]


@pytest.mark.parametrize(
    ("text", "is_on"),
    [
        ("", False),
        ("[host]\npciback = yes\n", False),
        ("[host]\ndebug = no\n", False),
        ("[host]\n# debug = yes\n", False),
        ("[xen before enable_iommu]\ndebug = yes\n", False),
        ("# [x]\n[host] # of a boot\npciback = yes\ndebug = On # for a day\n", True),
        ("[pf 0000:07:00.0]\n[host]\ndebug=1\n[boot]\n", True),
    ],
)
def test_debug_is_a_key_of_the_file(tmp_path: Path, log: List[str], text: str, is_on: bool) -> None:
    os.mkdir(tmp_path / "etc")
    (tmp_path / "etc/sriov.conf").write_text(text)
    work(Host(str(tmp_path)))
    assert bool(log) == is_on


def test_a_log_line_is_one_line_of_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A VM's name can neither forge a line nor speak to a terminal nor fill pages."""
    lines: List[Tuple[int, str]] = []
    monkeypatch.setattr(syslog, "syslog", lambda priority, text: lines.append((priority, text)))
    monkeypatch.setattr(syslog, "openlog", lambda *_arguments: None)
    Host().log("web\nsriov[1]: all is well\x1b[2J\x9b\u2028more\x00 of it \ud800: refused")
    Host().log("we\nb" * 100_000)
    (line, pages) = lines
    assert line == (
        syslog.LOG_INFO,
        "web sriov[1]: all is well\ufffd[2J\ufffd more\ufffd of it \ufffd: refused",
    )
    line[1].encode()  # syslog(3) takes UTF-8
    assert len(pages[1]) == 2000
