"""POST /services/xenops: xenopsd of the host that is asked, by whoever may move VMs.

Imitates xen-api v26.1.3, ocaml/xapi/xapi_services.ml (post_handler passes XML-RPC on to the host's own
xenopsd), xapi_http.ml (over xapi's Unix socket nobody is asked who it is; else a session in the query or 401,
and its role or 403), ocaml/xapi-idl/xen/xenops_interface.ml (names of calls and parameters, all of which are
in one struct; errors) and rpclib's xmlrpc.ml (the answer: a struct with Status, as xapi's own). Of xenopsd's
calls these are here: VM.export_metadata and VM.import_metadata, whose metadata is a JSON text.
"""

import json
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple
from urllib.parse import parse_qs

import roles
import wire
from calls import Origin
from values import Failure
from xenopsd import XenopsdError

if TYPE_CHECKING:
    from xapi import Xapi

PATH = "/services/xenops"


class Reply(NamedTuple):
    status: int
    content_type: str
    text: str


def is_asked_for(path: str) -> bool:
    return path.partition("?")[0].rstrip("/") == PATH


def answer(xapi: "Xapi", origin: Origin, path: str, body: bytes) -> Reply:
    """Raises wire.NotRpc."""
    session = parse_qs(path.partition("?")[2]).get("session_id", [""])[0]
    if not origin.local:
        if not xapi.database.exists("session", session):
            return _refusal(401, "unauthorised")
        if not roles.is_at_least(xapi.roles_of_sessions.get(session, roles.POOL_ADMIN), roles.VM_POWER_ADMIN):
            return _refusal(403, "forbidden")
    method, params = wire.read_request(body)
    try:
        value = _call(xapi, origin.host, method, params)
    except XenopsdError as error:
        return Reply(200, "", wire.xml_response({"Status": "Failure", "ErrorDescription": _error(error)}))
    return Reply(200, "", wire.xml_success(value))


def _refusal(status: int, why: str) -> Reply:
    return Reply(status, "text/html", f"<html><body><h1>HTTP {status} {why}</h1></body></html>")


def _error(error: XenopsdError) -> Any:
    """A variant: its name alone, or with its argument, of which several are a list."""
    if not error.details:
        return error.name
    return [error.name, error.details[0] if len(error.details) == 1 else list(error.details)]


def _call(xapi: "Xapi", host: str, method: str, params: List[Any]) -> str:
    named: Dict[str, Any] = params[0] if params and isinstance(params[0], dict) else {}
    if method == "VM.export_metadata":
        _named(named, "debug_info")
        return json.dumps(xapi.life.xenopsd(xapi, host).export_metadata(_named(named, "id")))
    if method == "VM.import_metadata":
        _named(named, "debug_info")
        return _import(xapi, host, _named(named, "metadata"))
    raise XenopsdError("Internal_error", f"Idl.UnknownMethod({json.dumps(method)})")


def _named(named: Dict[str, Any], name: str) -> str:
    if not isinstance(named.get(name), str):
        raise XenopsdError("Internal_error", f"Idl.MarshalError(Expecting named argument '{name}')")
    return str(named[name])


def _import(xapi: "Xapi", host: str, text: str) -> str:
    """Of a VM that xenopsd knows it waits for its turn in the VM's queue."""
    try:
        metadata = json.loads(text)
        uuid = metadata["vm"]["id"]
        vm = xapi.database.by_uuid("VM", uuid)
    except (ValueError, KeyError, TypeError) as error:
        raise XenopsdError("Internal_error", f"Unable to unmarshal metadata: {error}") from None
    except Failure:
        raise XenopsdError("Internal_error", f"no such VM in this pool in a box: {uuid}") from None
    with xapi.life.queue(vm):
        return xapi.life.xenopsd(xapi, host).import_metadata(metadata)
