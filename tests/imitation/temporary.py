"""Where machines are made: folders in memory where there is room for them, that are gone with their maker.

A machine is thousands of small files: in memory they are made ten times as fast as on a disk.
"""

import fcntl
import glob
import os
import shutil
import uuid
from contextlib import contextmanager
from typing import Iterator

MEMORY, DISK = "/dev/shm", "/tmp"
ROOM, FILES = 4 << 30, 1 << 20  # bytes and inodes that a run of all tests does not use up
FAMILY = "xapi-sriov-"


@contextmanager
def folder() -> Iterator[str]:
    """A new folder, removed at the end: a short path, and no underscore in it, as XenAPI's notation of a
    socket's path needs. Those of makers that were killed are removed first: memory would run full of them."""
    _sweep(MEMORY)
    _sweep(DISK)
    name = f"{FAMILY}{uuid.uuid4().hex[:12]}"
    where = place()
    unheld, made = f"{where}/.{name}", f"{where}/{name}"
    os.mkdir(unheld, 0o700)
    with _held(unheld):
        os.rename(unheld, made)  # from now on others see it, and that it is held
        try:
            yield made
        finally:
            shutil.rmtree(made)


def place(memory: str = MEMORY) -> str:
    """The file system in memory, if programs may be run from it and it is neither small nor nearly full."""
    try:
        found = os.statvfs(memory)
    except OSError:
        return DISK
    usable = os.access(memory, os.W_OK) and not found.f_flag & os.ST_NOEXEC
    return memory if usable and found.f_bavail * found.f_frsize >= ROOM and found.f_favail >= FILES else DISK


@contextmanager
def _held(path: str) -> Iterator[None]:
    """A lock that dies with this process; BlockingIOError where another has it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _sweep(where: str) -> None:
    for path in glob.glob(f"{where}/{FAMILY}*"):
        try:
            with _held(path):
                shutil.rmtree(path)
        except OSError:
            continue  # somebody works in it, or it is another user's, or is being removed
