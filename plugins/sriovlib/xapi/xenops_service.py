"""xenopsd by way of xapi: what it is told of a VM, read and written whole.

xapi passes `POST /services/xenops` on to the xenopsd of its host (xen-api: ocaml/xapi/xapi_services.ml,
post_handler), in XML-RPC with named parameters in one struct and xapi's `Status` and `Value` around the
answer (ocaml/xapi-idl/xen/xenops_interface.ml, VM). Over the Unix socket that takes no role: who can open it
is root (ocaml/xapi/xapi_http.ml, assert_credentials_ok).

Not to be called from a hook of the same VM: xenopsd does an import in the VM's queue, behind what runs the
hook.
"""

import json
import time
from typing import Any, Dict
from xml.parsers.expat import ExpatError

from ..machine.host import Host
from .session import SOCKET, XapiFailure, XapiSilent, post

TARGET = "/services/xenops"
SECONDS = 30
_CALLER = "xapi-sriov"


def export_metadata(host: Host, session: str, vm_uuid: str, seconds: float = SECONDS) -> Dict[str, Any]:
    """What xenopsd of this host has of the VM (xenops_interface.ml, Metadata.t), with its devices in `pcis`.
    Raises XapiError. `session`: its reference."""
    text = _call(host, session, "VM.export_metadata", {"id": vm_uuid}, seconds)
    try:
        metadata = json.loads(text)
        if metadata["vm"]["id"] != vm_uuid or not isinstance(metadata["pcis"], list):
            raise ValueError(vm_uuid)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise XapiSilent(f"xenopsd's metadata of {vm_uuid} cannot be read") from error
    return dict(metadata)


def import_metadata(host: Host, session: str, metadata: Dict[str, Any], seconds: float = SECONDS) -> None:
    """Gives it back changed. Without `domains`, which would take the state of the running domain back to what
    it was at the export (ocaml/xenopsd/lib/xenops_server.ml, import_metadata). Raises XapiError."""
    told = {name: value for name, value in metadata.items() if name != "domains"}
    _call(host, session, "VM.import_metadata", {"metadata": json.dumps(told)}, seconds)


def _call(host: Host, session: str, method: str, arguments: Dict[str, str], seconds: float) -> str:
    import xmlrpc.client  # takes long to load, and only a detached VM needs it

    body = xmlrpc.client.dumps(({"debug_info": _CALLER, **arguments},), method).encode()
    target, deadline = f"{TARGET}?session_id={session}", time.monotonic() + seconds
    status, content = post(host.path(SOCKET), target, "text/xml", body, deadline)
    answer: Any
    try:
        ((answer,), _method) = xmlrpc.client.loads(content.decode())
        if answer["Status"] == "Success":
            return str(answer["Value"])
        failure = answer["ErrorDescription"]
    except xmlrpc.client.Fault as fault:
        raise XapiFailure([str(fault.faultCode), str(fault.faultString)]) from fault
    except (ValueError, KeyError, TypeError, ExpatError, xmlrpc.client.Error) as wrong:
        raise XapiSilent(f"xapi answered {method} with HTTP status {status} and no result") from wrong
    raise XapiFailure([str(word) for word in failure] if isinstance(failure, list) else [str(failure)])
