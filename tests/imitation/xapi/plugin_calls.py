"""host.call_plugin: runs a plugin as xapi does, and makes a result or failure of what it printed.

Imitates plugin.json, step by step; the texts after INTERNAL_ERROR are like xapi's, which change.
"""

import os
import signal
from functools import partial
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

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


# -- what it printed -------------------------------------------------------------------------------


def _result(output: bytes) -> str:
    """The Value of a Success; raises the Failure that the text says, or the one that it is."""
    try:
        root = ElementTree.fromstring(output)
    except ElementTree.ParseError as error:
        raise _plugin_failure("failed to parse plugin output", _text(output), str(error)) from None
    content = _single(_unbox(root, "methodResponse"), "methodResponse")
    param = _single(_unbox(content, "params"), "single return value (struct status)")
    answer = _members(_typed(_single(_unbox(param, "param"), "value"), "struct"))
    status = _string(answer["Status"]) if "Status" in answer else ""
    if status == "Success" and "Value" in answer:
        return _string(answer["Value"])
    if status == "Failure" and "ErrorDescription" in answer:
        description = _array(answer["ErrorDescription"])
        if not description:
            raise _type_error("Empty array of error strings")
        raise Failure(*description)
    raise _type_error("Status")


def _type_error(text: str) -> Failure:
    return internal_error(f'XMLRPC.RunTimeTypeError("{text}", _)')


def _unbox(element: Element, tag: str) -> Element:
    if element.tag != tag:
        raise _type_error(f"unbox: Element={element.tag} should contain '{tag}'")
    return element


def _single(elements: Iterable[Element], name: str) -> Element:
    found = list(elements)
    if len(found) != 1:
        raise _type_error(f"singleton: {{}} should be the singleton {{{name}}}")
    return found[0]


def _typed(value: Element, kind: str) -> Element:
    """What a `value` element holds, which must be of this kind."""
    return _unbox(_single(value, kind), kind)


def _string(value: Element) -> str:
    """The text of a string value, the only kind that is taken as a result; its type may be left out."""
    return (_typed(value, "string") if len(value) else value).text or ""


def _array(value: Element) -> List[str]:
    return [_string(item) for item in _single(_typed(value, "array"), "data")]


def _members(struct: Element) -> Dict[str, Element]:
    pairs: List[Any] = [list(member) for member in struct]
    return {name.text: value for name, value in pairs}


CALLS: Calls = {
    "host.call_plugin": Call(call_plugin, ["ref", "string", "string", "string map"], may_be_async=True),
}
