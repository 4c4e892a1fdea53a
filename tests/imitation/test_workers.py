"""The threads of an imitated xapi: what they do is waited for, and none is left."""

import threading
from typing import List

import pytest
from workers import Workers


def test_each_has_a_thread_of_that_name_while_it_is_at_work() -> None:
    workers, all_there, names = Workers(), threading.Barrier(3), []

    def work(text: str) -> None:
        all_there.wait(60)
        names.append(f"{threading.current_thread().name} {text}")

    for _ in range(3):  # the second and third time by the threads of the first
        for text in ("one", "two", "three"):
            workers.start("call", work, text)
        workers.wait()
    assert sorted(names) == ["call one"] * 3 + ["call three"] * 3 + ["call two"] * 3


def test_thread_that_has_done_its_work_does_more() -> None:
    workers, threads, done = Workers(), [], threading.Semaphore(0)

    def work() -> None:
        threads.append(threading.current_thread())
        done.release()

    for _ in range(20):
        workers.start("call", work)
        assert done.acquire(timeout=60)
    names = {thread.name for thread in threads}
    workers.wait()
    assert len(set(threads)) < 20
    assert names <= {"call", "idle"}
    assert not any(thread.is_alive() for thread in threads)


def test_work_that_is_started_by_work_is_waited_for() -> None:
    workers, done, go = Workers(), [], threading.Event()

    def work(depth: int) -> None:
        go.wait(60)
        if depth:
            workers.start("call", work, depth - 1)
        done.append(depth)

    workers.start("call", work, 5)
    go.set()
    workers.wait()
    assert sorted(done) == [0, 1, 2, 3, 4, 5]


def test_work_that_fails_is_told_and_over(monkeypatch: pytest.MonkeyPatch) -> None:
    workers, told = Workers(), threading.Semaphore(0)
    done: List[str] = []
    failures: List[str] = []

    def failed(failure: "threading.ExceptHookArgs") -> None:
        failures.append(repr(failure.exc_value))
        told.release()

    def fail() -> None:
        raise ValueError("no")

    monkeypatch.setattr(threading, "excepthook", failed)
    workers.start("call", fail)
    assert told.acquire(timeout=60)
    workers.start("call", done.append, "after it")
    workers.wait()
    assert (failures, done) == (["ValueError('no')"], ["after it"])
