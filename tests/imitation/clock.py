"""The time that the pool in a box believes it to be: the real one, and what a test lets pass at once.

xapi's own waits go by it, and `time.time()` in every program of dom0 that is started afterwards.
"""

import os
import threading
import time
from typing import Optional


class Clock:
    """Ahead of the real time by the seconds that have been let pass. `path` tells programs of dom0."""

    def __init__(self, path: Optional[str] = None) -> None:
        self.path = path
        self._ahead = 0.0
        self._lock = threading.Lock()  # two hosts may boot at once

    def now(self) -> float:
        return time.time() + self._ahead

    def pass_seconds(self, seconds: float) -> None:
        with self._lock:
            self._ahead += seconds
            if self.path is not None:
                with open(self.path + ".new", "w") as file:
                    file.write(str(self._ahead))
                os.rename(self.path + ".new", self.path)
