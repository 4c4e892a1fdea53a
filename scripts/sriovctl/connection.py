"""One session with a pool's xapi, for many threads: calls give a result, or XapiFailed or Unreachable."""

import threading
from typing import Any, Callable, List, Optional

from .errors import Failed, Unreachable, XapiFailed

CHANGE_SECONDS = 300.0  # that a call may take: set_vf_count makes many VFs
LOGOUT_SECONDS = 5.0


class Connection:
    """What a pool is reached by; `call` leaves the session to it."""

    def call(self, method: str, *params: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        """Ends the session."""


class Opened:
    """A session of xapi, and HTTP connections for its calls: `connect` makes one more, a XenAPI.Session that
    is not logged in. One carries one call at a time, so as many are open as there were calls at once."""

    def __init__(self, reference: str, connect: Callable[[], Any], first: Any) -> None:
        self._reference = reference
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: Optional[List[Any]] = [first]  # None: closed

    def call(self, method: str, *params: Any) -> Any:
        return self._with_session(lambda session: session.xenapi_request(method, params))

    def log_out(self) -> None:
        """Nobody waits for that when xapi hangs: it ends sessions that nobody uses."""

        def try_it() -> None:
            try:  # by its plain name, as XenAPI's own logout wants to have logged in itself
                self._with_session(lambda session: getattr(session, "session.logout")(self._reference))
            except (XapiFailed, Unreachable, Failed):
                pass

        trying = threading.Thread(target=try_it, daemon=True)
        trying.start()
        trying.join(LOGOUT_SECONDS)

    def _with_session(self, act: Callable[[Any], Any]) -> Any:
        with self._lock:
            session = self._idle.pop() if self._idle else self._connect()
        session._session = self._reference
        try:
            return answered(lambda: act(session))
        except XapiFailed:
            raise
        except BaseException:  # Ctrl-C too: an answer that nobody has read is not the next call's
            session("close")()
            raise
        finally:
            with self._lock:
                if self._idle is None:  # closed meanwhile
                    session("close")()
                else:
                    self._idle.append(session)

    def close(self) -> None:
        """Connections of calls that are under way follow when they end."""
        with self._lock:
            idle, self._idle = self._idle or [], None
        for session in idle:
            session("close")()


class Remote(Connection):
    """Over the network, by the package XenAPI. `login` logs in, and again when the session has ended: xapi
    forgets its sessions when it restarts, and a host that was the master may be none any more. Both are said
    before a call does anything."""

    def __init__(self, login: Callable[[], Opened]) -> None:
        self._login = login
        self._lock = threading.Lock()
        self._opened = login()

    def call(self, method: str, *params: Any) -> Any:
        opened = self._opened
        try:
            return opened.call(method, *params)
        except XapiFailed as failure:
            if failure.details[0] not in ("SESSION_INVALID", "HOST_IS_SLAVE"):
                raise
        with self._lock:
            if self._opened is opened:  # no other thread was faster
                opened.close()
                self._opened = self._login()
        return self._opened.call(method, *params)

    def close(self) -> None:
        self._opened.log_out()
        self._opened.close()


def answered(act: Callable[[], Any]) -> Any:
    """What a call by XenAPI gives; its exceptions as ours."""
    try:
        return act()
    except Exception as error:
        said = _said(error)
        if said is None:
            raise
        raise said from error


def _said(error: Exception) -> Optional[Exception]:
    import http.client  # not before: completion must answer at once
    import xmlrpc.client

    if isinstance(error, xmlrpc.client.Fault) and error.faultCode == 401:
        return XapiFailed(["SESSION_INVALID"])  # as XenAPI says it when it has not logged in itself
    if isinstance(error, (OSError, http.client.HTTPException, xmlrpc.client.Error)):
        return Unreachable(getattr(error, "faultString", "") or str(error) or type(error).__name__)
    details = getattr(error, "details", None)  # of XenAPI.Failure, which is imported by who made the call
    return XapiFailed(details) if isinstance(details, list) else None
