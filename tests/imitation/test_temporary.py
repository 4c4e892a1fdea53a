"""Folders for machines: others' are left alone while their makers live, and go when they were killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import temporary

HOLD = """
import temporary
with temporary.folder() as made:
    print(made, flush=True)
    input()
"""


def holder() -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(temporary.__file__)}
    return subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        universal_newlines=True,
        env=environment,
    )


def test_a_folder_is_gone_with_its_maker_and_no_sooner() -> None:
    with holder() as other:
        assert other.stdout is not None
        theirs = other.stdout.readline().strip()
        with temporary.folder() as ours:
            assert os.path.isdir(theirs)
            assert ours != theirs
        assert not os.path.exists(ours)
        other.send_signal(signal.SIGKILL)
    assert os.path.isdir(theirs)
    with temporary.folder():
        assert not os.path.exists(theirs)


def test_the_folder_of_this_run_is_held(tmp_path: Path) -> None:
    """pytest makes the folder that it is told of anew: what is held must be another one."""
    with temporary.folder():
        assert os.path.isdir(tmp_path)


def test_a_file_system_that_is_not_there_is_not_used() -> None:
    assert temporary.place("/nowhere") == temporary.DISK
