"""What hosts told before the pool's lock was had counts only if that did not take long."""

import time
from contextlib import contextmanager
from typing import Any, Iterator, List

import pytest
from sriovlib.pool import inventories, locked, state
from sriovlib.pool.hosts import Member, Topology
from sriovlib.pool.inventories import NOBODY, Survey
from sriovlib.pool.state import PoolState, Vm

MEMBER = Member("ref-1", "host-1", "host1", True, {})
POOL = Topology("host-1", {"host-1": MEMBER}, {})
TOLD: Any = Survey({"host-1": None}, {})  # type: ignore[dict-item]


class Master:
    """Its lock is free after so many seconds."""

    def __init__(self, waits: float) -> None:
        self.now, self.waits = 1000.0, waits

    def path(self, path: str) -> str:
        return path

    @contextmanager
    def lock(self, *_args: Any) -> Iterator[None]:
        self.now += self.waits
        yield


@pytest.mark.parametrize(
    ("told", "waits", "asks_again"),
    [
        (TOLD, 0, False),
        (TOLD, locked.STALE_SECONDS, False),
        (TOLD, locked.STALE_SECONDS + 1, True),
        (NOBODY, locked.STALE_SECONDS + 1, False),
    ],
)
def test_after_a_long_wait_hosts_are_asked_once_more(
    monkeypatch: pytest.MonkeyPatch, told: Survey, waits: float, asks_again: bool
) -> None:
    asked: List[Survey] = []

    def again(_host: Any, _session: Any, _pool: Any, before: Survey) -> Survey:
        asked.append(before)
        return NOBODY

    master: Any = Master(waits)
    monkeypatch.setattr(time, "monotonic", lambda: master.now)
    monkeypatch.setattr(inventories, "survey", lambda *_: told)
    monkeypatch.setattr(inventories, "again", again)
    monkeypatch.setattr(Survey, "starting", lambda _self: {})
    monkeypatch.setattr(Survey, "running", lambda _self: {})
    monkeypatch.setattr(Survey, "without_unknown", lambda self, _leased: self)
    vm = Vm("ref", "vm", "web", "Halted", (), None, None, None, None, {})
    now = PoolState("pool", "ref-1", {}, {}, {}, {"vm": vm})
    monkeypatch.setattr(state, "read", lambda _xapi, _pool: now)
    call: Any = locked.Call(master, None, None, POOL, "vm", "a test")  # type: ignore[arg-type]
    with locked.work(call, ()) as at:
        assert at.surveyed is (NOBODY if asks_again else told)
    assert asked == ([told] if asks_again else [])
