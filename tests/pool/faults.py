"""Ending a call in its middle: as kill -9 or a power cut would (`ended_at`), or a full disk (`full_at`)."""

import errno
import os
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List

import database
import pytest
from machine import Machine

# Everything that can change something goes through one of these; each call of one is a place to cut.
_STEPS = ("open", "write", "fchmod", "fsync", "rename", "unlink", "close")


@contextmanager
def _counted(act: Callable[[int, str], None]) -> Iterator[List[int]]:
    """Calls `act(number, name)` before each step; the list holds how many there were."""
    count = [0]
    with pytest.MonkeyPatch.context() as patch:
        for name in _STEPS:
            real = getattr(os, name)

            def step(*args: Any, _real: Any = real, _name: str = name, **keywords: Any) -> Any:
                if not Machine.at_work:  # what the imitated kernel and commands do is not cut
                    count[0] += 1
                    act(count[0], _name)
                return _real(*args, **keywords)

            patch.setattr(os, name, step)
        yield count


def ended_at(number: int, call: Callable[[], Any]) -> bool:
    """Does `call` in a process of its own that ends at its step `number`; whether it came that far."""
    with database.all_still():
        child = os.fork()
    if child == 0:
        with _counted(lambda now, _name: os._exit(9) if now == number else None):
            call()
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status)
    assert os.WEXITSTATUS(status) in (0, 9)
    return os.WEXITSTATUS(status) == 9


@contextmanager
def full_at(number: int) -> Iterator[List[int]]:
    """From the step `number` on the disk is full: a write or a new file gets ENOSPC."""

    def act(now: int, name: str) -> None:
        if now == number and name in ("write", "fsync", "rename"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with _counted(act) as count:
        yield count
