"""The threads that work for a xapi: those that answer its callers, and those of its tasks."""

import threading
from functools import partial
from typing import Any, Callable, List, Optional

IDLE = "idle"


class Workers:
    """Whoever closes the xapi can wait for the ends of what they do. A thread that has done its work is kept
    for more: most of it is so short that a new thread takes as long."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._at_work = 0
        self._idle: List[_Worker] = []

    def start(self, name: str, work: Callable[..., None], *arguments: Any) -> None:
        """In a thread that has this name meanwhile."""
        with self._changed:
            worker = self._idle.pop() if self._idle else _Worker(self._ended)
            self._at_work += 1
        worker.give(name, partial(work, *arguments))

    def _ended(self, idle: "List[_Worker]") -> None:
        with self._changed:
            self._at_work -= 1
            self._idle += idle
            self._changed.notify_all()

    def wait(self) -> None:
        """Until none is at work, nor those that they have started. No thread is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._at_work == 0)
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()


class _Worker:
    def __init__(self, ended: Callable[[List["_Worker"]], None]) -> None:
        """`ended` is told of the end of each work, with a list of this one if it can do more."""
        self._ended = ended
        self._work: Optional[Callable[[], None]] = None
        self._given = threading.Lock()  # open when there is work, or none any more
        self._given.acquire()
        # a daemon: one that waits keeps a program alive that does not close its xapi
        self._thread = threading.Thread(target=self._run, name=IDLE, daemon=True)
        self._thread.start()

    def give(self, name: str, work: Callable[[], None]) -> None:
        self._thread.name = name
        self._work = work
        self._given.release()

    def end(self) -> None:
        """Without work."""
        self._given.release()
        self._thread.join()

    def _run(self) -> None:
        while self._given.acquire() and self._work is not None:
            able = []
            try:
                self._work()
                able = [self]  # the thread ends with an exception, which is told as any thread's
            finally:
                self._work = None
                self._thread.name = IDLE
                self._ended(able)
