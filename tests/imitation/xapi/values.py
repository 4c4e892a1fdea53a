"""The values of the API: their kinds, how a wrong one is refused, and the failure that a call ends with.

What a value looks like in XML or JSON is left to wire.py.
"""

import re
import time
from typing import Any, List

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


def without_forbidden(text: str) -> str:
    """`text` as it comes through xapi where that drops what XML may not hold (hooks.json)."""
    return _FORBIDDEN.sub("", text)


def written(value: Any) -> str:
    """A value as xapi's complaints about wrong types show it: I(5), S(a), {k:B(true)}."""
    if isinstance(value, bool):
        return f"B({str(value).lower()})"
    if isinstance(value, int):
        return f"I({value})"
    if isinstance(value, float):
        return f"F({value:g})"
    if isinstance(value, str):
        return f"S({value})"
    if isinstance(value, list):
        return "[" + ";".join(map(written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ";".join(f"{key}:{written(item)}" for key, item in value.items()) + "}"
    return "N"


def _expected(kind: str, value: Any) -> Failure:
    return internal_error(f"Failure(\"Expected {kind}, got '{written(value)}'\")")


def _expecting(container: str, value: Any) -> Failure:
    return internal_error(f"Failure(\"Expecting Rpc.{container}, but found '{written(value)}'\")")


def take(kind: str, value: Any) -> Any:
    """The value of a parameter of this kind (a type of fields.json), or the INTERNAL_ERROR that xapi answers.

    Imitates session.json and maps.json: no type is converted into another, except that a 64-bit integer
    may come as a string of digits, which is its form in XML-RPC, or as a number.
    """
    item_kind, _, container = kind.partition(" ")
    if container == "map":
        if not isinstance(value, dict):
            raise _expecting("Dict", value)
        return {key: take(item_kind, item) for key, item in value.items()}
    if container == "set":
        if not isinstance(value, list):
            raise _expecting("Enum", value)
        return [take(item_kind, item) for item in value]
    if kind in ("string", "ref"):
        if not isinstance(value, str):
            raise _expected("string", value)
        return value
    if kind == "bool":
        if not isinstance(value, bool):
            raise _expected("bool", value)
        return value
    if kind == "int":
        return _integer(value)
    if kind == "float":
        return _float(value)
    if not isinstance(value, str):
        raise _expected("datetime", value)
    return Time(value)


def _float(value: Any) -> float:
    """A text is taken too."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _expected("float", value)
    try:
        return float(value)
    except ValueError:
        raise internal_error('Failure("float_of_string")') from None


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise _expected("int64", value)
    try:
        return int(value)
    except ValueError:
        raise internal_error('Failure("Int64.of_string")') from None
