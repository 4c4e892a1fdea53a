"""XML-RPC and JSON-RPC texts: requests that are read, values and answers that are written, as xapi does."""

import json
import re
import xmlrpc.client
from typing import Any, Callable, Dict, List, NamedTuple, Tuple
from xml.parsers.expat import ExpatError

from values import Failure, Time


class NotRpc(Exception):
    """No request: xapi answers these with HTTP status 500."""


# -- XML-RPC ---------------------------------------------------------------------------------------


def read_request(data: bytes) -> Tuple[str, List[Any]]:
    """The method and parameters of a methodCall."""
    try:
        params, method = xmlrpc.client.loads(data)
    except (ExpatError, xmlrpc.client.Error, ValueError) as error:
        raise NotRpc(repr(error)) from None
    if method is None:
        raise NotRpc("no methodCall")
    return method, [_plain(param) for param in params]


def _plain(value: Any) -> Any:
    if isinstance(value, xmlrpc.client.DateTime):
        return Time(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


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
    """A methodResponse around a value, which in xapi's answers is a struct with Status."""
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


def read_json_request(data: bytes) -> JsonRequest:
    """JSON-RPC 2.0 alone; xapi takes 1.0 too."""
    try:
        request = json.loads(data.decode())
    except ValueError as error:
        raise NotRpc(repr(error)) from None
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0" or "method" not in request:
        raise NotRpc("no request")
    return JsonRequest(request["method"], request.get("params", []), request.get("id"))


def json_success(request: JsonRequest, value: Any) -> str:
    return _json({"jsonrpc": "2.0", "result": value, "id": request.id})


def json_failure(request: JsonRequest, failure: Failure) -> str:
    """Code 1; the failure's code as message and its details as data (session.json)."""
    code, *details = failure.description
    return _json({"jsonrpc": "2.0", "error": {"code": 1, "message": code, "data": details}, "id": request.id})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
