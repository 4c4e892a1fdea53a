"""Events: event.from, which tells what has changed since a token; the older event.next; messages.

Imitates events.json. A token is two numbers; objects that were there at the first look are `add`ed ones.
"""

import time
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple

from calls import Call, Calls, Context
from changes import News, Wanted
from schema import CLASSES
from values import Failure, now

if TYPE_CHECKING:
    from xapi import Xapi


class Subscription(NamedTuple):
    """What event.register has put down for a session, and how far event.next has told of it."""

    classes: List[str]
    told: int


def since(context: Context, classes: List[str], token: str, timeout: float) -> Dict[str, Any]:
    """event.from. With nothing to tell it waits, and its token is then the one that it was given; of
    something that came and went it tells nothing, but at once."""
    xapi = context.xapi
    changes, end = xapi.database.changes, time.monotonic() + timeout
    generation = _generation(token)
    wanted = _wanted(classes)
    with changes.news:
        while True:
            news = changes.since(generation, wanted)
            left = end - time.monotonic()
            if news.happened or left <= 0 or xapi.life.over:
                break
            changes.news.wait(left)
        reached = changes.generation if news.happened else generation
        return {
            "events": _events(xapi, news),
            "token": f"{reached},{reached}",
            "valid_ref_counts": {name.lower(): len(xapi.database.refs(name)) for name in CLASSES},
        }


def _generation(token: str) -> int:
    if not token:
        return 0
    first, _, second = token.partition(",")
    if not (first.isdigit() and second.isdigit()):
        raise Failure("EVENT_FROM_TOKEN_PARSE_FAILURE", token)
    return int(first)


def _wanted(classes: List[str]) -> Wanted:
    """Subscriptions are `*`, a class in any case, or a class, a slash and a reference."""
    patterns = [(class_name.lower(), ref) for class_name, _, ref in (one.partition("/") for one in classes)]

    def wanted(class_name: str, ref: str) -> bool:
        return any(name in ("*", class_name.lower()) and one in ("", ref) for name, one in patterns)

    return wanted


def _events(xapi: "Xapi", news: News) -> List[Dict[str, Any]]:
    events = []
    for operation, objects in (("add", news.added), ("mod", news.changed), ("del", news.gone)):
        for class_name, ref in objects:
            event: Dict[str, Any] = {
                "id": str(xapi.database.changes.generation),
                "timestamp": str(time.time()),
                "class": class_name.lower(),
                "operation": operation,
                "ref": ref,
            }
            if operation != "del":
                event["snapshot"] = xapi.database.record(class_name, ref)
            events.append(event)
    return events


# -- the older way -------------------------------------------------------------------------------


def register(context: Context, classes: List[str]) -> None:
    xapi = context.xapi
    with xapi.database.lock:
        before = xapi.subscriptions.get(context.session)
        told = before.told if before else xapi.database.changes.generation
        known = before.classes if before else []
        xapi.subscriptions[context.session] = Subscription([*known, *classes], told)


def unregister(context: Context, classes: List[str]) -> None:
    xapi = context.xapi
    with xapi.database.lock:
        before = xapi.subscriptions.get(context.session)
        if before:
            gone = {name.lower() for name in classes}
            left = [name for name in before.classes if name.lower() not in gone]
            xapi.subscriptions[context.session] = before._replace(classes=left)


def following(context: Context) -> List[Dict[str, Any]]:
    """event.next: waits for events without a limit of time, and lets go when the session ends."""
    xapi = context.xapi
    changes = xapi.database.changes
    with changes.news:
        while True:
            known = xapi.subscriptions.get(context.session)
            if known is None or xapi.life.over or not xapi.database.exists("session", context.session):
                raise Failure("SESSION_NOT_REGISTERED", f"trackid={context.session}")
            news = changes.since(known.told, _wanted(known.classes))
            if news.happened:
                xapi.subscriptions[context.session] = known._replace(told=changes.generation)
                return _events(xapi, news)
            changes.news.wait()


def get_current_id(context: Context) -> int:
    return context.xapi.database.changes.generation


def inject(context: Context, class_name: str, ref: str) -> str:
    """An event for an object that has not changed."""
    database = context.xapi.database
    with database.lock:
        database.get(class_name, ref, "uuid")
        database.changes.changed(class_name, ref)
        return f"{database.changes.generation},{database.changes.generation}"


# -- messages ------------------------------------------------------------------------------------

# The classes of objects that a message may be about, in lower case (xen-api: datamodel_types.ml).
_ABOUT = {name.lower(): name for name in ("VM", "host", "pool", "PIF", "VBD", "VIF")}


def write(xapi: "Xapi", name: str, priority: int, about: str, uuid: str, body: str) -> str:
    """A message about the object of that class and uuid; its reference."""
    values = {"name": name, "priority": priority, "cls": about, "obj_uuid": uuid, "body": body}
    return xapi.database.create("message", {**values, "timestamp": now()})


def create_message(context: Context, name: str, priority: int, about: str, uuid: str, body: str) -> str:
    if about.lower() not in _ABOUT:
        raise Failure("INTERNAL_ERROR", 'Failure("Unknown tag/contents")')
    context.xapi.database.by_uuid(_ABOUT[about.lower()], uuid)
    return write(context.xapi, name, priority, _ABOUT[about.lower()], uuid, body)


def destroy_message(context: Context, message: str) -> None:
    context.xapi.database.destroy("message", message)


def destroy_messages(context: Context, messages: List[str]) -> None:
    for message in messages:
        context.xapi.database.destroy("message", message)


def get_messages(context: Context, about: str, uuid: str, after: str) -> Dict[str, Any]:
    found = get_messages_since(context, after)
    return {ref: one for ref, one in found.items() if (one["cls"], one["obj_uuid"]) == (about, uuid)}


def get_messages_since(context: Context, after: str) -> Dict[str, Any]:
    database = context.xapi.database
    with database.lock:
        records = database.records("message", database.refs("message"))
    return {ref: record for ref, record in records.items() if record["timestamp"] > after}


_FROM = ["string set", "string", "float"]
CALLS: Calls = {
    "event.from": Call(since, _FROM),
    "event.register": Call(register, ["string set"]),
    "event.unregister": Call(unregister, ["string set"]),
    "event.next": Call(following),
    "event.get_current_id": Call(get_current_id),
    "event.inject": Call(inject, ["string", "ref"]),
    "message.create": Call(create_message, ["string", "int", "string", "string", "string"]),
    "message.destroy": Call(destroy_message, ["ref"]),
    "message.destroy_many": Call(destroy_messages, ["ref set"], may_be_async=True),
    "message.get": Call(get_messages, ["string", "string", "time"]),
    "message.get_since": Call(get_messages_since, ["time"]),
}
