"""The pool's database: rows of the classes of fields.json, by reference; the failures it has are xapi's.

Values are never changed in place, only replaced: what was read stays as it was read.
"""

import copy
import threading
import time
import uuid
import weakref
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import query
from generations import Generations
from schema import CLASSES
from values import Failure, internal_error

Record = Dict[str, Any]
EVENTS = "xapi events"  # the threads that look at what was written


class Flushed(NamedTuple):
    """A database that was written to disk (xen-api: ocaml/database/db_connections.ml, after each few seconds
    with writes)."""

    tables: Dict[str, Dict[str, Record]]
    generations: Generations


def new_ref() -> str:
    return f"OpaqueRef:{uuid.uuid4()}"


_LIVE: "weakref.WeakSet[Database]" = weakref.WeakSet()


@contextmanager
def all_still() -> Iterator[None]:
    """Meanwhile nothing is written, and no xapi is at an event that it has seen: a process that is forked now
    finds no lock that a thread holds which it does not have."""
    while True:
        with ExitStack() as held:
            for one in list(_LIVE):
                held.enter_context(one.lock)
            if not any(thread.name == EVENTS for thread in threading.enumerate()):
                yield
                return
        time.sleep(0.01)


class Database:
    """All rows of all classes; every method is atomic, and callers of several methods may hold `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        _LIVE.add(self)
        self._tables: Dict[str, Dict[str, Record]] = {name: {} for name in CLASSES}
        self._indexes: Dict[str, Dict[str, Dict[str, List[str]]]] = {name: {} for name in CLASSES}
        self.generations = Generations()
        self.watch: Callable[[str, str], object] = lambda _class_name, _ref: None  # of what was written

    # -- rows ------------------------------------------------------------------------------------

    def create(self, class_name: str, values: Record, ref: Optional[str] = None) -> str:
        """A new object of these values and the defaults of fields.json; its reference."""
        fields = CLASSES[class_name]
        unknown = [name for name in values if name not in fields or fields[name].inverse_of]
        if unknown:
            raise ValueError(f"{class_name} stores no field {', '.join(unknown)}")
        row = {field.name: field.default for field in fields.values() if not field.inverse_of}
        row["uuid"] = str(uuid.uuid4())
        row.update(values)
        ref = ref or new_ref()
        with self.lock:
            self._tables[class_name][ref] = row
            self._indexes[class_name].clear()
            self.generations.created(class_name, ref, row)
        return ref

    def destroy(self, class_name: str, ref: str) -> None:
        with self.lock:
            row = self._row(class_name, ref)
            del self._tables[class_name][ref]
            self._indexes[class_name].clear()
            self.generations.destroyed(class_name, ref, row)

    def exists(self, class_name: str, ref: str) -> bool:
        return ref in self._tables[class_name]

    def refs(self, class_name: str) -> List[str]:
        with self.lock:
            return list(self._tables[class_name])

    def counts(self) -> Dict[str, int]:
        """How many objects each class has."""
        with self.lock:
            return {class_name: len(table) for class_name, table in self._tables.items()}

    def _row(self, class_name: str, ref: str) -> Record:
        try:
            return self._tables[class_name][ref]
        except KeyError:
            raise Failure("HANDLE_INVALID", class_name, ref) from None

    def flushed(self) -> "Flushed":
        """What is on disk, if it is written now."""
        with self.lock:
            return Flushed(_copied(self._tables), copy.deepcopy(self.generations))

    def go_back_to(self, flushed: "Flushed") -> None:
        """xapi was killed, and starts with what was on disk; what was written since is lost."""
        with self.lock:
            self._tables = _copied(flushed.tables)
            self._indexes = {name: {} for name in CLASSES}
            self.generations = copy.deepcopy(flushed.generations)

    # -- reading ---------------------------------------------------------------------------------

    def get(self, class_name: str, ref: str, field: str) -> Any:
        with self.lock:
            row = self._row(class_name, ref)
            known = CLASSES[class_name][field]
            return list(self._index(*known.inverse_of).get(ref, ())) if known.inverse_of else row[field]

    def record(self, class_name: str, ref: str) -> Record:
        with self.lock:
            self._row(class_name, ref)
            return self.records(class_name, [ref])[ref]

    def records(self, class_name: str, refs: List[str]) -> Dict[str, Record]:
        """The whole records of these objects, fields in the order of fields.json."""
        with self.lock:
            fields = CLASSES[class_name].values()
            inverses = {one.name: self._index(*one.inverse_of) for one in fields if one.inverse_of}
            table = self._tables[class_name]
            return {
                ref: {
                    field.name: list(inverses[field.name].get(ref, ()))
                    if field.inverse_of
                    else table[ref][field.name]
                    for field in fields
                }
                for ref in refs
            }

    def _index(self, class_name: str, field: str) -> Dict[str, List[str]]:
        """The objects that have each value of a stored field, a text, in the order of their table. Kept until
        a write that may change it. The lists are the index's own."""
        index = self._indexes[class_name].get(field)
        if index is None:
            index = {}
            for ref, row in self._tables[class_name].items():
                index.setdefault(row[field], []).append(ref)
            self._indexes[class_name][field] = index
        return index

    def by_uuid(self, class_name: str, wanted: str) -> str:
        with self.lock:
            refs = self._index(class_name, "uuid").get(wanted)
        if not refs:
            raise Failure("UUID_INVALID", class_name, wanted)
        return refs[0]

    def by_name_label(self, class_name: str, name: str) -> List[str]:
        with self.lock:
            return list(self._index(class_name, "name_label").get(name, ()))

    def find(self, class_name: str, **wanted: Any) -> List[str]:
        """The objects whose stored fields have these values."""
        with self.lock:
            return [
                ref
                for ref, row in self._tables[class_name].items()
                if all(row[field] == value for field, value in wanted.items())
            ]

    def where(self, class_name: str, expression: str) -> List[str]:
        """The objects for which a query's expression is true."""
        condition = query.parse(expression)
        fields = {field.stored_as: field for field in CLASSES[class_name].values()}

        def matches(row: Record) -> bool:
            def text(name: str) -> str:
                if name in fields:
                    return _text(row.get(fields[name].name, []))
                if class_name == "message":
                    return ""  # messages are no rows: an unknown field equals nothing
                raise Failure("INTERNAL_ERROR", "missing field", name, "")

            return condition(text)

        with self.lock:
            return [ref for ref, row in self._tables[class_name].items() if matches(row)]

    # -- writing ---------------------------------------------------------------------------------

    def set(self, class_name: str, ref: str, field: str, value: Any) -> None:
        with self.lock:
            row = self._row(class_name, ref)
            before, row[field] = row[field], value
            self._indexes[class_name].pop(field, None)
            self.generations.written(class_name, ref, field, before, value)
            self.watch(class_name, ref)

    def add_to(self, class_name: str, ref: str, field: str, key: str, value: Any) -> None:
        """A new key in a map. A key that is there is refused, so one of several racers wins (maps.json)."""
        with self.lock:
            row = self._row(class_name, ref)
            if not key:
                raise internal_error("Db_exn.Empty_key_in_map")
            if key in row[field]:
                raise Failure("MAP_DUPLICATE_KEY", class_name, field, ref, key)
            row[field] = {key: value, **row[field]}
            self.generations.written(class_name, ref)
            self.watch(class_name, ref)

    def remove_from(self, class_name: str, ref: str, field: str, key: str) -> None:
        with self.lock:
            row = self._row(class_name, ref)
            row[field] = {name: value for name, value in row[field].items() if name != key}
            self.generations.written(class_name, ref)
            self.watch(class_name, ref)


def _copied(tables: Dict[str, Dict[str, Record]]) -> Dict[str, Dict[str, Record]]:
    return {name: {ref: dict(row) for ref, row in rows.items()} for name, rows in tables.items()}


def _text(value: Any) -> str:
    """A value as the database writes it and queries compare it: `true`, `-1`, `(('key' 'value'))`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "(" + " ".join(_quoted(item) for item in value) + ")"
    if isinstance(value, dict):
        return "(" + " ".join(f"({_quoted(key)} {_quoted(item)})" for key, item in value.items()) + ")"
    return str(value)


def _quoted(value: Any) -> str:
    return "'" + _text(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
