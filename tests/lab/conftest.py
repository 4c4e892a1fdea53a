"""What every story has: its time, what it proves, and the logs of its hosts where it fails."""

import os
import shutil
import sys
import time
from typing import Any, Callable, Dict, Generator, List, NamedTuple

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lab import host, image

LOGS = os.path.join(image.LAB, "logs")


class Told(NamedTuple):
    """A story that was told: how it ended, how long it took with its boots, what it proves."""

    outcome: str
    seconds: float
    proves: str


_told: List[Told] = []
_seconds: Dict[str, float] = {}


def pytest_configure(config: Any) -> None:
    config.addinivalue_line("markers", "short: the shortest real story of a capability (`make lab`)")


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
    """Keeps the logs while the hosts of a failed story still run, and its time."""
    outcome = yield
    report = outcome.get_result()
    _seconds[item.nodeid] = _seconds.get(item.nodeid, 0) + report.duration
    if report.failed:
        folder = os.path.join(LOGS, item.name)
        shutil.rmtree(folder, ignore_errors=True)
        for one in host.all_running():
            one.keep_logs(os.path.join(folder, one.name))
        print(f"\n  consoles, journals and QEMU's errors: {folder}", flush=True)
    if report.when == "call" or report.failed:
        proves = (item.function.__doc__ or "").strip().splitlines()[0]
        _told.append(Told(report.outcome, _seconds[item.nodeid], proves))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.section("stories")
    for story in _told:
        terminalreporter.line(f"{story.outcome:6} {story.seconds:5.0f} s  {story.proves}")
