"""JSON text that is read while it arrives, so that the elements of a long array are in memory one by one."""

import codecs
import json
from typing import Any, Callable, Dict, Iterable

_DECODER = json.JSONDecoder()
_BLANKS = " \t\n\r"
_ENDS = set(_BLANKS) | set(",:]}")  # what may follow a value


class Arriving:
    """A text in UTF-8 that comes in pieces. What reads it raises ValueError where it is not JSON, or not what
    was expected, and whatever the pieces raise."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._text = ""
        self._at = 0  # in it: what stands before was read

    def struct(self, inner: str, member: str, take: Callable[[Any], object]) -> Dict[str, Any]:
        """The whole text, an object. In its object `inner` the array `member` is left out: `take` gets each
        of its elements."""
        found = self._object({inner: lambda: self._object({member: lambda: self._array(take)})})
        if self._next():
            raise ValueError("more than one value")
        return found

    def _object(self, special: Dict[str, Callable[[], Any]]) -> Dict[str, Any]:
        """An object; what is `special` in it is read in its own way, and left out where that returns None."""
        self._expect("{")
        found: Dict[str, Any] = {}
        if self._next() == "}":
            self._at += 1
            return found
        while True:
            name = self._value()
            self._expect(":")
            value = special.get(name, self._value)()
            if value is not None or name not in special:
                found[name] = value
            if self._expect(",}") == "}":
                return found

    def _array(self, take: Callable[[Any], object]) -> None:
        self._expect("[")
        if self._next() == "]":
            self._at += 1
            return
        while True:
            take(self._value())
            if self._expect(",]") == "]":
                return

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            if self._text[end : end + 1] in _ENDS or not self._more():  # else a number may go on
                self._at = end
                return value

    def _expect(self, one_of: str) -> str:
        found = self._next()
        if not found or found not in one_of:
            raise ValueError(f"`{found}` in the place of one of `{one_of}`")
        self._at += 1
        return found

    def _next(self) -> str:
        """The next character that is no blank, which stays to be read; none at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANKS:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Reads on, twice as far as what is unread is long, so that a long value is begun few times. Whether
        there was more."""
        parts = [self._text[self._at :]]
        size = wanted = len(parts[0])
        for piece in self._pieces:
            parts.append(self._decode(piece))
            size += len(parts[-1])
            if size > 2 * wanted and parts[-1]:
                break
        else:
            parts.append(self._decode(b"", True))
        self._text, self._at = "".join(parts), 0
        return len(self._text) > wanted
