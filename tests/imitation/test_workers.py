"""The threads of an imitated xapi: what they do is waited for, and none is left."""

import inspect
import os
import subprocess
import sys
import threading

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


FAILING = """
import queue, threading
from workers import Workers

workers, threads, done = Workers(), queue.Queue(), []

def fail():
    threads.put(threading.current_thread())
    raise ValueError("no")

workers.start("call", fail)
threads.get(timeout=60).join()
workers.start("call", done.append, "after it")
workers.wait()
print(done)
"""


def test_work_that_fails_is_told_and_over() -> None:
    """In a program of its own: pytest catches what threads tell."""
    folder = os.path.dirname(inspect.getfile(Workers))
    program = subprocess.run(
        [sys.executable, "-c", FAILING],
        env={**os.environ, "PYTHONPATH": folder},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=60,
    )
    assert (program.returncode, program.stdout) == (0, "['after it']\n")
    assert "ValueError: no" in program.stderr
