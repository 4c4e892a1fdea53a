#!/usr/bin/env python3
"""An imitation of xe, XenServer's command line: its arguments, its way to xapi, its words for failures.

Imitates plugin-cli.json; the commands are in xe_commands.py. The server comes from -s, -p, -u and -pw or,
as with the real one, from XE_EXTRA_ARGS=server=...,port=...,username=...,password=...; without a server
it is the xapi of the machine, by its Unix socket.
"""

import os
import sys
from typing import Dict, List, NamedTuple, Tuple

from client import DOM0_SOCKET, Client
from values import Failure
from xe_commands import COMMANDS
from xe_words import CommandError

_CONNECTION = {"-s": "server", "-p": "port", "-u": "username", "-pw": "password"}
_USAGE = "For usage run: 'xe help'"

# The failures that xapi documents: its sentence, and the names of the details.
_DOCUMENTED: Dict[str, Tuple[str, Tuple[str, ...]]] = {
    "HANDLE_INVALID": (
        "You gave an invalid object reference. The object may have recently been deleted. The class "
        "parameter gives the type of reference given, and the handle parameter echoes the bad value given.",
        ("class", "handle"),
    ),
    "INTERNAL_ERROR": (
        "The server failed to handle your request, due to an internal error. The given message may give "
        "details useful for debugging the problem.",
        ("message",),
    ),
    "MAP_DUPLICATE_KEY": (
        "You tried to add a key-value pair to a map, but that key is already there.",
        ("type", "param_name", "uuid", "key"),
    ),
    "UUID_INVALID": ("The uuid you supplied was invalid.", ("type", "uuid")),
    "VM_BAD_POWER_STATE": (
        "You attempted an operation on a VM that was not in an appropriate power state at the time; for "
        "example, you attempted to start a VM that was already running. The parameters returned are the VM's "
        "handle, and the expected and actual VM state at the time of the call.",
        ("vm", "expected", "actual"),
    ),
    "VM_LACKS_FEATURE": ("You attempted an operation on a VM which lacks the feature.", ("vm",)),
    "XAPI_HOOK_FAILED": (
        "3rd party xapi hook failed",
        ("hook_name", "reason", "stdout", "exit_code"),
    ),
    "XENAPI_MISSING_PLUGIN": ("The requested plug-in could not be found.", ("name",)),
    "XENAPI_PLUGIN_FAILURE": (
        "There was a failure communicating with the plug-in.",
        ("status", "stdout", "stderr"),
    ),
}


class Words(NamedTuple):
    """A command line, taken apart."""

    command: str
    parameters: Dict[str, str]
    connection: Dict[str, str]


def parse(arguments: List[str], extra: str) -> Words:
    """`key=value` up to the first `=`; a word without one is a key with an empty value.

    The real xe sends its words to xapi a line each, so a word ends at a newline and another begins.
    """
    connection = dict(pair.split("=", 1) for pair in extra.split(",") if "=" in pair)
    rest = iter(line for argument in arguments for line in argument.split("\n"))
    words = []
    for word in rest:
        if word in _CONNECTION:
            connection[_CONNECTION[word]] = next(rest, "")
        elif word != "--debug-on-fail":
            words.append(word)
    parameters = {}
    for word in words[1:]:
        key, _, value = word.partition("=")
        parameters[key] = value
    return Words(words[0] if words else "help", parameters, connection)


def _address(connection: Dict[str, str]) -> str:
    if "server" not in connection:
        return DOM0_SOCKET
    return f"http://{connection['server']}:{connection.get('port', '80')}"


def describe(failure: Failure, client: Client) -> str:
    """A failure in xe's words: the documented sentence and named details, or the code and its details."""
    code, *details = failure.description
    if code not in _DOCUMENTED:
        return f"Error code: {code}\nError parameters: {', '.join(details)}"
    sentence, names = _DOCUMENTED[code]
    named = [f"{name}: {_readable(detail, client)}" for name, detail in zip(names, details)]
    return "\n".join([sentence, *named])


def _readable(detail: str, client: Client) -> str:
    """A VM's reference as its uuid and name; anything else as it is."""
    if not detail.startswith("OpaqueRef:"):
        return detail
    try:
        vm = client.call("VM.get_record", detail)
    except Failure:
        return detail
    return f"{vm['uuid']} ({vm['name_label']})"


def main(arguments: List[str]) -> int:
    words = parse(arguments, os.environ.get("XE_EXTRA_ARGS", ""))
    if words.command not in COMMANDS:
        print(f"Unknown command: {words.command}\n{_USAGE}", file=sys.stderr)
        return 1
    user, password = words.connection.get("username", "root"), words.connection.get("password", "")
    try:
        with Client(_address(words.connection), user, password, "xe") as client:
            return _run(client, words)
    except (OSError, Failure) as error:  # no server, or one that does not let us in
        print(f"Error: {error}", file=sys.stderr)
        return 1


def _run(client: Client, words: Words) -> int:
    command = COMMANDS[words.command]
    missing = [name for name in command.required if name not in words.parameters]
    try:
        if missing:
            raise CommandError(f"Required parameter not found: {missing[0]}\n{_USAGE}")
        sys.stdout.write(command.function(client, words.parameters))
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    except Failure as failure:
        print(describe(failure, client), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
