"""XML-RPC and JSON-RPC texts: reading requests and responses, writing values and answers, as xapi does."""

import json
import re
import xml.parsers.expat as expat
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple
from xml.parsers.expat import errors

from values import Failure, Time

_CODES = errors.codes  # the messages of expat -> its numbers
_ENCODINGS = {
    "utf-8",
    "utf-16",
    "utf-16le",
    "utf-16be",
    "iso-8859-1",
    "us-ascii",
}  # those that xapi's parser has


class XmlError(Exception):
    """No XML. `message` is what xapi's parser says of it (plugin.json, session.json)."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(f"{message} line {line}")
        self.line = line
        self.column = column
        self.message = message


class NotRpc(Exception):
    """XML or JSON, but no request: xapi answers these with HTTP status 500 (session.json)."""


class Element:
    """An XML element: what matters of it here."""

    __slots__ = ("children", "tag", "text")

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.children: List[Element] = []
        self.text = ""


def parse_xml(data: bytes) -> Element:
    """The root element. What follows it is not looked at (plugin.json: text after the XML)."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    document = Element("")
    open_elements = [document]

    def declared(_version: str, encoding: Optional[str], _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise XmlError(1, 1, f"unknown encoding ({encoding})")

    def started(tag: str, _attributes: Dict[str, str]) -> None:
        element = Element(tag)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def ended(_tag: str) -> None:
        open_elements.pop()

    def text(data: str) -> None:
        open_elements[-1].text += data

    parser.XmlDeclHandler = declared
    parser.StartElementHandler = started
    parser.EndElementHandler = ended
    parser.CharacterDataHandler = text
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        if not document.children or len(open_elements) > 1:
            rest = data[parser.ErrorByteIndex :]
            message = _complaint(error.code, rest, bool(document.children))
            raise XmlError(error.lineno, error.offset + 1, message) from None
    return document.children[0]


def _complaint(code: int, rest: bytes, inside: bool) -> str:
    """What xapi's parser says where expat says `code` about the text that begins with `rest`."""
    if code in (
        _CODES[errors.XML_ERROR_NO_ELEMENTS],
        _CODES[errors.XML_ERROR_UNCLOSED_TOKEN],
        _CODES[errors.XML_ERROR_PARTIAL_CHAR],
    ):
        return "unexpected end of input"
    if code == _CODES[errors.XML_ERROR_MISPLACED_XML_PI]:
        return 'character sequence illegal here ("xml")'
    reference = re.match(rb"&(#?\w+);", rest)
    if reference is not None:
        name = reference.group(1).decode()
        kind = "illegal character" if name.startswith("#") else "unknown entity"
        return f"{kind} reference ({name})"
    if not inside and rest[:1] >= b" ":
        return "expected root element"
    return "malformed character stream"


# -- XML-RPC ---------------------------------------------------------------------------------------


def read_request(data: bytes) -> Tuple[str, List[Any]]:
    """The method and parameters of a methodCall."""
    call = parse_xml(data)
    parts = {part.tag: part for part in call.children}
    if call.tag != "methodCall" or "methodName" not in parts or "params" not in parts:
        raise NotRpc('Xmlrpc.Parse_error("close_tag", "open_tag", _)')
    try:
        return parts["methodName"].text, [read_value(_only(param)) for param in parts["params"].children]
    except ValueError as error:  # a number that is none, a member without its two parts
        raise NotRpc(f"Failure({error})") from None


def _only(element: Element) -> Element:
    if len(element.children) != 1:
        raise NotRpc(f'Xmlrpc.Parse_error("open_tag", "close_tag({element.tag})", _)')
    return element.children[0]


def read_value(element: Element) -> Any:
    """The value of a `value` element; one without a type is a string (session.json)."""
    if not element.children:
        return element.text
    typed = _only(element)
    tag, text = typed.tag, typed.text
    if tag == "string":
        return text
    if tag in ("int", "i4"):
        return int(text)
    if tag == "boolean":
        return text == "1"
    if tag == "double":
        return float(text)
    if tag == "dateTime.iso8601":
        return Time(text)
    if tag == "nil":
        return None
    if tag == "array":
        return [read_value(item) for item in _only(typed).children]
    if tag == "struct":
        return dict(map(_member, typed.children))
    raise NotRpc(f'Xmlrpc.Parse_error("{tag}", "open_tag", _)')


def _member(element: Element) -> Tuple[str, Any]:
    name, value = element.children
    if not name.text:  # plugin.json, maps.json: an empty key in a struct
        raise NotRpc('Xmlrpc.Parse_error("open_tag(value)", "close_tag(name)", _)')
    return name.text, read_value(value)


_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
_SPECIAL = re.compile('[&<>"]')


def escape(text: str) -> str:
    return _SPECIAL.sub(lambda match: _ESCAPES[match.group()], text)


def _xml_list(value: List[Any]) -> str:
    return "<value><array><data>" + "".join(map(xml_value, value)) + "</data></array></value>"


def _xml_map(value: Dict[str, Any]) -> str:
    if not value:
        return "<value><struct/></value>"
    members = [f"<member><name>{escape(key)}</name>{xml_value(item)}</member>" for key, item in value.items()]
    return "<value><struct>" + "".join(members) + "</struct></value>"


_WRITERS: Dict[type, Callable[[Any], str]] = {
    str: lambda value: f"<value>{escape(value)}</value>",
    int: lambda value: f"<value>{value}</value>",
    bool: lambda value: f"<value><boolean>{int(value)}</boolean></value>",
    float: lambda value: f"<value><double>{value:g}</double></value>",
    Time: lambda value: f"<value><dateTime.iso8601>{value}</dateTime.iso8601></value>",
    list: _xml_list,
    dict: _xml_map,
}


def xml_value(value: Any) -> str:
    """A `value` element: strings without a type, 64-bit integers as strings (session.json, fields.json)."""
    return _WRITERS[type(value)](value)


def xml_call(method: str, params: List[Any]) -> str:
    listed = "".join(f"<param>{xml_value(param)}</param>" for param in params)
    return f"<methodCall><methodName>{escape(method)}</methodName><params>{listed}</params></methodCall>"


def xml_response(value: Any) -> str:
    """A methodResponse around any value. Every answer of xapi but introspection is a struct with Status."""
    return (
        '<?xml version="1.0"?><methodResponse><params><param>'
        + xml_value(value)
        + "</param></params></methodResponse>"
    )


def xml_success(value: Any) -> str:
    return xml_response({"Status": "Success", "Value": value})


def xml_failure(failure: Failure) -> str:
    return xml_response({"Status": "Failure", "ErrorDescription": failure.description})


# -- JSON-RPC --------------------------------------------------------------------------------------


class JsonRequest(NamedTuple):
    method: str
    params: List[Any]
    id: Any
    version_2: bool


def read_json_request(data: bytes) -> JsonRequest:
    try:
        request = json.loads(data.decode())
    except ValueError as error:
        raise NotRpc(f'Yojson__Common.Json_error("{error}")') from None
    if not isinstance(request, dict) or not isinstance(request.get("method"), str) or "id" not in request:
        raise NotRpc('Jsonrpc.Malformed_method_request("Invalid request body")')
    params = request.get("params", [])
    # Named parameters count as one parameter, the whole object (session.json).
    listed = params if isinstance(params, list) else [params]
    return JsonRequest(request["method"], listed, request["id"], request.get("jsonrpc") == "2.0")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_success(request: JsonRequest, value: Any) -> str:
    if request.version_2:
        return _json({"jsonrpc": "2.0", "result": value, "id": request.id})
    return _json({"result": value, "error": None, "id": request.id})


def json_failure(request: JsonRequest, failure: Failure) -> str:
    """JSON-RPC 2.0: code 1, the failure's code as message and its details as data; 1.0: all in a list."""
    if request.version_2:
        code, *details = failure.description
        error = {"code": 1, "message": code, "data": details}
        return _json({"jsonrpc": "2.0", "error": error, "id": request.id})
    return _json({"result": None, "error": failure.description, "id": request.id})
