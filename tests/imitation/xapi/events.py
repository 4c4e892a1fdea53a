"""`event.from`: what of the objects asked for is new, changed or gone since a token, with its whole record.

As xen-api's ocaml/xapi/xapi_event.ml (from_inner, collect_events), and events.json. The token is the
generation of the last event of what was asked for. So one of another process, or of a database that went
back, is understood all the same, and what was lost between is not told.
"""

import re
import time
from typing import Any, Dict, List, NamedTuple, Tuple

from calls import Call, Calls, Context
from database import Database, Record
from schema import CLASSES
from values import Failure

POLL = 0.02  # seconds between two looks, while nothing has happened
_CLASSES = {name.lower(): name for name in CLASSES}
_WITHOUT_EVENTS = {"session"}  # xen-api: ocaml/idl/datamodel.ml, gen_events
_TOKEN = re.compile("([0-9]{1,20}),([0-9]{1,20})")


class Wanted(NamedTuple):
    """One element of `classes`: all classes, a class, or an object of it."""

    class_name: str  # in lower case; empty: all
    ref: str = ""

    def has(self, class_name: str, ref: str) -> bool:
        return self.class_name in ("", class_name.lower()) and self.ref in ("", ref)


def _wanted(text: str) -> Wanted:
    class_name, _, ref = text.partition("/")
    return Wanted("" if text == "*" else class_name.lower(), ref)


def _generation(token: str) -> int:
    match = _TOKEN.fullmatch(token)
    if token and match is None:
        raise Failure("EVENT_FROM_TOKEN_PARSE_FAILURE", token)
    return int(match.group(1)) if match else 0


def _token(generation: int) -> str:
    return f"{generation:020},{0:020}"


def _event(class_name: str, ref: str, operation: str, generation: int, snapshot: Record) -> Record:
    event: Record = {"id": str(generation), "timestamp": "0.0", "class": class_name.lower()}
    event.update({"operation": operation, "ref": ref})
    if operation != "del":
        event["snapshot"] = snapshot
    return event


def _look(database: Database, wanted: List[Wanted], since: int) -> Tuple[List[Record], int]:
    """The events, and the generation of the last one."""
    known, last = database.generations, since
    found: List[Record] = []
    asked = [
        name
        for lower, name in _CLASSES.items()
        if lower not in _WITHOUT_EVENTS and any(one.class_name in ("", lower) for one in wanted)
    ]
    for name in asked:
        recent = [
            (ref, stamp)
            for ref, stamp in known.since(name, since)
            if any(one.has(name, ref) for one in wanted)
        ]
        records = database.records(name, [ref for ref, _ in recent]) if recent else {}
        for ref, stamp in recent:
            operation = "add" if stamp.created > since else "mod"
            found.append(_event(name, ref, operation, stamp.modified, records[ref]))
            last = max(last, stamp.modified)
        for one in known.destroyed_since(name, since):
            if any(each.has(name, one.ref) for each in wanted):
                found.append(_event(name, one.ref, "del", one.at, {}))
                last = max(last, one.at)
    return found, last


def from_(context: Context, classes: List[str], token: str, timeout: float) -> Dict[str, Any]:
    database = context.xapi.database
    wanted, since = [_wanted(text) for text in classes], _generation(token)
    end = time.monotonic() + timeout
    while True:
        with database.lock:
            events, last = _look(database, wanted, since)
            if events or time.monotonic() >= end:
                counts = {name.lower(): count for name, count in database.counts().items()}
                return {"events": events, "valid_ref_counts": counts, "token": _token(last)}
            if not database.exists("session", context.session):
                raise Failure("SESSION_INVALID", context.session)
        time.sleep(POLL)


CALLS: Calls = {"event.from": Call(from_, ["string set", "string", "float"])}
