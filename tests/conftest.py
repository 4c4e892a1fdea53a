"""Where the tests find the library and the fake machine, and where they put the machines that they make."""

import os
import shutil
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in (os.path.join(HERE, "pool"), os.path.join(os.path.dirname(HERE), "plugins")):
    if folder not in sys.path:
        sys.path.insert(0, folder)

# A machine is thousands of small files: in memory they are made ten times as fast, if there is room.
MEMORY, ROOM = "/dev/shm", 4 << 30
_made = []


def pytest_configure(config: pytest.Config) -> None:
    if config.option.basetemp is None and os.access(MEMORY, os.W_OK):
        file_system = os.statvfs(MEMORY)
        if file_system.f_bavail * file_system.f_frsize >= ROOM:
            config.option.basetemp = tempfile.mkdtemp(prefix="xapi-sriov-tests-", dir=MEMORY)
            _made.append(config.option.basetemp)


def pytest_unconfigure() -> None:
    for path in _made:
        shutil.rmtree(path, ignore_errors=True)
