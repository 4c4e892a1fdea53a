"""What has changed in the database, and since when: what event.from is made of.

Imitates events.json: a generation counts every change of every object; of an object that came and went
between two looks nothing is left but that something happened.
"""

import threading
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

Wanted = Callable[[str, str], bool]  # class and reference


class News(NamedTuple):
    """Objects by class and reference. `happened` is true even if all of it has gone again."""

    added: List[Tuple[str, str]]
    changed: List[Tuple[str, str]]
    gone: List[Tuple[str, str]]
    happened: bool


class Changes:
    """To be used with the database's lock held; `news` is notified of every change."""

    def __init__(self, lock: Any) -> None:
        self.news = threading.Condition(lock)
        self.generation = 0
        self._made: Dict[Tuple[str, str], int] = {}
        self._changed: Dict[Tuple[str, str], int] = {}
        self._gone: List[Tuple[int, int, Tuple[str, str]]] = []  # made, gone, which

    def made(self, class_name: str, ref: str) -> None:
        self._made[class_name, ref] = self._changed[class_name, ref] = self._next()

    def changed(self, class_name: str, ref: str) -> None:
        self._changed[class_name, ref] = self._next()

    def gone(self, class_name: str, ref: str) -> None:
        which = class_name, ref
        del self._changed[which]
        self._gone.append((self._made.pop(which), self._next(), which))

    def _next(self) -> int:
        self.generation += 1
        self.news.notify_all()
        return self.generation

    def since(self, generation: int, wanted: Wanted) -> News:
        later = {which: at for which, at in self._changed.items() if at > generation and wanted(*which)}
        ended = [(made, which) for made, gone, which in self._gone if gone > generation and wanted(*which)]
        added = [which for which in later if self._made[which] > generation]
        changed = [which for which in later if self._made[which] <= generation]
        gone = [which for made, which in ended if made <= generation]
        return News(added, changed, gone, bool(later or ended))
