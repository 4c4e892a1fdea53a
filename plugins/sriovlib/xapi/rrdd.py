"""xcp-rrdd, xapi's statistics daemon: when it reads what a plugin of it has written (see metrics_file).

In XML-RPC on a socket of its own, with named parameters in one struct (xen-api: ocaml/xapi-idl/rrd/
rrd_interface.ml, Plugin.Local; ocaml/xcp-rrdd/bin/rrdd/xcp_rrdd.ml, xmlrpc_handler). `Plugin.register`, which
dom0's rrdd.py calls, is of protocol version 1 (rrdd_server.ml).
"""

import time
import xmlrpc.client
from typing import Any
from xml.parsers.expat import ExpatError

from ..machine.host import Host
from .session import XapiSilent, post

SOCKET = "/var/xapi/xcp-rrdd"
SECONDS = 5
PERIOD = 5.0  # seconds from one reading to the next


def next_reading(host: Host, uid: str) -> float:
    """Seconds until it reads the plugin's file, which it is told of where it does not know it; negative:
    since it was due. Raises XapiSilent."""
    asked = {"uid": uid, "info": "Five_Seconds", "protocol": "V2"}
    body = xmlrpc.client.dumps((asked,), "Plugin.Local.register").encode()
    status, content = post(host.path(SOCKET), "/", "text/xml", body, time.monotonic() + SECONDS)
    answer: Any
    try:
        ((answer,), _method) = xmlrpc.client.loads(content.decode())
        if answer["Status"] == "Success":
            return float(answer["Value"])
        said = str(answer["ErrorDescription"])
    except (ValueError, KeyError, TypeError, ExpatError, xmlrpc.client.Error) as wrong:
        raise XapiSilent(f"it answers with HTTP status {status} and no result") from wrong
    raise XapiSilent(f"it refuses: {said}")
