"""A session of this host's hooks that outlives them: /run/sriov/session, which only root may read.

Each start of a VM takes a call to xapi, and to log in and out takes two more, which write to the pool's
database (on a member: the master's, over TLS). root needs no password on xapi's socket (xen-api:
ocaml/xapi/xapi_session.ml, login_with_password), so the file gives no right that its reader has not. xapi
destroys a session that was not used for a day, and the oldest of too many (db_gc_util.ml, timeout_sessions),
and knows none after the master's restart: whoever is told so logs in again.
"""

from contextlib import ExitStack
from typing import Any, Optional, Tuple

from ..errors import SriovError
from ..machine.host import RUN_FOLDER, Host
from .own_session import OwnSession
from .session import Xapi, XapiFailure, log_in, log_out

PATH = f"{RUN_FOLDER}/session"
INVALID = "SESSION_INVALID"


def first_call(
    host: Host, stack: ExitStack, seconds: float, method: str, *params: Any
) -> Tuple[OwnSession, Any]:
    """A session that is good until the end of `stack`, and the result of this call in it, which must only
    read: the session is tried by it. Raises XapiError."""
    before = _read(host)
    if before is not None:
        session = OwnSession(before)
        try:
            return session, Xapi(host, session, seconds).call(method, *params)
        except XapiFailure as failure:
            if failure.details[0] != INVALID:
                raise
    session = _another(host, stack, seconds, before)
    return session, Xapi(host, session, seconds).call(method, *params)


def _another(host: Host, stack: ExitStack, seconds: float, invalid: Optional[str]) -> OwnSession:
    """One at a time makes the session that is kept. Who finds another at it, or cannot keep it, has one of
    its own, which ends with `stack`."""
    with ExitStack() as lock:
        try:
            lock.enter_context(host.lock("session", "logging in to xapi", 0))
        except SriovError:
            return _until_the_end(host, stack, seconds)
        there = _read(host)
        if there is not None and there != invalid:
            return OwnSession(there)
        session = log_in(host, seconds)
        try:
            host.replace_file(PATH, session.reference.encode(), 0o600)
        except OSError as error:
            host.log(f"{PATH}: {error.strerror}")
            stack.callback(log_out, host, session, seconds)
        return session


def _until_the_end(host: Host, stack: ExitStack, seconds: float) -> OwnSession:
    session = log_in(host, seconds)
    stack.callback(log_out, host, session, seconds)
    return session


def _read(host: Host) -> Optional[str]:
    return host.text(PATH) or None
