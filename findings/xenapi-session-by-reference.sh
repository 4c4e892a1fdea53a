#!/usr/bin/env bash
# XenAPI (PyPI): a session that was taken over by its reference cannot log out, and its end is no XenAPI.Failure.
#
# A plugin or a hook helper gets the reference of a session and sets `session._session`, as xapi's own
# XenAPIPlugin does. Guess: `session.xenapi.session.logout()` ends that session, and a call with a session that has
# ended raises XenAPI.Failure(['SESSION_INVALID', ...]) like any other error of xapi.
# Seen:  logout raises AttributeError and sends nothing, so the session stays in xapi until it times out; and the call
#        raises xmlrpc.client.Fault 401, which no `except XenAPI.Failure` catches.
# Source: XenAPI.py, Session._logout looks at last_login_method, which only a login of its own sets;
#        xenapi_request turns SESSION_INVALID into a new login, or a Fault where it has none to repeat.
#
# Needs python3 with venv.
set -euo pipefail

VERSION=26.21.1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "XenAPI==$VERSION" 2>/dev/null ||
    { echo "XenAPI $VERSION is not to be had here: nothing was tried." >&2; exit 2; }
echo "XenAPI $VERSION"
"$folder/venv/bin/python" - <<'PYTHON'
import threading
import xmlrpc.client
import xmlrpc.server

import XenAPI

LIVE, ENDED = "OpaqueRef:live", "OpaqueRef:ended"
asked = []


class Server(xmlrpc.server.SimpleXMLRPCServer):
    """Answers as xapi does: for a session that it does not know SESSION_INVALID, else success."""

    def _dispatch(self, method, params):
        asked.append(method)
        if params[0] == ENDED:
            return {"Status": "Failure", "ErrorDescription": ["SESSION_INVALID", params[0]]}
        return {"Status": "Success", "Value": ""}


server = Server(("127.0.0.1", 0), logRequests=False)
threading.Thread(target=server.serve_forever, daemon=True).start()
session = XenAPI.Session(f"http://127.0.0.1:{server.server_address[1]}")


def outcome(act):
    asked.clear()
    try:
        act()
        return f"success; sent: {asked}"
    except Exception as error:
        return f"{type(error).__module__}.{type(error).__name__}: {error}; sent: {asked}"


session._session = LIVE
by_logout = outcome(session.xenapi.session.logout)
print("logout of a live session:", by_logout)
session._session = ENDED
by_call = outcome(session.xenapi.host.get_all)
print("a call with one that has ended:", by_call)
assert by_logout.startswith("builtins.AttributeError") and by_logout.endswith("sent: []"), "logout behaves otherwise"
assert by_call.startswith("xmlrpc.client.Fault: <Fault 401"), "an ended session is told otherwise"
PYTHON
echo "As described."
