#!/usr/bin/env bash
# XenAPI for Python: a call whose connection breaks before its answer is sent again, without a word.
#
# Guess: a call that got no answer raises an error, and the caller finds out whether xapi has done it.
# Seen:  XenAPI.Session is an xmlrpc.client.ServerProxy; its transport sends the request once more where the
#        other end hung up (RemoteDisconnected, ECONNRESET, EPIPE). The server is asked twice, the caller sees
#        one success. That holds on a new connection too, not only where an idle one was closed meanwhile.
# Why it matters: VM.clone, VM.start or host.call_plugin are then done twice: xapi may have done the first one
#        when a proxy, a firewall or the restart of its toolstack cut the connection.
# Source: Python Lib/xmlrpc/client.py, Transport.request; XenAPI.py, class Session(xmlrpclib.ServerProxy).
#
# Needs bash and Python 3 with venv and pip.
set -euo pipefail

VERSION=26.21.1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "XenAPI==$VERSION" 2>/dev/null ||
    { echo "XenAPI $VERSION is not to be had here: nothing was tried." >&2; exit 2; }
python3 -VV
echo "XenAPI $VERSION"

cat >"$folder/try.py" <<'END'
import http.server
import re
import threading

import XenAPI

asked = []


class Xapi(http.server.BaseHTTPRequestHandler):
    """Hangs up on the first VM.clone that it gets, and answers all else."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        method = re.search("<methodName>(.*?)</methodName>", body).group(1)
        asked.append(method)
        self.close_connection = True
        if asked.count("VM.clone") == 1 and method == "VM.clone":
            return
        answer = (
            "<?xml version='1.0'?><methodResponse><params><param><value><struct>"
            "<member><name>Status</name><value>Success</value></member>"
            "<member><name>Value</name><value>OpaqueRef:new</value></member>"
            "</struct></value></param></params></methodResponse>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Xapi)
threading.Thread(target=server.serve_forever, daemon=True).start()
session = XenAPI.Session("http://127.0.0.1:%d" % server.server_address[1])
session.xenapi.login_with_password("root", "password", "1.0", "finding")
print("the caller got", session.xenapi.VM.clone("OpaqueRef:vm", "copy"))
print("the server was asked for VM.clone %d times" % asked.count("VM.clone"))
END
said=$("$folder/venv/bin/python" "$folder/try.py")
echo "$said"
grep -qx 'the caller got OpaqueRef:new' <<<"$said"
grep -qx 'the server was asked for VM.clone 2 times' <<<"$said"
echo "As described: one call of the caller's, one success, two of the server's."
