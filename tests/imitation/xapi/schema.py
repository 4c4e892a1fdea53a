"""The classes of the API and their fields, read from fields.json.

fields.json names each field as xapi's database does, with two underscores in a nested name: those are the
names that a query uses (records.json), while the API joins the parts with one. Its types come from
recordings of a real xapi (transcripts, fields.json), but for Bond, VLAN, tunnel, SR, PBD, PGPU and VGPU_type,
of which no object was there. A type reads `[rw ]KIND[ of CLASS.FIELD][ = DEFAULT]`: `rw` where the API has a
setter; `of` names the reference field whose other end this one is (a VM's VIFs are `of VIF.VM`), so it is not
stored.
"""

import json
import os
import re
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

from values import EPOCH, NULL

_TYPE = re.compile(r"(rw )?(\w+(?: (?:set|map))?)(?: of (\w+)\.(\w+))?(?: = (.*))?")
_ZERO = {"string": "", "ref": NULL, "bool": False, "int": 0, "float": 0.0, "time": EPOCH}
_PARSE: Dict[str, Callable[[str], Any]] = {"string": str, "bool": "true".__eq__, "int": int, "float": float}


class Field(NamedTuple):
    name: str
    stored_as: str
    kind: str
    writable: bool
    inverse_of: Optional[Tuple[str, str]]
    default: Any


def _field(stored_as: str, text: str) -> Field:
    match = _TYPE.fullmatch(text)
    if match is None:
        raise ValueError(f"fields.json: {stored_as}: {text}")
    writable, kind, other_class, other_field, default = match.groups()
    return Field(
        name=stored_as.replace("__", "_"),
        stored_as=stored_as,
        kind=kind,
        writable=writable is not None,
        inverse_of=(other_class, other_field) if other_class else None,
        default=_default(kind) if default is None else _PARSE[kind](default),
    )


def _default(kind: str) -> Any:
    if kind.endswith(" set"):
        return []
    if kind.endswith(" map"):
        return {}
    return _ZERO[kind]


def _load() -> Dict[str, Dict[str, Field]]:
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "fields.json")) as file:
        classes = json.load(file)
    return {
        name: {field.name: field for field in (_field(*item) for item in fields.items())}
        for name, fields in classes.items()
    }


CLASSES = _load()
