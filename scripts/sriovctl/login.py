"""How a workstation reaches a pool: address, user, password; a session of its master."""

import argparse
import os
from typing import Any

from .connection import Connection, Remote, answered
from .errors import Failed, Unreachable, Usage, XapiFailed, of_xapi


def connect(args: argparse.Namespace) -> Connection:
    import XenAPI

    address = args.host or os.environ.get("SRIOVCTL_HOST")
    if not address:
        raise Usage("Which pool?", "Give --host ADDRESS.")
    url = address if "://" in address else f"https://{address}"
    user = args.user or os.environ.get("SRIOVCTL_USER") or "root"
    password = os.environ.get("SRIOVCTL_PASSWORD", "")

    def session() -> Any:
        return XenAPI.Session(url)

    first = session()
    try:
        answered(lambda: first.login_with_password(user, password, "1.0", "sriovctl"))
    except XapiFailed as failure:
        raise of_xapi(failure.details, f"pool at {address}") from failure
    except Unreachable as error:
        raise Failed("NO_ANSWER", f"{address} does not answer: {error}.", "Check the address.") from error
    finally:
        first("close")()
    return Remote(session, first._session)
