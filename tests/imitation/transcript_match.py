"""Compares what was answered with what a transcript says: symbols, `*`, sets, as its README tells."""

import re
import uuid
from typing import Any, Dict, List, Match, Optional

_NAME = (  # $vm, $vm.uuid, $pci(0000:04:00.0), and sessions by their roles
    r"\$(?:(?:read-only|vm-operator|vm-power-admin|vm-admin|pool-operator|pool-admin)(?!\))"
    r"|[A-Za-z_]\w*(?:\([\w:.-]+\))?(?:\.uuid)?)"
)
# A symbol, a wildcard, that many letters, some task.
_TOKEN = re.compile(_NAME + r"|\*|<(\d+) times (.)>|<a task>|<(\$[\w.]+) in upper case>")
_SYMBOL = re.compile(_NAME)
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
            return _TOKEN.sub(self._value, value)
        if isinstance(value, list):
            return [self.given(item) for item in value]
        if isinstance(value, dict):
            return {self.given(key): self.given(item) for key, item in value.items()}
        return value

    def _value(self, token: Match[str]) -> str:
        text = token.group()
        count, letter, lower = token.groups()
        if count:
            return letter * int(count)
        if lower:
            return self.known[lower].upper()
        if text.startswith("$"):
            return self.known.setdefault(text, f"OpaqueRef:{uuid.uuid4()}")
        return text

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
        if self._is_plain(expected):
            if self.given(expected) != answered:
                raise Mismatch(f"{_short(expected)} was recorded, {_short(answered)} was answered")
            return
        pattern: List[str] = []
        groups: Dict[str, str] = {}
        position = 0
        for token in _TOKEN.finditer(expected):
            pattern.append(re.escape(expected[position : token.start()]))
            position = token.end()
            text = token.group()
            if text in ("*", "<a task>"):
                pattern.append(".*?")
            elif text.startswith("$") and text not in self.known:
                group = groups.setdefault(text, f"s{len(groups)}")
                again = any(f"<{group}>" in part for part in pattern)
                pattern.append(f"(?P={group})" if again else f"(?P<{group}>[\\w:-]+(?:,\\d+)?)")
            else:
                pattern.append(re.escape(self._value(token)))
        pattern.append(re.escape(expected[position:]))
        match = re.fullmatch("".join(pattern), answered, re.DOTALL)
        if match is None:
            raise Mismatch(f"{_short(expected)} was recorded, {_short(answered)} was answered")
        for symbol, group in groups.items():
            self.known[symbol] = match.group(group)

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
        keys = {self._key(key, expected[key], answered): key for key in expected}
        if "<a task>" in keys and len(answered) == 1:
            keys = {next(iter(answered)): "<a task>"}
        if set(keys) != set(answered):
            different = sorted(set(keys) ^ set(answered))
            raise Mismatch(f"the keys {', '.join(different)} are in one map only")
        for key, symbol in keys.items():
            try:
                self.expect(expected[symbol], answered[key], key)
            except Mismatch as mismatch:
                raise Mismatch(f"{symbol}: {mismatch}") from None

    def _key(self, key: str, value: Any, answered: Dict[str, Any]) -> str:
        """The answer's key that `key` stands for: an unknown symbol is known by its value."""
        if key in self.known or not self._is_unknown(key):
            return self.known.get(key, key)
        for candidate in answered:
            if candidate not in self.known.values():
                before = dict(self.known)
                try:
                    self.expect(value, answered[candidate])
                except Mismatch:
                    self.known = before
                else:
                    self.known[key] = candidate
                    return candidate
        return key

    def _is_plain(self, text: str) -> bool:
        """Whether all of its symbols are known, and nothing in it stands for whatever there is."""
        tokens = [token.group() for token in _TOKEN.finditer(text)]
        return all(
            token in self.known if token.startswith("$") else token not in ("*", "<a task>")
            for token in tokens
        )

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
