"""host.call_plugin: runs a plugin as xapi does, and makes a result or failure of what it printed.

Imitates plugin.json; the texts after INTERNAL_ERROR are like xapi's, which change.
"""

import os
import signal
import xmlrpc.client
from functools import partial
from typing import Any, Dict, Mapping, NamedTuple, Optional
from xml.parsers.expat import ExpatError

from calls import Call, Calls, Context
from programs import HERE, AtWork, Ended, Programs
from values import Failure, internal_error
from wire import xml_call


class Dom0(NamedTuple):
    """What is told of a host's dom0 to run plugins in it."""

    plugins: str  # the folder
    environment: Mapping[str, str] = {}  # variables beside PATH, which is all that xapi gives
    interpreter: Optional[str] = None  # a Python to run plugins with; None: each by its own #! line
    machine: Any = None  # a sriovlib.machine.host.Host: its files and devices; None: of no concern here
    programs: Programs = HERE  # how they are started


def call_plugin(context: Context, host: str, plugin: str, function: str, args: Dict[str, str]) -> str:
    xapi = context.xapi
    xapi.forward(host)  # this fails first, so a wrong reference is no HANDLE_INVALID
    dom0 = xapi.dom0s[host]
    if plugin not in dom0.programs.names(dom0.plugins):  # so no slash, no "..", no other case gets further
        raise Failure("XENAPI_MISSING_PLUGIN", plugin)
    argument = xml_call(function, [context.session, args])
    at_work = partial(xapi.reach.at_work, host)
    status, stdout, stderr = _execute(dom0, os.path.join(dom0.plugins, plugin), argument, at_work)
    if status == 0:
        return _result(stdout)
    reason = "non-zero exit" if status > 0 else f"signal: {signal.Signals(-status).name}"
    raise _plugin_failure(reason, _text(stdout), _text(stderr))


def _execute(dom0: Dom0, path: str, argument: str, at_work: AtWork) -> Ended:
    """Runs the file itself, without a shell, with this one argument. What cannot be executed at all (no
    permission, no interpreter, a folder, an argument above 128 KiB) is a non-zero exit without a text."""
    command = [path, argument] if dom0.interpreter is None else [dom0.interpreter, path, argument]
    words = [word.encode("utf-8", "surrogateescape") for word in command]
    try:
        return dom0.programs.run(words, dom0.environment, at_work)
    except OSError:
        return Ended(1, b"", b"")


def _text(output: bytes) -> str:
    return output.decode("utf-8", "surrogateescape")


def _plugin_failure(*details: str) -> Failure:
    return Failure("XENAPI_PLUGIN_FAILURE", *details)


def _result(output: bytes) -> str:
    """The Value of a Success, which must be a string; raises the Failure that it is or says."""
    answer: Any
    try:
        ((answer,), _method) = xmlrpc.client.loads(output)
    except ExpatError as error:
        raise _plugin_failure("failed to parse plugin output", _text(output), str(error)) from None
    except (xmlrpc.client.Error, ValueError) as error:
        raise internal_error(f"XMLRPC.RunTimeTypeError({error})") from None
    if answer.get("Status") == "Failure":
        raise Failure(*answer["ErrorDescription"])
    if not isinstance(answer["Value"], str):
        raise internal_error("XMLRPC.RunTimeTypeError(Value)")
    return str(answer["Value"])


CALLS: Calls = {
    "host.call_plugin": Call(call_plugin, ["ref", "string", "string", "string map"], may_be_async=True),
}
