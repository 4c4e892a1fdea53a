"""Messages: what xapi shows people about an object (xen-api: ocaml/xapi/xapi_message.ml)."""

from calls import Call, Calls, Context
from values import Failure, now

# The classes of objects that a message may be about, in lower case (xen-api: datamodel_types.ml).
_ABOUT = {name.lower(): name for name in ("VM", "host", "pool", "PIF", "VIF")}


def create(context: Context, name: str, priority: int, about: str, uuid: str, body: str) -> str:
    database = context.xapi.database
    if about.lower() not in _ABOUT:
        raise Failure("INTERNAL_ERROR", 'Failure("Unknown tag/contents")')
    class_name = _ABOUT[about.lower()]
    database.by_uuid(class_name, uuid)
    values = {"name": name, "priority": priority, "cls": class_name, "obj_uuid": uuid, "body": body}
    return database.create("message", {**values, "timestamp": now()})


CALLS: Calls = {
    "message.create": Call(create, ["string", "int", "string", "string", "string"]),
}
