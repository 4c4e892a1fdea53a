"""The clock of a pool in a box."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, List

import hurry
import pytest
from checks import until
from clock import Clock


def test_hosts_that_boot_at_once_let_time_pass_one_after_the_other(tmp_path: Any) -> None:
    clock = Clock(str(tmp_path / "clock"))
    with ThreadPoolExecutor(8) as hosts:
        list(hosts.map(clock.pass_seconds, [1.0] * 400))  # what one raises is raised here
    assert float((tmp_path / "clock").read_text()) == 400


def test_who_waits_for_something_waits_as_long_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: List[float] = []

    def happened() -> bool:
        looks.append(time.monotonic())
        return len(looks) > 3

    for name in ("monotonic", "sleep"):  # a clock that has been fast stays ahead
        monkeypatch.setattr(time, name, getattr(time, name))
    monkeypatch.setattr(hurry, "_clock", hurry._Clock())
    monkeypatch.setattr(hurry, "RATE", 1e7)
    with hurry.hurry():
        until(happened)
    assert looks[-1] - looks[0] > 60
