"""Waits that take a tenth of their time, in this process and in the programs of dom0 that it starts.

In a hurry time.monotonic() runs ten times as fast, and time.sleep() and the timeouts of sockets and commands
end ten times as soon: the order of what happens stays, and a wait of ten seconds takes one. The clock never
goes back: once it has been fast it stays ahead, for notes in /run have times of it. time.time() is the box's
(clock.py).
"""

import time
from contextlib import contextmanager
from typing import Dict, Iterator

RATE = 10.0

_real, _sleep = time.monotonic, time.sleep


def real() -> float:
    """time.monotonic() as it is without hurry: who waits for a machine that may be slow goes by it."""
    return _real()


class _Clock:
    """time.monotonic() is `ahead + rate * real`."""

    ahead, rate = 0.0, 1.0

    def monotonic(self) -> float:
        return self.ahead + self.rate * _real()

    def sleep(self, seconds: float) -> None:
        _sleep(seconds / self.rate)

    def run_at(self, rate: float) -> None:
        self.ahead += (self.rate - rate) * _real()
        self.rate = rate


_clock = _Clock()


def environment() -> Dict[str, str]:
    """What tells a program of it (dom0/sitecustomize.py)."""
    if (_clock.ahead, _clock.rate) == (0.0, 1.0):
        return {}
    return {"POOL_IN_A_BOX_HURRY": f"{_clock.ahead!r} {_clock.rate!r}"}


@contextmanager
def hurry() -> Iterator[None]:
    time.monotonic, time.sleep = _clock.monotonic, _clock.sleep
    _clock.run_at(RATE)
    try:
        yield
    finally:
        _clock.run_at(1.0)
