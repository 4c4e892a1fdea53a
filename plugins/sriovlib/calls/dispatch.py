"""One call by xapi: read from the program's argument, done, its response written to standard output.

xapi starts a plugin with an XML-RPC methodCall as its one argument and reads a methodResponse (xen-api:
ocaml/xapi/xapi_plugins.ml, call_plugin). dom0's XenAPIPlugin does that by xmlrpc.client, which takes longer
to load than most calls of ours take to answer. Here a call is read as xapi writes it, all values as text
(ocaml/libs/http-lib/xMLRPC.ml); whatever else comes is answered with a fault. Responses are XenAPIPlugin's to
the byte.
"""

import os
import pyexpat as expat  # xml.parsers.expat is three modules more, and nothing besides
import sys
from typing import Callable, Dict, List, NamedTuple, Sequence

from ..errors import SriovError
from ..safetext import safe
from ..xapi.own_session import OwnSession

Answer = Callable[[str, OwnSession, Dict[str, str]], str]

_USAGE = (
    "This is a plugin of xapi, which starts it: xe host-call-plugin host-uuid=UUID plugin=sriov fn=status\n"
)
_RESPONSE = "<?xml version='1.0'?>\n<methodResponse>\n{}</methodResponse>\n"
_PARAM = "<params>\n<param>\n{}</param>\n</params>\n"


class NoCall(Exception):
    """A text that is no call as xapi writes it, and why."""


class Call(NamedTuple):
    method: str
    session: str
    args: Dict[str, str]


# -- reading ----------------------------------------------------------------------------------------


class _Element:
    def __init__(self, name: str) -> None:
        self.name = name
        self.children: List[_Element] = []
        self.text = ""  # all of it, without the children's

    def only(self, *names: str) -> List["_Element"]:
        """The children, which have to be these, with nothing but blanks between."""
        found = [child.name for child in self.children]
        if found != list(names) or self.text.strip():
            raise NoCall(f"<{self.name}> holds {found or 'a text'} in the place of {list(names)}")
        return self.children


def read(text: str) -> Call:
    """The call; raises NoCall."""
    (call,) = _parsed(text).only("methodCall")
    method, params = call.only("methodName", "params")
    session, args = (param.only("value")[0] for param in params.only("param", "param"))
    (struct,) = args.only("struct")
    members = [child.only("name", "value") for child in struct.only(*["member"] * len(struct.children))]
    return Call(_plain(method), _string(session), {_plain(name): _string(value) for name, value in members})


def _parsed(text: str) -> _Element:
    document = _Element("document")
    open_elements = [document]

    def start(name: str, _attributes: Dict[str, str]) -> None:
        element = _Element(name)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(_name: str) -> None:
        open_elements.pop()

    def data(part: str) -> None:
        open_elements[-1].text += part

    def doctype(*_what: object) -> None:
        raise NoCall("it has a document type, by which entities could be declared")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = data
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError) as error:
        raise NoCall(str(error)) from None
    return document


def _plain(element: _Element) -> str:
    if element.children:
        raise NoCall(f"<{element.name}> holds <{element.children[0].name}> in the place of a text")
    return element.text


def _string(value: _Element) -> str:
    """The text of a value: its own, or that of <string> in it."""
    return _plain(value.only("string")[0] if value.children else value)


# -- writing ----------------------------------------------------------------------------------------


def success(value: str) -> str:
    return _status("Success", "Value", _text(value))


def failure(details: Sequence[str]) -> str:
    """`details[0]`: the code."""
    values = "".join(map(_text, details))
    return _status("Failure", "ErrorDescription", f"<value><array><data>\n{values}</data></array></value>\n")


def fault(why: str) -> str:
    """xapi makes XENAPI_PLUGIN_FAILURE of it, with the sentence."""
    members = [_member("faultCode", "<value><int>1</int></value>\n"), _member("faultString", _text(why))]
    return _RESPONSE.format(f"<fault>\n{_struct(members)}</fault>\n")


def _status(status: str, name: str, value: str) -> str:
    return _RESPONSE.format(_PARAM.format(_struct([_member("Status", _text(status)), _member(name, value)])))


def _struct(members: Sequence[str]) -> str:
    return f"<value><struct>\n{''.join(members)}</struct></value>\n"


def _member(name: str, value: str) -> str:
    return f"<member>\n<name>{name}</name>\n{value}</member>\n"


def _text(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<value><string>{escaped}</string></value>\n"


# -- the program ------------------------------------------------------------------------------------


def response(argument: bytes, answer: Answer) -> str:
    """To the call that is in the argument. What no one foresaw is told as XenAPIPlugin tells it."""
    name = ""
    try:
        name, session, args = read(argument.decode("utf-8", "replace"))
        return success(answer(name, OwnSession(session), args))
    except NoCall as error:
        return fault(safe(f"The plugin sriov was not called as xapi calls it: {error}."))
    except SriovError as error:
        return failure([error.code, safe(error.message), safe(error.hint)])
    except Exception as error:
        return failure(["XENAPI_PLUGIN_FAILURE", *map(safe, (name, type(error).__name__, str(error)))])


def main(answer: Answer) -> int:
    """The program's exit status: of another one than 0 xapi says just that, and all that was printed."""
    if len(sys.argv) != 2:
        os.write(2, _USAGE.encode())
        return 2
    # xapi sets no locale, and Python 3.6 then takes the argument for ASCII.
    told = response(os.fsencode(sys.argv[1]), answer)
    try:
        rest = memoryview((told + "\n").encode())
        while rest:
            rest = rest[os.write(1, rest) :]
    except OSError as error:
        os.write(2, f"The answer could not be written: {error.strerror}.\n".encode())
        return 1
    return 0
