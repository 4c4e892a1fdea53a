"""Compares what was answered with what a transcript says: symbols, `*`, sets, as its README tells."""

import re
import uuid
from typing import Any, Dict, List, Match, Optional

_SYMBOL = re.compile(r"\$[A-Za-z_]\w*(?:\.uuid)?")
_TOKEN = re.compile(rf"({_SYMBOL.pattern}|\*)")
_ENUMERATIONS = {"allowed_operations"}  # sets whose members are no references


class Mismatch(Exception):
    """What was answered is not what was recorded."""


class Symbols:
    """What the symbols of one transcript stand for, as far as it is known."""

    def __init__(self, known: Dict[str, str]) -> None:
        self.known = dict(known)

    def given(self, value: Any) -> Any:
        """A parameter with the values of its symbols; an unknown one stands for nothing that exists."""
        if isinstance(value, str):
            return _SYMBOL.sub(self._value, value)
        if isinstance(value, list):
            return [self.given(item) for item in value]
        if isinstance(value, dict):
            return {self.given(key): self.given(item) for key, item in value.items()}
        return value

    def _value(self, symbol: Match[str]) -> str:
        return self.known.setdefault(symbol.group(), f"OpaqueRef:{uuid.uuid4()}")

    def expect(self, expected: Any, answered: Any, field: str = "") -> None:
        """Raises Mismatch, or makes known what unknown symbols stand for."""
        if expected == "*":
            return
        if isinstance(expected, str) and isinstance(answered, str):
            self._expect_text(expected, answered)
        elif isinstance(expected, list) and isinstance(answered, list):
            if _is_set(expected, field):
                self._expect_set(expected, answered)
            else:
                self._expect_sequence(expected, answered)
        elif isinstance(expected, dict) and isinstance(answered, dict):
            self._expect_map(expected, answered)
        elif type(expected) is not type(answered) or expected != answered:
            raise Mismatch(f"{expected!r} was recorded, {answered!r} was answered")

    def _expect_text(self, expected: str, answered: str) -> None:
        if self._is_unknown(expected):
            self.known[expected] = answered
            return
        unknown: List[str] = []
        parts = []
        for part in _TOKEN.split(expected):
            if part == "*":
                parts.append(".*?")
            elif self._is_unknown(part):
                parts.append(r"([\w:-]+)")
                unknown.append(part)
            else:
                parts.append(re.escape(self.known.get(part, part)))
        match = re.fullmatch("".join(parts), answered, re.DOTALL)
        if match is None:
            raise Mismatch(f"{_short(expected)} was recorded, {_short(answered)} was answered")
        self.known.update(zip(unknown, match.groups()))

    def _expect_sequence(self, expected: List[Any], answered: List[Any]) -> None:
        if len(expected) != len(answered):
            raise Mismatch(f"{expected} was recorded, {_short(answered)} was answered")
        for one, other in zip(expected, answered):
            self.expect(one, other)

    def _expect_set(self, expected: List[str], answered: List[Any]) -> None:
        """The known members must be there; the unknown ones stand for the others, in any order."""
        known = [self.known.get(item, item) for item in expected if not self._is_unknown(item)]
        others = [item for item in answered if item not in known]
        unknown = [item for item in expected if self._is_unknown(item)]
        if len(answered) != len(expected) or len(others) != len(unknown):
            raise Mismatch(f"{expected} was recorded, {_short(answered)} was answered")
        self._expect_sequence(unknown, others)

    def _expect_map(self, expected: Dict[str, Any], answered: Dict[str, Any]) -> None:
        keys = {self.known.get(key, key): key for key in expected}
        if set(keys) != set(answered):
            different = sorted(set(keys) ^ set(answered))
            raise Mismatch(f"the keys {', '.join(different)} are in one map only")
        for key, symbol in keys.items():
            try:
                self.expect(expected[symbol], answered[key], key)
            except Mismatch as mismatch:
                raise Mismatch(f"{symbol}: {mismatch}") from None

    def _is_unknown(self, text: Any) -> bool:
        return isinstance(text, str) and bool(_SYMBOL.fullmatch(text)) and text not in self.known


def _is_set(expected: List[Any], field: str) -> bool:
    references = [isinstance(item, str) and item.startswith(("$", "OpaqueRef:")) for item in expected]
    return field in _ENUMERATIONS or (bool(expected) and all(references))


def _short(value: Any, width: int = 400) -> str:
    text = repr(value)
    return text if len(text) <= width else f"{text[:width]}... ({len(text)} characters)"


def cut(record: Any, only_fields: Optional[List[str]], many: bool) -> Any:
    """A record, or each of a map of records, cut down to these fields."""
    if only_fields is None:
        return record
    if many:
        return {ref: cut(one, only_fields, False) for ref, one in record.items()}
    return {name: value for name, value in record.items() if name in only_fields}


def cut_events(result: Any, expected: Any, known: Dict[str, str]) -> Any:
    """What event.from answered, like what was recorded of it: of all that there is (`known` refs alone), or
    of all that has changed, events by their operations, with some fields of their snapshots."""
    recorded = sorted(expected["events"], key=_operation)
    refs = [known.get(event["ref"]) for event in recorded]
    events = sorted(result["events"], key=_operation)
    if None not in refs and any(event["operation"] == "add" for event in recorded):
        events = [event for event in events if event["ref"] in refs]
    return {
        "events": [like(*pair) for pair in zip(recorded, events)] + events[len(recorded) :],
        "token": result["token"],
    }


def _operation(event: Dict[str, str]) -> str:
    return event["operation"]


def like(expected: Any, seen: Any) -> Any:
    """What was seen, without what was not recorded of it."""
    if isinstance(expected, dict) and isinstance(seen, dict):
        return {key: like(expected[key], value) for key, value in seen.items() if key in expected}
    return seen
