"""The commands of xe: host-call-plugin, lists, and parameters of objects. Imitates plugin-cli.json."""

from functools import partial
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import xe_vms
from client import Client
from schema import CLASSES, Field
from xe_words import Command, CommandError, Parameters

# The objects that have commands: their class, and what a list shows without `params=`.
_OBJECTS: Dict[str, Tuple[str, Sequence[str]]] = {
    "vm": ("VM", ("uuid", "name-label", "power-state")),
    "host": ("host", ("uuid", "name-label", "name-description")),
    "pool": ("pool", ("uuid", "name-label", "name-description", "master", "default-SR")),
    "network": ("network", ("uuid", "name-label", "name-description", "bridge")),
    "pci": ("PCI", ("uuid", "vendor-name", "device-name", "pci-id")),
}
# The order in which a list shows some fields is xe's own, not that of the records.
_FIRST = {"pci": ("uuid", "vendor-name", "device-name", "driver-name")}


# -- host-call-plugin ------------------------------------------------------------------------------


def _host_call_plugin(client: Client, parameters: Parameters) -> str:
    host = client.call("host.get_by_uuid", parameters["host-uuid"])
    args = dict(_plugin_argument(key, value) for key, value in parameters.items() if _is_argument(key))
    result = client.call("host.call_plugin", host, parameters["plugin"], parameters["fn"], args)
    return f"{result}\n"


def _is_argument(key: str) -> bool:
    return key.startswith("args:") and key != "args:"


def _plugin_argument(key: str, value: str) -> Tuple[str, str]:
    """`args:KEY=VALUE`, or `args:KEY:file=PATH` for the content of a file."""
    name = key[len("args:") :]
    if not name.endswith(":file"):
        return name, value
    if not value:
        raise CommandError('Unhandled exception\nInvalid_argument("\\"\\": invalid path")')
    try:
        with open(value, encoding="utf-8") as file:
            return name[: -len(":file")], file.read()
    except OSError:
        raise CommandError(f"Failed to read file {value}") from None


# -- parameters of objects -------------------------------------------------------------------------


def _fields(kind: str) -> Dict[str, Field]:
    """The fields of these objects by xe's names for them, in xe's order."""
    class_name, _ = _OBJECTS[kind]
    fields = {name.replace("_", "-"): field for name, field in CLASSES[class_name].items()}
    first = {name: fields[name] for name in _FIRST.get(kind, ())}
    return {**first, **fields}


def _access(field: Field) -> str:
    container = {"map": "M", "set": "S"}.get(field.kind.partition(" ")[2], " ")
    return f"({container}{'RW' if field.writable else 'RO'})"


def _shown(field: Field, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "; ".join(f"{key}: {item}" for key, item in value.items())
    if isinstance(value, list):
        return "; ".join(value)
    return str(value).lower() if field.name == "power_state" else str(value)


def _list(client: Client, parameters: Parameters, kind: str) -> str:
    """The objects for which every `field=value` holds, each as a block of its fields."""
    class_name, usual = _OBJECTS[kind]
    fields = _fields(kind)
    filters = {key: value for key, value in parameters.items() if key in fields}
    records = [
        record
        for record in client.call(f"{class_name}.get_all_records").values()
        if not record.get("is_a_template")
        and all(_shown(fields[key], record[fields[key].name]) == value for key, value in filters.items())
    ]
    if "--minimal" in parameters:
        return ",".join(record["uuid"] for record in records) + "\n"
    wanted = parameters["params"].split(",") if "params" in parameters else usual
    shown = {name: field for name, field in fields.items() if name in wanted}
    return "".join(_block(shown, record) for record in records)


def _block(fields: Dict[str, Field], record: Dict[str, Any]) -> str:
    """One object: its first field to the left, the others to the right of a common edge."""
    labels = [f"{name} {_access(field)}" for name, field in fields.items()]
    width = 4 + max(map(len, labels), default=0)
    lines = [
        f"{label.rjust(width) if lines_before else label.ljust(width)}: {_shown(field, record[field.name])}"
        for lines_before, (label, field) in enumerate(zip(labels, fields.values()))
    ]
    return "\n".join(lines) + "\n\n\n"


class _Object(NamedTuple):
    """The object that a param command is about, and the calls it needs."""

    client: Client
    class_name: str
    ref: str

    def call(self, verb: str, field: Field, *values: Any) -> Any:
        return self.client.call(f"{self.class_name}.{verb}_{field.name}", self.ref, *values)


def _object(client: Client, parameters: Parameters, kind: str) -> _Object:
    class_name, _ = _OBJECTS[kind]
    return _Object(client, class_name, client.call(f"{class_name}.get_by_uuid", parameters["uuid"]))


def _named_field(parameters: Parameters, kind: str) -> Field:
    name = parameters["param-name"]
    fields = _fields(kind)
    if name not in fields:
        raise CommandError(f"Error code: Missing parameter\nError parameters: {name}")
    return fields[name]


def _param_get(client: Client, parameters: Parameters, kind: str) -> str:
    field = _named_field(parameters, kind)
    value = _object(client, parameters, kind).call("get", field)
    if "param-key" in parameters:
        key = parameters["param-key"]
        if key not in value:
            raise CommandError(f"Error: Key {key} not found in map")
        return f"{value[key]}\n"
    return f"{_shown(field, value)}\n"


def _param_set(client: Client, parameters: Parameters, kind: str) -> str:
    """`field=value`, or `map:key=value` for one key of a map (a dash does for the colon)."""
    chosen = _object(client, parameters, kind)
    for name, value in parameters.items():
        for known, field in _fields(kind).items():
            is_map = field.kind.endswith(" map")
            if name == known and name != "uuid":
                chosen.call("set", field, value)
            elif is_map and name[: len(known) + 1] in (f"{known}:", f"{known}-"):
                key = name[len(known) + 1 :]
                chosen.call("remove_from", field, key)
                chosen.call("add_to", field, key, value)
    return ""


def _param_add(client: Client, parameters: Parameters, kind: str) -> str:
    field = _named_field(parameters, kind)
    chosen = _object(client, parameters, kind)
    for key, value in parameters.items():
        if key not in ("uuid", "param-name"):
            chosen.call("add_to", field, key, value)
    return ""


def _param_remove(client: Client, parameters: Parameters, kind: str) -> str:
    field = _named_field(parameters, kind)
    chosen = _object(client, parameters, kind)
    key = parameters["param-key"]
    if key not in chosen.call("get", field):
        raise CommandError(f"Error: Key {key} is not in map")
    chosen.call("remove_from", field, key)
    return ""


def _param_clear(client: Client, parameters: Parameters, kind: str) -> str:
    field = _named_field(parameters, kind)
    _object(client, parameters, kind).call("set", field, field.default)
    return ""


# -- help ------------------------------------------------------------------------------------------


def _help(_client: Client, parameters: Parameters) -> str:
    """`xe help COMMAND`: the command comes as a word without a value."""
    blocks: List[str] = [_described(name) for name in parameters if name in COMMANDS]
    return "".join(blocks) or "Commands: " + ", ".join(sorted(COMMANDS)) + "\n"


def _described(name: str) -> str:
    command = COMMANDS[name]
    lines = [
        f"command name            : {name}",
        f"        reqd params     : {', '.join(command.required)}",
        f"        optional params : {command.optional}",
        f"        description     : {command.description}",
    ]
    return "\n".join(lines) + "\n\n\n"


def _commands_of(kind: str) -> Dict[str, Command]:
    """The list and param commands, which are the same for every kind of object."""
    of_one, with_key = ("uuid", "param-name"), ("uuid", "param-name", "param-key")
    return {
        f"{kind}-list": Command(partial(_list, kind=kind)),
        f"{kind}-param-get": Command(partial(_param_get, kind=kind), of_one, "param-key"),
        f"{kind}-param-set": Command(partial(_param_set, kind=kind), ("uuid",)),
        f"{kind}-param-add": Command(partial(_param_add, kind=kind), of_one),
        f"{kind}-param-remove": Command(partial(_param_remove, kind=kind), with_key),
        f"{kind}-param-clear": Command(partial(_param_clear, kind=kind), of_one),
    }


COMMANDS: Dict[str, Command] = {
    "help": Command(_help),
    "host-call-plugin": Command(
        _host_call_plugin,
        ("host-uuid", "plugin", "fn"),
        "args:",
        "Calls the function within the plugin on the given host with optional arguments. The syntax "
        "args:key:file=/path/file.ext passes the content of /path/file.ext under key to the plugin.",
    ),
}
for _kind in _OBJECTS:
    COMMANDS.update(_commands_of(_kind))
COMMANDS.update(xe_vms.COMMANDS)
