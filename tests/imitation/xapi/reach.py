"""Which hosts the master reaches: one may hang, be cut off, or be gone before anybody has noticed.

Facts from xen-api, ocaml/xapi/message_forwarding.ml: a call is forwarded to any host that counts as live;
a connection that fails is CANNOT_CONTACT_HOST; one that is taken and never answered keeps the caller waiting.
"""

import threading
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Set

from values import Failure


class Reach:
    """How each host answers. What it is not told of answers as it should."""

    def __init__(self) -> None:
        self._gone: Set[str] = set()
        self._hanging: Dict[str, threading.Event] = {}
        self._at_work: Dict[str, Set[Any]] = {}  # programs.Process, or what is like one
        self._left: Dict[str, List[Any]] = {}  # those that have ended, and whose children have not
        self._over = False
        self.clocks: Dict[str, float] = {}  # of hosts whose clock is wrong: how many seconds ahead

    @property
    def over(self) -> bool:
        return self._over

    def answers(self, host: str) -> bool:
        return host not in self._gone and not self._over

    def contact(self, host: str) -> None:
        """Returns when the host answers; raises CANNOT_CONTACT_HOST if it is gone."""
        if host in self._hanging:
            self._hanging[host].wait()
        if not self.answers(host):
            raise Failure("CANNOT_CONTACT_HOST", host)

    @contextmanager
    def at_work(self, host: str, process: Any) -> Iterator[None]:
        """While a program of the host runs for a call; CANNOT_CONTACT_HOST if the host is gone by its end."""
        running = self._at_work.setdefault(host, set())
        running.add(process)
        if not self.answers(host):  # while the program was being started
            process.end()
        try:
            yield
        finally:
            if process.left:
                self._left.setdefault(host, []).append(process)
            running.discard(process)
        if not self.answers(host):
            raise Failure("CANNOT_CONTACT_HOST", host)

    def programs(self, host: str) -> List[Any]:
        """Plugins and hooks that run there now."""
        return list(self._at_work.get(host, ()))

    def lose(self, host: str) -> None:
        self._gone.add(host)
        self._end_programs(host)
        self.let_go(host)

    def find_again(self, host: str) -> None:
        self._gone.discard(host)

    def hang(self, host: str) -> None:
        self._hanging.setdefault(host, threading.Event())

    def let_go(self, host: str) -> None:
        """The host answers again, and those who waited for it first."""
        waiting = self._hanging.pop(host, None)
        if waiting is not None:
            waiting.set()

    def end(self) -> None:
        """No host answers any more, and all programs end. Who waited for one is told."""
        self._over = True
        for host in list(self._hanging):
            self.let_go(host)
        for host in list(self._at_work):
            self._end_programs(host)

    def wait_for_the_rest(self) -> None:
        """After `end`, when nobody starts programs any more: until what they have left behind is gone."""
        for processes in self._left.values():
            for process in processes:
                process.end()
                process.wait_for_the_rest()

    def _end_programs(self, host: str) -> None:
        for process in [*self._at_work.get(host, ()), *self._left.get(host, ())]:
            process.end()
