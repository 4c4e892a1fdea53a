"""Messages: what xapi shows people about an object (xen-api: ocaml/xapi/xapi_message.ml).

They are files on the master, and no rows of its database: one outlives its object, and what the master has it
copies to the others once a day (xapi_sync.ml, xapi_periodic_scheduler_init.ml).
"""

from typing import Dict, List

from calls import Call, Calls, Context
from database import Database, Record
from values import Failure, Time, internal_error, now

# The classes of objects that a message may be about, by what a caller names in any case (datamodel.ml,
# Message.cls), and how the database names those that the box has.
_CLASSES = ("VM", "Host", "SR", "Pool", "VMPP", "VMSS", "PVS_proxy", "VDI", "Certificate")
_ABOUT = {name.lower(): name for name in _CLASSES}
_TABLES = {"VM": "VM", "Host": "host", "SR": "SR", "Pool": "pool", "VDI": "VDI"}


def _class(about: str) -> str:
    if about.lower() not in _ABOUT:
        raise internal_error('Failure("Unknown tag/contents")')
    return _ABOUT[about.lower()]


def _is_there(context: Context, class_name: str, uuid: str) -> bool:
    table = _TABLES.get(class_name)
    return table is not None and bool(context.xapi.database.find(table, uuid=uuid))


def create(context: Context, name: str, priority: int, about: str, uuid: str, body: str) -> str:
    """As often as it is called: xapi knows of no message that is there already."""
    class_name = _class(about)
    if not _is_there(context, class_name, uuid):
        raise Failure("UUID_INVALID", class_name, uuid)
    values = {"name": name, "priority": priority, "cls": class_name, "obj_uuid": uuid, "body": body}
    return context.xapi.database.create("message", {**values, "timestamp": now()})


def get(context: Context, about: str, uuid: str, since: Time) -> Dict[str, Record]:
    """Those about an object that is there, later than `since`."""
    class_name = _class(about)
    if not _is_there(context, class_name, uuid):
        raise Failure("UUID_INVALID")
    database = context.xapi.database
    with database.lock:
        found = database.records("message", database.find("message", cls=class_name, obj_uuid=uuid))
    return {ref: record for ref, record in found.items() if record["timestamp"] > since}


def destroy(context: Context, ref: str) -> None:
    context.xapi.database.destroy("message", ref)


def destroy_many(context: Context, refs: List[str]) -> None:
    for ref in refs:
        destroy(context, ref)


def forget(database: Database) -> None:
    """There is a new master, sooner than any copy."""
    for ref in database.refs("message"):
        database.destroy("message", ref)


CALLS: Calls = {
    "message.create": Call(create, ["string", "int", "string", "string", "string"]),
    "message.get": Call(get, ["string", "string", "time"]),
    "message.destroy": Call(destroy, ["ref"]),
    "message.destroy_many": Call(destroy_many, ["ref set"]),
}
