"""The calls that every class has: records, look-ups, and a getter, setter and the like for each field.

Imitates records.json and maps.json.
"""

from functools import partial
from typing import Any, Dict, List

from calls import Call, Calls, Context
from database import Record
from schema import CLASSES, Field

_NOT_LISTED = ("session",)  # no get_all and what goes with it
_WITHOUT_GETTERS = ("message",)  # records only
_WITHOUT_NAMES = ("pool",)  # has a name but no look-up by it


def _get_record(context: Context, ref: str, class_name: str) -> Record:
    return context.xapi.database.record(class_name, ref)


def _get_by_uuid(context: Context, uuid: str, class_name: str) -> str:
    return context.xapi.database.by_uuid(class_name, uuid)


def _get_by_name_label(context: Context, name: str, class_name: str) -> List[str]:
    return context.xapi.database.by_name_label(class_name, name)


def _get_all(context: Context, class_name: str) -> List[str]:
    return context.xapi.database.refs(class_name)


def _get_all_records(context: Context, class_name: str) -> Dict[str, Record]:
    return _get_all_records_where(context, "true", class_name)


def _get_all_records_where(context: Context, expression: str, class_name: str) -> Dict[str, Record]:
    database = context.xapi.database
    with database.lock:
        return database.records(class_name, database.where(class_name, expression))


def _get(context: Context, ref: str, class_name: str, field: str) -> Any:
    return context.xapi.database.get(class_name, ref, field)


def _set(context: Context, ref: str, value: Any, class_name: str, field: str) -> None:
    context.xapi.database.set(class_name, ref, field, value)


def _add_to(context: Context, ref: str, key: str, value: Any, class_name: str, field: str) -> None:
    context.xapi.database.add_to(class_name, ref, field, key, value)


def _remove_from(context: Context, ref: str, key: str, class_name: str, field: str) -> None:
    context.xapi.database.remove_from(class_name, ref, field, key)


def _calls_of_field(class_name: str, field: Field) -> Calls:
    def call(function: Any, *parameters: str) -> Call:
        return Call(partial(function, class_name=class_name, field=field.name), ["ref", *parameters])

    calls = {f"get_{field.name}": call(_get)}
    if field.writable:
        item, _, container = field.kind.partition(" ")
        calls[f"set_{field.name}"] = call(_set, field.kind)
        if container == "map":
            calls[f"add_to_{field.name}"] = call(_add_to, "string", item)
            calls[f"remove_from_{field.name}"] = call(_remove_from, "string")
    return calls


def _calls_of_class(class_name: str) -> Calls:
    def call(function: Any, *parameters: str) -> Call:
        return Call(partial(function, class_name=class_name), parameters)

    calls = {"get_record": call(_get_record, "ref"), "get_by_uuid": call(_get_by_uuid, "string")}
    if class_name not in _NOT_LISTED:
        calls["get_all"] = call(_get_all)
        calls["get_all_records"] = call(_get_all_records)
        calls["get_all_records_where"] = call(_get_all_records_where, "string")
    if "name_label" in CLASSES[class_name] and class_name not in _WITHOUT_NAMES:
        calls["get_by_name_label"] = call(_get_by_name_label, "string")
    if class_name not in _WITHOUT_GETTERS:
        for field in CLASSES[class_name].values():
            calls.update(_calls_of_field(class_name, field))
    return calls


CALLS: Calls = {
    f"{class_name}.{name}": call
    for class_name in CLASSES
    for name, call in _calls_of_class(class_name).items()
}
