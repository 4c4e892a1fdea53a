"""Runs a pool function on the pool's master, its only writer: a member forwards the call."""

import json
from typing import Any, Callable, Mapping

from ..errors import SriovError
from ..machine.host import Host
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi, XapiError, XapiFailure, XapiSilent
from . import hosts

SECONDS = 200  # for the master's answer: it waits for its lock and for hosts that do not answer, then writes


def act(
    host: Host,
    session: OwnSession,
    name: str,
    args: Mapping[str, str],
    function: Callable[..., Any],
    seconds: float = SECONDS,
) -> Any:
    """The result of a pool function. XapiError becomes a SriovError; an error of this host's files stays."""
    try:
        xapi = Xapi(host, session)
        (pool,) = xapi.call("pool.get_all")
        master = xapi.call("pool.get_master", pool)
        if xapi.call("host.get_by_uuid", hosts.own_uuid(host)) == master:
            return function(host, session, args)
        return _forward(Xapi(host, session, seconds), master, name, args)
    except XapiError as error:
        raise silent(name, error) from error


def silent(name: str, error: XapiError) -> SriovError:
    """What a function that needs xapi fails with."""
    return SriovError(
        "SRIOV_XAPI_SILENT",
        f"{name} failed: xapi did not answer as expected ({error}).",
        "Call again; `xe host-list` and `xe task-list` show whether xapi answers.",
    )


def ask(xapi: Xapi, host_ref: str, name: str, args: Mapping[str, str]) -> Any:
    """What that host's plugin answers; its SriovError, or XapiError."""
    try:
        return json.loads(xapi.call("host.call_plugin", host_ref, "sriov", name, dict(args)))
    except ValueError as error:
        raise XapiSilent(f"the answer to {name} is not JSON ({error})") from error
    except XapiFailure as failure:
        code, *details = failure.details
        if code.startswith("SRIOV_"):
            raise SriovError(code, *details[:2]) from failure
        raise


def _forward(xapi: Xapi, master: str, name: str, args: Mapping[str, str]) -> Any:
    try:
        return ask(xapi, master, name, args)
    except XapiFailure as failure:
        if failure.details[0] == "XENAPI_MISSING_PLUGIN":
            raise SriovError(
                "SRIOV_NOT_FOUND",
                "The pool master, which runs this call for all hosts, does not have xapi-sriov.",
                "Install the package on the master too.",
            ) from failure
        raise
