"""What every story has: its hosts, and their logs where it fails."""

import os
import shutil
import sys
from typing import Any, Callable, Generator, List

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lab import image, qemu
from lab.host import LabHost, say

LOGS = os.path.join(image.LAB, "logs")
_on: List[LabHost] = []


def pytest_configure(config: Any) -> None:
    config.addinivalue_line("markers", "short: the shortest real story of a capability (`make lab`)")


@pytest.fixture(scope="module")
def switch_on(request: Any) -> Callable[..., LabHost]:
    """Switches on a new host for the stories of a module: its name, its boot loader, its hardware."""

    def switch_on(name: str, loader: str, hardware: qemu.Hardware = qemu.USUAL) -> LabHost:
        host = LabHost(name)

        def switch_off() -> None:
            host.stop()
            _on.remove(host)

        _on.append(host)
        request.addfinalizer(switch_off)  # after the report, so that a failure's logs can be kept
        host.start(loader, hardware)
        return host

    return switch_on


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any) -> Generator[None, Any, None]:
    """Keeps the logs of a failed story while its hosts are as it left them."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and _on:
        folder = os.path.join(LOGS, item.name)
        shutil.rmtree(folder, ignore_errors=True)
        for host in _on:
            host.keep_logs(os.path.join(folder, host.name))
        say(f"consoles, journals and QEMU's errors: {folder}")
