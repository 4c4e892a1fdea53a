"""The values of the API: their kinds, how a wrong one is refused, and the failure that a call ends with.

What a value looks like in XML or JSON is left to wire.py.
"""

import re
import time
from typing import Any, Dict, List, Tuple

NULL = "OpaqueRef:NULL"


class Failure(Exception):
    """The API's failure: a code and its details, as the client's XenAPI.Failure holds them."""

    def __init__(self, code: str, *details: str) -> None:
        super().__init__(code, *details)
        self.description: List[str] = [code, *details]


class Time(str):
    """A date and time: text, but of its own type on the XML-RPC wire (fields.json: dateTime.iso8601)."""


EPOCH = Time("19700101T00:00:00Z")  # what xapi writes for "not yet"


def now() -> Time:
    return Time(time.strftime("%Y%m%dT%H:%M:%SZ", time.gmtime()))


def internal_error(text: str) -> Failure:
    return Failure("INTERNAL_ERROR", text)


# What XML may hold. xapi's database refuses the rest, and with it every answer that passes through a task.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def storable(text: str) -> bool:
    """Whether xapi's database takes `text`: no control characters, nothing that was not UTF-8."""
    return _FORBIDDEN.search(text) is None


_TAKEN: Dict[str, Tuple[type, ...]] = {"bool": (bool,), "int": (int, str), "float": (int, float, str)}
_MAKE: Dict[str, type] = {"int": int, "float": float, "time": Time}


def take(kind: str, value: Any) -> Any:
    """The value of a parameter of this kind (a type of fields.json), or the INTERNAL_ERROR that xapi answers.

    No type is converted into another, except that a number may come as a
    string of digits, which is the form of a 64-bit integer in XML-RPC.
    """
    item_kind, _, container = kind.partition(" ")
    if container == "map" and isinstance(value, dict):
        return {key: take(item_kind, item) for key, item in value.items()}
    if container == "set" and isinstance(value, list):
        return [take(item_kind, item) for item in value]
    if container == "record" and isinstance(value, dict):
        return value
    if not container and isinstance(value, _TAKEN.get(kind, (str,))):
        try:
            if kind == "bool" or not isinstance(value, bool):
                return _MAKE[kind](value) if kind in _MAKE else value
        except ValueError:
            pass
    raise internal_error(f"Failure(\"Expected {kind}, got '{value}'\")")
