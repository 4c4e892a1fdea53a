"""xcp-rrdd, xapi's statistics daemon: when it reads what a plugin of it has written (see metrics_file).

In XML-RPC on a socket of its own, with named parameters in one struct (xen-api: ocaml/xapi-idl/rrd/
rrd_interface.ml, Plugin.Local; ocaml/xcp-rrdd/bin/rrdd/xcp_rrdd.ml, xmlrpc_handler). `Plugin.register`, which
dom0's rrdd.py calls, is of protocol version 1 (rrdd_server.ml).
"""

import math
import time
import xmlrpc.client
from typing import Any, Callable, Dict, TypeVar
from xml.parsers.expat import ExpatError

from ..machine.host import Host
from .session import XapiSilent, post

SOCKET = "/var/xapi/xcp-rrdd"
SECONDS = 5
PERIOD = 5.0  # seconds from one reading to the next

_T = TypeVar("_T")


def next_reading(host: Host, uid: str) -> float:
    """Seconds until it reads the plugin's file, which it is told of where it does not know it; negative:
    since it was due. Raises XapiSilent."""
    asked = {"uid": uid, "info": "Five_Seconds", "protocol": "V2"}
    return _answer(host, "Plugin.Local.register", asked, _seconds)


def _seconds(answered: Any) -> float:
    if not math.isfinite(answered):
        raise ValueError(f"{answered} is no time")
    return float(answered)


def forget(host: Host, uid: str) -> None:
    """Another file has taken the place of the one that it knows. As a rule it sees that itself. But the
    thread that watches the folder sleeps ten seconds after an error, or for good where it cannot read what
    somebody put there (xcp_rrdd.ml, Discover), and then it would go on with the file that is no more.
    Raises XapiSilent."""
    _answer(host, "Plugin.Local.deregister", {"uid": uid}, str)


def _answer(host: Host, method: str, arguments: Dict[str, str], read: Callable[[Any], _T]) -> _T:
    body = xmlrpc.client.dumps((arguments,), method).encode()
    status, content = post(host.path(SOCKET), "/", "text/xml", body, time.monotonic() + SECONDS)
    answer: Any
    try:
        ((answer,), _method) = xmlrpc.client.loads(content.decode())
        if answer["Status"] == "Success":
            return read(answer["Value"])
        said = str(answer["ErrorDescription"])
    except (ValueError, KeyError, TypeError, ExpatError, xmlrpc.client.Error) as wrong:
        raise XapiSilent(f"it answers with HTTP status {status} and no result") from wrong
    raise XapiSilent(f"it refuses: {said}")
