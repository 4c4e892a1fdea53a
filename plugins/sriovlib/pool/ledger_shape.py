"""The shape of an entry of the ledger, as JSON: what it must have, may have and cannot have. How its parts
fit together is ledger.py's."""

import json
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Tuple

from ..config import vf_settings
from ..machine import pci
from ..safetext import LONGEST, is_plain_number, is_uuid

VERSION = 1
PREPARED, DETACHED, MOVING, ARRIVED = STATES = ("prepared", "detached", "moving", "arrived")
LARGEST = 2**53  # what every JSON reader keeps exact


class LedgerError(ValueError):
    """The text says nothing that can be relied on; its sentence says why."""


def document(text: str) -> Dict[str, Any]:
    """The JSON object of an entry; LedgerError where it has another shape, or a value that it cannot have."""
    found: Dict[str, Any] = _decoded(text)
    _check(_ENTRY, found, "it")
    for at, one in enumerate(found["requests"]):
        _check_request(one, f"requests[{at}]")
    return found


def _decoded(text: str) -> Any:
    """An object of this version, or whatever else JSON has."""
    if len(text) > LONGEST:
        raise LedgerError(f"it has {len(text)} characters, more than {LONGEST}")
    try:
        found = _DECODER.decode(text)
    except LedgerError:
        raise
    except (ValueError, RecursionError) as error:
        raise LedgerError(f"it is no JSON ({error})") from error
    version = found.get("version") if isinstance(found, dict) else VERSION  # else _check refuses it
    if version != VERSION:
        raise LedgerError(f"its version is {json.dumps(version)}, and only version {VERSION} is supported")
    return found


def _check_request(document: Dict[str, Any], path: str) -> None:
    kind, device, settings = document["by"], document.get("device"), document["settings"]
    if kind not in _VALUES:
        raise LedgerError(f"{path} is by {_shown(kind)}, which is not one of {', '.join(_VALUES)}")
    _check(_VALUES[kind], document["value"], f"{path}.value")
    # An address means the same thing only where the same device is behind it.
    if (device is None) == (kind in ("pf", "vf")):
        raise LedgerError(f"{path} is by {kind} and names {'no' if device is None else 'a'} device")
    for name, text in settings.items():
        if text == vf_settings.DEFAULT and name != "mac":
            continue
        try:
            value = vf_settings.parse_value(name, text)
        except ValueError as accepted:
            raise LedgerError(f"{path}.settings.{name} is {_shown(text)}, it takes {accepted}") from None
        if name == "mac" and text != value:
            raise LedgerError(f"{path}.settings.mac is {_shown(text)}, it takes lower case without blanks")


def _shown(text: str) -> str:
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"


def _without_doubles(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    members: Dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise LedgerError(f"{_shown(name)} appears twice")
        members[name] = value
    return members


_DECODER = json.JSONDecoder(object_pairs_hook=_without_doubles)


def _is_number(text: str) -> bool:
    """Of a request or a serial."""
    return is_plain_number(text, 16)


class _Words(NamedTuple):
    """Text of a kind. No patterns: a start reads an entry or two, and is over before they are compiled."""

    fits: Callable[[str], bool]
    what: str


class _Members(NamedTuple):
    """A JSON object of members with these names."""

    shapes: Dict[str, Any]
    needed: List[str]


def _members(shapes: Mapping[str, Any]) -> _Members:
    """Those with a `?` may be missing."""
    found = {name.rstrip("?"): shape for name, shape in shapes.items()}
    return _Members(found, sorted(name for name in shapes if name in found))


def _is_address(text: str) -> bool:
    """Of a device that a VM can be given: xapi's entries hold no domain of more than four digits."""
    return len(text) == len("0000:00:00.0") and pci.is_address(text)


def _is_device(text: str) -> bool:
    return len(text) == 9 and text[4] == ":" and not (text[:4] + text[5:]).strip("0123456789abcdef")


_VALUES = {
    "network": _Words(is_uuid, "the UUID of a network"),
    "pf": _Words(_is_address, "the address of a PF"),
    "vf": _Words(_is_address, "the address of a VF"),
    "device": _Words(_is_device, "vendor and device such as 8086:10ed"),
}
_HOST = _Words(is_uuid, "the UUID of a host")
_NUMBER = _Words(_is_number, "the number of a request")
_REQUEST = _members(
    {
        "number": int,
        "by": str,
        "value": str,
        "device?": _VALUES["device"],
        "settings": _members({f"{name}?": str for name in vf_settings.NAMES}),
    }
)
_LEASE = _members(
    {
        "host": _HOST,
        "vfs": {_NUMBER: _VALUES["vf"]},
        "serial": int,
        "replaced?": {_HOST: int},
        "networks?": {_NUMBER: [_VALUES["network"]]},
    }
)
_MOVE = _members(
    {
        "state": _Words(STATES.__contains__, f"one of {', '.join(STATES)}"),
        "since": int,
        "host?": _HOST,
        "vfs?": {_NUMBER: _VALUES["vf"]},
    }
)
_ENTRY = _members(
    {
        "version": int,
        "requests": [_REQUEST],
        "next": int,
        "lease?": _LEASE,
        "move?": _MOVE,
        "nomigrate?": bool,
        "pci": str,
        "past": [_VALUES["vf"]],
    }
)
_KIND_OF: Dict[type, type] = {_Words: str, _Members: dict}
_KINDS: Dict[type, str] = {
    dict: "JSON object",
    list: "list",
    str: "text",
    bool: "true or false",
    int: "whole number from 0 on",
}


def _check(shape: Any, value: Any, path: str) -> None:
    """Refuses a JSON value of another shape. A shape is a type, words, members, `[shape]` of any length, or
    `{words: shape}` with any such names."""
    form = type(shape)
    kind: Any = shape if form is type else _KIND_OF.get(form, form)
    if type(value) is not kind or (kind is int and not 0 <= value <= LARGEST):
        raise LedgerError(f"{path} is no {_KINDS[kind]}")
    if form is _Words:
        if not shape.fits(value):
            raise LedgerError(f"{path} is {_shown(value)}, which is not {shape.what}")
    elif form is list:
        for index, one in enumerate(value):
            _check(shape[0], one, f"{path}[{index}]")
    elif form is dict:
        ((words, inner),) = shape.items()
        for name, one in value.items():
            _check(words, name, f"a key of {path}")
            _check(inner, one, f"{path}.{name}")
    elif form is _Members:
        for name in shape.needed:
            if name not in value:
                raise LedgerError(f"{path} has no {name}")
        for name, one in value.items():
            if name not in shape.shapes:
                raise LedgerError(f"{path} has a {_shown(name)}, which is not known")
            _check(shape.shapes[name], one, name if path == "it" else f"{path}.{name}")
