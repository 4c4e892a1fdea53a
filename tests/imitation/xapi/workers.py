"""The threads that work for a xapi: those that answer its callers, and those of its tasks."""

import threading
from typing import Any, Callable, Set


class Workers:
    """Whoever closes the xapi can wait for their ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work: Set[threading.Thread] = set()

    def start(self, name: str, work: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            try:
                work(*arguments)
            finally:
                with self._lock:
                    self._at_work.discard(threading.current_thread())

        # a daemon: one that waits keeps a program alive that does not close its xapi
        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            self._at_work.add(thread)
            thread.start()

    def wait(self) -> None:
        """Until none is at work, nor those that they have started."""
        while True:
            with self._lock:
                threads = list(self._at_work)
            if not threads:
                return
            for thread in threads:
                thread.join()
