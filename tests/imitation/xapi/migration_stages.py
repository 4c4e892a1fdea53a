"""Where a migration can be held by a test, and what may happen to it there."""

import threading
from contextlib import contextmanager
from typing import Dict, Iterator, NamedTuple, Set

# In their order. `copy`: the guest runs at the source, its memory is being copied. `suspended`: it runs
# nowhere; the source has all that is needed to forget it. `plugged`: the destination has given it its
# devices, and has not unpaused it. `arrived`: it runs at the destination, and xapi does not know yet.
STAGES = ("copy", "suspended", "plugged", "arrived")


class Happened(NamedTuple):
    """What a test has done meanwhile, beside what is to be seen elsewhere (lost hosts, cancelled tasks)."""

    fails: str = ""  # the copy does, for this reason
    guest: str = ""  # `reboot` or `shutdown`, by itself


class Held:
    """A migration that waits, or will."""

    def __init__(self) -> None:
        self._here = threading.Event()
        self._goes_on = threading.Event()
        self.happened = Happened()

    def wait(self, seconds: float = 60.0) -> None:
        """Until it is there."""
        assert self._here.wait(seconds), "the migration does not come so far"

    def fail(self, reason: str = "xenguest Connection reset by peer") -> None:
        self.happened = Happened(fails=reason)

    def guest_reboots(self) -> None:
        self.happened = Happened(guest="reboot")

    def guest_shuts_down(self) -> None:
        self.happened = Happened(guest="shutdown")

    def go_on(self) -> None:
        self._goes_on.set()

    def pass_by(self) -> Happened:
        self._here.set()
        self._goes_on.wait()
        return self.happened


class Stages:
    def __init__(self) -> None:
        self._held: Dict[str, Held] = {}
        self._waiting: Set[Held] = set()

    @contextmanager
    def held_at(self, stage: str) -> Iterator[Held]:
        """The next migration that comes there waits until the end of this, or until it may go on, or a
        host is lost."""
        if stage not in STAGES:
            raise ValueError(stage)
        held = self._held[stage] = Held()
        try:
            yield held
        finally:
            self._held.pop(stage, None)
            held.go_on()

    def reach(self, stage: str) -> Happened:
        held = self._held.pop(stage, None)
        if held is None:
            return Happened()
        self._waiting.add(held)
        try:
            return held.pass_by()
        finally:
            self._waiting.discard(held)

    def let_go(self) -> None:
        """All that wait."""
        for held in list(self._waiting):
            held.go_on()
