"""What a call of the API is: its function, the kinds of its parameters, and what its function is told."""

from typing import TYPE_CHECKING, Any, Callable, Dict, NamedTuple, Sequence

if TYPE_CHECKING:
    from xapi import Xapi


class Origin(NamedTuple):
    """Where a call came in: the host whose xapi was asked, and whether over its Unix socket."""

    host: str
    local: bool


class Context(NamedTuple):
    """What a call's function is told beside its parameters."""

    xapi: "Xapi"
    origin: Origin
    session: str = ""
    task: str = ""  # of an Async call


class Call(NamedTuple):
    """A call: its function, the kinds of its parameters (types of fields.json), without the session."""

    function: Callable[..., Any]
    parameters: Sequence[str] = ()
    optional: int = 0  # how many of the last parameters may be left out
    needs_session: bool = True
    may_be_async: bool = False
    may_be_cancelled: bool = False  # its task says so, and it looks at the wish


def operation_call(function: Callable[..., Any], *parameters: str, optional: int = 0) -> Call:
    """A call that is an operation of a VM, its first parameter."""
    return Call(function, ["ref", *parameters], optional, may_be_async=True, may_be_cancelled=True)


Calls = Dict[str, Call]
