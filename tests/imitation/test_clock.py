"""The clock of a pool in a box."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clock import Clock


def test_hosts_that_boot_at_once_let_time_pass_one_after_the_other(tmp_path: Any) -> None:
    clock = Clock(str(tmp_path / "clock"))
    with ThreadPoolExecutor(8) as hosts:
        list(hosts.map(clock.pass_seconds, [1.0] * 400))  # what one raises is raised here
    assert float((tmp_path / "clock").read_text()) == 400
