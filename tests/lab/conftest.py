"""What every story has: its hosts, its time, what it proves, and the logs of its hosts where it fails."""

import os
import shutil
import sys
import time
from typing import Any, Callable, Dict, Generator, List, NamedTuple

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lab import image, qemu
from lab.host import LabHost

LOGS = os.path.join(image.LAB, "logs")


class Told(NamedTuple):
    """A story that was told: how it ended, how long it took with its boots, what it proves."""

    outcome: str
    seconds: float
    proves: str


_told: Dict[str, Told] = {}
_on: List[LabHost] = []


def pytest_configure(config: Any) -> None:
    config.addinivalue_line("markers", "short: the shortest real story of a capability (`make lab`)")


def _switch_on(request: Any) -> Callable[..., LabHost]:
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


@pytest.fixture
def switch_on(request: Any) -> Callable[..., LabHost]:
    """Switches on a new host for one story: its name, its boot loader, its hardware."""
    return _switch_on(request)


@pytest.fixture(scope="module")
def switch_on_for_all(request: Any) -> Callable[..., LabHost]:
    """The same, for all stories of a module."""
    return _switch_on(request)


@pytest.fixture
def say() -> Callable[[str], None]:
    """Tells what has just been seen, and when in the story."""
    started = time.monotonic()

    def tell(what: str) -> None:
        print(f"  [{time.monotonic() - started:4.0f} s] {what}", flush=True)

    return tell


def pytest_runtest_logstart(nodeid: str) -> None:
    print(f"\n== {nodeid.rpartition('::')[2]}", flush=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any) -> Generator[None, Any, None]:
    """Keeps the logs of a failed story while its hosts are as it left them, and the time of each story."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and _on:
        folder = os.path.join(LOGS, item.name)
        shutil.rmtree(folder, ignore_errors=True)
        for host in _on:
            host.keep_logs(os.path.join(folder, host.name))
        print(f"\n  consoles, journals and QEMU's errors: {folder}", flush=True)
    before = _told.get(item.nodeid, Told("passed", 0, item.function.__doc__.splitlines()[0]))
    bad = before.outcome if report.passed else report.outcome
    _told[item.nodeid] = before._replace(outcome=bad, seconds=before.seconds + report.duration)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    lines = [f"{story.outcome:6} {story.seconds:5.0f} s  {story.proves}" for story in _told.values()]
    terminalreporter.section("stories")
    for line in lines:
        terminalreporter.line(line)
    if "TOLD" in os.environ:  # this module is one of several (stories.py)
        with open(os.environ["TOLD"], "a") as file:
            file.write("".join(line + "\n" for line in lines))
