"""VM.blocked_operations: operations that somebody has forbidden, each with the text that xapi then tells.

Imitates maps.json; that the allowed operations follow at once is xen-api: ocaml/xapi/message_forwarding.ml.
"""

from typing import Any, Callable, Dict

from calls import Call, Calls, Context
from values import internal_error
from vm_operations import update_allowed
from vm_rules import OPERATIONS

FIELD = "blocked_operations"


def _changed(context: Context, vm: str, change: Callable[[Any], None], *operations: str) -> None:
    if not set(operations).issubset(OPERATIONS):
        raise internal_error('Failure("Unknown tag/contents")')
    with context.xapi.database.lock:
        change(context.xapi.database)
        update_allowed(context.xapi, vm)


def add(context: Context, vm: str, operation: str, text: str) -> None:
    _changed(context, vm, lambda database: database.add_to("VM", vm, FIELD, operation, text), operation)


def remove(context: Context, vm: str, operation: str) -> None:
    _changed(context, vm, lambda database: database.remove_from("VM", vm, FIELD, operation), operation)


def replace(context: Context, vm: str, texts: Dict[str, str]) -> None:
    _changed(context, vm, lambda database: database.set("VM", vm, FIELD, texts), *texts)


CALLS: Calls = {
    f"VM.add_to_{FIELD}": Call(add, ["ref", "string", "string"]),
    f"VM.remove_from_{FIELD}": Call(remove, ["ref", "string"]),
    f"VM.set_{FIELD}": Call(replace, ["ref", "string map"]),
}
