#!/usr/bin/env bash
# xen-api (npm): its XML-RPC reads no answer with blanks between the tags, and an empty `<string/>` as undefined.
#
# Guess: `transport: 'xml-rpc'` reads what any XML-RPC server sends: Python's, for a simulated pool, or one behind a
#        proxy that indents; an empty string is '' in either way to write it.
# Seen:  an answer of Python's xmlrpc.server, with line feeds between tags as in the XML-RPC specification's own
#        examples, ends in a TypeError. Without the line feeds it is read, but `<value><string></string></value>` becomes
#        undefined (not '' as `<value></value>` does, which is how xapi writes it).
# Why it matters: a stand-in for xapi in Python's standard library works with the XenAPI package and not with this
#        client, and the error names neither the answer nor its place.
# Source: @vates/xml-rpc parser.js, toValue() takes the first text as the value; @vates/xml parse.js keeps all text.
#
# Needs bash, python3, and Node.js (18 or newer) with npm.
set -euo pipefail

VERSION=4.7.6
folder=$(mktemp -d)
server=
trap 'rm -rf "$folder"; [ -z "$server" ] || kill "$server"' EXIT
cd "$folder"
echo '{ "private": true }' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts "xen-api@$VERSION" @vates/xml@2.0.0 @vates/xml-rpc@1.0.0 \
    >/dev/null 2>&1 || { echo "xen-api $VERSION is not to be had here: nothing was tried." >&2; exit 2; }
echo "xen-api $VERSION, Node.js $(node --version), $(python3 -V)"

cat >xapi.py <<'END'
import sys
import xmlrpc.server

VALUES = {"session.login_with_password": "OpaqueRef:session", "system.listMethods": []}
POOL = {"OpaqueRef:pool": {"uuid": "pool", "name_description": "", "other_config": {}}}


class Server(xmlrpc.server.SimpleXMLRPCServer):
    def _dispatch(self, method, params):
        return {"Status": "Success", "Value": POOL if method == "pool.get_all_records" else VALUES[method]}

    def _marshaled_dispatch(self, *arguments, **more):
        answer = super()._marshaled_dispatch(*arguments, **more)
        return answer if sys.argv[1] == "indented" else answer.replace(b"\n", b"")


class AnyPath(xmlrpc.server.SimpleXMLRPCRequestHandler):
    rpc_paths = ()


server = Server(("127.0.0.1", 0), AnyPath, logRequests=False)
print(server.server_address[1], flush=True)
server.serve_forever()
END
cat >ask.py <<'END'
import sys
import xmlrpc.client

[pool] = xmlrpc.client.ServerProxy("http://127.0.0.1:" + sys.argv[1]).pool.get_all_records()["Value"].values()
print("Python: an empty name_description is", repr(pool["name_description"]))
END
cat >ask.mjs <<'END'
import { createClient } from 'xen-api'

const url = `http://127.0.0.1:${process.argv[2]}`
const client = createClient({ url, auth: { user: 'root', password: '' }, watchEvents: false, transport: 'xml-rpc' })
try {
  await client.connect()
  const [pool] = await client.getAllRecords('pool')
  console.log(`xen-api: an empty name_description is ${JSON.stringify(pool.name_description)}`)
} catch (error) {
  console.log(`xen-api: ${error.name}: ${error.message}`)
}
process.exit()
END
try() { # indented or plain
    python3 xapi.py "$1" >port &
    server=$!
    until [ -s port ]; do kill -0 "$server"; sleep 0.1; done
    echo "== $1"
    python3 ask.py "$(cat port)"
    node ask.mjs "$(cat port)"
    kill "$server"
    server=
    rm port
}
{
    try indented
    try plain
} | tee said
grep -q '^xen-api: TypeError: ' said
grep -qx 'xen-api: an empty name_description is undefined' said
[ "$(grep -cx "Python: an empty name_description is ''" said)" = 2 ]
echo "As described."
