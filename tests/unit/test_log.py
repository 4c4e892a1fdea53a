"""The system log has one line for each thing that happened, whatever the names of VMs are."""

import syslog
from typing import Any, List, Tuple

import pytest
from sriovlib.machine.host import Host


@pytest.fixture
def lines(monkeypatch: Any) -> List[str]:
    found: List[Tuple[int, str]] = []
    monkeypatch.setattr(syslog, "syslog", lambda priority, text: found.append((priority, text)))
    monkeypatch.setattr(syslog, "openlog", lambda *_arguments: None)
    return found  # type: ignore[return-value]


def test_a_vms_name_neither_forges_a_line_nor_speaks_to_a_terminal(lines: Any) -> None:
    Host().log("web\nsriov[1]: all is well\x1b[2J\x9b\u2028more\x00 of it \ud800: refused")
    (line,) = lines
    assert line == (
        syslog.LOG_INFO,
        "web sriov[1]: all is well\ufffd[2J\ufffd more\ufffd of it \ufffd: refused",
    )
    line[1].encode()  # syslog(3) takes UTF-8


def test_a_name_of_pages_is_cut(lines: Any) -> None:
    Host().log("we\nb" * 100_000)
    assert [len(text) for _, text in lines] == [2000]
