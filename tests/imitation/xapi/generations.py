"""When each object was made, last written and destroyed, by the database's count of writes: what events are
made of.

As xapi's database keeps it (xen-api: ocaml/database/db_cache_types.ml, Table, add_row, set_field,
remove_row). A write of a reference, and an object that has one, also writes the object at its other end,
which has a set of them. Of destroyed objects the last few hundred are known, and none any more after a
restart: the file that the database is read from then has the living ones with their stamps (db_xml.ml).
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from schema import CLASSES

MOST_DESTROYED, LEFT = 512, 256  # so many with the first one, of generation 0; then so many are kept


class Stamp(NamedTuple):
    created: int
    modified: int


class Destroyed(NamedTuple):
    created: int
    at: int
    ref: str


def _other_ends() -> Dict[str, Dict[str, str]]:
    """Class and field of a reference -> the class that has a set of what refers to it."""
    found: Dict[str, Dict[str, str]] = {name: {} for name in CLASSES}
    for name, fields in CLASSES.items():
        for field in fields.values():
            if field.inverse_of:
                class_name, reference = field.inverse_of
                found[class_name][reference] = name
    return found


_OTHER_ENDS = _other_ends()


class Generations:
    """Its callers hold the database's lock."""

    def __init__(self) -> None:
        self.now = 1
        self.stamps: Dict[str, Dict[str, Stamp]] = {name: {} for name in CLASSES}
        self.destroyed_of: Dict[str, List[Destroyed]] = {name: [Destroyed(0, 0, "")] for name in CLASSES}

    def created(self, class_name: str, ref: str, row: Mapping[str, Any]) -> None:
        self.stamps[class_name][ref] = Stamp(self.now, self.now)
        self._touch_other_ends(class_name, row)
        self.now += 1

    def written(
        self, class_name: str, ref: str, field: str = "", before: Any = None, after: Any = None
    ) -> None:
        """`field` with its values is needed where it is a reference."""
        self._touch(class_name, ref)
        other = _OTHER_ENDS[class_name].get(field)
        if other is not None:
            self._touch(other, before)
            self._touch(other, after)
        self.now += 1

    def destroyed(self, class_name: str, ref: str, row: Mapping[str, Any]) -> None:
        known = self.destroyed_of[class_name]
        kept = known if len(known) + 1 < MOST_DESTROYED else known[:LEFT]
        created = self.stamps[class_name].pop(ref).created
        self.destroyed_of[class_name] = [Destroyed(created, self.now, ref), *kept]
        self._touch_other_ends(class_name, row)
        self.now += 1

    def restarted(self) -> None:
        """xapi's process is another one."""
        self.destroyed_of = {name: [Destroyed(0, 0, "")] for name in CLASSES}

    def _touch(self, class_name: str, ref: str) -> None:
        stamp = self.stamps[class_name].get(ref)
        if stamp is not None:
            self.stamps[class_name][ref] = stamp._replace(modified=self.now)

    def _touch_other_ends(self, class_name: str, row: Mapping[str, Any]) -> None:
        for field, other in _OTHER_ENDS[class_name].items():
            self._touch(other, row[field])

    # -- what events ask for -----------------------------------------------------------------------

    def since(self, class_name: str, generation: int) -> List[Tuple[str, Stamp]]:
        """The objects that were written after it."""
        return [item for item in self.stamps[class_name].items() if item[1].modified > generation]

    def destroyed_since(self, class_name: str, generation: int) -> List[Destroyed]:
        """Those that were there at that generation and are gone, as far as that is known."""
        found = []
        for one in self.destroyed_of[class_name]:  # the last first
            if one.at > generation >= one.created:
                found.append(one)
            if one.at <= generation:
                break
        return found
