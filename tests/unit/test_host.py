"""The machine's files and locks: what a failure leaves, and who may open what."""

import errno
import os
from pathlib import Path
from typing import Any

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
def test_nobody_but_root_can_open_a_lock_and_hold_it(tmp_path: Path, before: Any) -> None:
    host = Host(str(tmp_path))
    path = host.path("/run/sriov/boot.lock")
    if before is not None:  # of an older version
        host.make_folder("/run/sriov")
        host.replace_file("/run/sriov/boot.lock", b"", before)
    with host.lock("boot", "a test"):
        assert os.stat(path).st_mode & 0o777 == 0o600
