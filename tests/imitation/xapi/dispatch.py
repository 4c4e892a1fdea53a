"""The way of a call from a method's name and parameters to its result or failure."""

from typing import TYPE_CHECKING, Any, List

import mastership
import roles
import tasks
from calls import Call, Context, Origin
from values import Failure, storable, take

if TYPE_CHECKING:
    from xapi import Xapi

_ASYNC = "Async."


def answer(xapi: "Xapi", origin: Origin, method: str, params: List[Any]) -> Any:
    """Makes the call; raises Failure. Checks come in xapi's order: name, number, types, session."""
    name = method[len(_ASYNC) :] if method.startswith(_ASYNC) else method
    if name not in xapi.calls:
        raise Failure("MESSAGE_METHOD_UNKNOWN", name)
    mastership.refuse_without_master(xapi, origin)
    call = xapi.calls[name]
    arguments = _arguments(name, call, params)
    context = Context(xapi, origin)
    if call.needs_session:
        context = Context(xapi, origin, arguments.pop(0))
        if not xapi.database.exists("session", context.session):
            raise Failure("SESSION_INVALID", context.session)
        mastership.refuse_clients_of_members(xapi, origin)
    if name == method:
        return _run(name, call, context, arguments)
    if not call.may_be_async:
        raise Failure("Fault", f"No async mode for this operation (rpc: {name})")

    def work(task: str) -> Any:
        return _run(name, call, context._replace(task=task), arguments)

    return tasks.begin(xapi.database, xapi.workers, method, origin.host, work, call.may_be_cancelled)


def _arguments(name: str, call: Call, params: List[Any]) -> List[Any]:
    """The parameters with the types that the call wants, the session first where it needs one."""
    sessions = 1 if call.needs_session else 0
    given = len(params) - sessions
    required = len(call.parameters) - call.optional
    if not required <= given <= len(call.parameters):
        # Counted without the session: no parameter at all is -1 (session.json).
        raise Failure("MESSAGE_PARAMETER_COUNT_MISMATCH", name, str(required), str(given))
    kinds = ["ref"] * sessions + list(call.parameters)
    return [take(kind, value) for kind, value in zip(kinds, params)]


def _run(name: str, call: Call, context: Context, arguments: List[Any]) -> Any:
    """Of an Async call too the role is looked at here, when it has its task."""
    roles.check(context, name, arguments)
    try:
        result = call.function(context, *arguments)
    except Failure as failure:
        if all(map(storable, failure.description)):
            raise
        # A failure is written into the call's task first, and there xapi loses it (plugin.json: control
        # characters and bytes that are not UTF-8, in details and in what a failing plugin printed).
        raise Failure("INTERNAL_ERROR", "Db_exn.Invalid_value") from None
    return "" if result is None else result
