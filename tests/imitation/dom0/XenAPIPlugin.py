"""What dom0's XenAPIPlugin does for a plugin: the call in argv becomes a function's call, its outcome XML.

A stand-in: the real module is on every host and on no package index. Its behaviour is in plugin.json; it
imports what the real one does and nothing else, so that a plugin takes as long to start.
"""

import sys
import xmlrpc.client

import XenAPI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List

    Function = Callable[[Any, Dict[str, str]], Any]


class Failure(Exception):
    """A failure of the plugin's own: xapi hands code and details to the caller as they are."""

    def __init__(self, code: str, params: "List[str]") -> None:
        super().__init__()
        self.params = [code, *params]

    def __str__(self) -> str:
        return str(self.params)


def _print_response(**members: "Any") -> None:
    print(xmlrpc.client.dumps((members,), methodresponse=True))


def _print_failure(description: "List[str]") -> None:
    _print_response(Status="Failure", ErrorDescription=description)


def dispatch(fn_table: "Dict[str, Function]") -> None:
    """Calls the function that the one argument names, in the caller's own session, and prints what came of
    it. An unknown name and any exception become failures; SystemExit ends the process."""
    _program, call = sys.argv
    params, method = xmlrpc.client.loads(call)
    session: Any = params[0]
    args: Any = params[1]
    name = str(method)
    if name not in fn_table:
        _print_failure(["UNKNOWN_XENAPI_PLUGIN_FUNCTION", name])
        return
    xapi = XenAPI.xapi_local()
    xapi._session = session
    try:
        _print_response(Status="Success", Value=fn_table[name](xapi, args))
    except Failure as failure:
        _print_failure(failure.params)
    except Exception as error:
        _print_failure(["XENAPI_PLUGIN_FAILURE", name, type(error).__name__, str(error)])
