"""One session with a pool's xapi, for many threads: calls give a result, or XapiFailed or Unreachable."""

import http.client
import threading
import xmlrpc.client
from typing import Any, Callable, List

from .errors import Unreachable, XapiFailed

CHANGE_SECONDS = 300.0  # that a call may take: set_vf_count makes many VFs


class Connection:
    """What a pool is reached by; `call` leaves the session to it."""

    def call(self, method: str, *params: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        """Ends the session."""


class Remote(Connection):
    """Over the network, by the package XenAPI. `connect` makes a new XenAPI.Session that is not logged in:
    one holds one HTTP connection, so each thread has its own, with the same session of xapi."""

    def __init__(self, connect: Callable[[], Any], reference: str) -> None:
        self._connect = connect
        self._reference = reference
        self._own = threading.local()
        self._opened: List[Any] = []

    def call(self, method: str, *params: Any) -> Any:
        session = self._session()
        return answered(lambda: session.xenapi_request(method, params))

    def _session(self) -> Any:
        session = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = self._connect()
            session._session = self._reference
            self._opened.append(session)
        return session

    def close(self) -> None:
        session = self._session()
        try:  # by its plain name, as XenAPI's own logout wants to have logged in itself
            answered(lambda: getattr(session, "session.logout")(self._reference))
        except (XapiFailed, Unreachable):
            pass  # xapi ends sessions that nobody uses
        for opened in self._opened:
            opened("close")()


def answered(act: Callable[[], Any]) -> Any:
    """What a call by XenAPI gives; its exceptions as ours."""
    try:
        return act()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
        raise Unreachable(str(error) or type(error).__name__) from error
    except Exception as error:
        details = getattr(error, "details", None)  # of XenAPI.Failure, which is imported by who made `act`
        if not isinstance(details, list):
            raise
        raise XapiFailed(details) from error
