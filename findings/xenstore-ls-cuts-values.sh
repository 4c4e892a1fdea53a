#!/usr/bin/env bash
# Xen: `xenstore-ls` cuts values at about 80 columns, also where its output is a pipe or a file.
#
# Guess: only a terminal has columns; what a program reads from `xenstore-ls` is whole.
# Seen:  a value that does not fit is printed as far as it does, with `\...` behind it and the quote after that. How much
#        is left depends on how deep the key is and how long its name. `xenstore-ls -f` (full paths) cuts nothing.
# Why it matters: scripts and bug reports read /local/domain/N and backends by it. A cut value looks like one with
#        an odd end, and it may be cut on one host and not on another: domain numbers take columns too.
# Source: Xen tools/xenstore/xenstore_client.c, do_ls(): max_width is 80 where there is no terminal to ask.
#
# Needs bash, apt-get and python3: xenstored needs Xen, so a stand-in of 20 lines answers.
set -euo pipefail

VERSION=4.17.5+72-g01140da4e8-1 # Debian 12
folder=$(mktemp -d)
server=
trap 'rm -rf "$folder"; [ -z "$server" ] || kill "$server"' EXIT
cd "$folder"
apt-get download -qq "xenstore-utils=$VERSION" "libxenstore4=$VERSION" "libxentoolcore1=$VERSION" 2>/dev/null ||
    { echo "xenstore-utils $VERSION is not to be had here: nothing was tried." >&2; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done
export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu XENSTORED_RUNDIR=$folder

cat >store.py <<'END'
import socketserver
import struct

DIRECTORY, READ, ERROR = 1, 2, 16
FRONTEND = "/local/domain/12/device/pci/0"
STORE = {"/": "", "/backend": "", "/backend/pci": ""}
STORE["/backend/pci/frontend"] = FRONTEND
STORE["/backend/pci/devices"] = ",".join("0000:03:%02x.%d" % divmod(n, 8) for n in range(0x80, 0x88))


class Store(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.read(16):
            kind, request, transaction, length = struct.unpack("<IIII", head)
            path = self.rfile.read(length).rstrip(b"\0").decode()
            under = [key.rpartition("/") for key in STORE if key != "/"]
            names = [name for parent, _, name in under if (parent or "/") == path]
            answer = "".join(name + "\0" for name in names) if kind == DIRECTORY else STORE[path]
            self.wfile.write(struct.pack("<IIII", kind, request, transaction, len(answer)) + answer.encode())


socketserver.ThreadingUnixStreamServer.daemon_threads = True
with socketserver.ThreadingUnixStreamServer("socket", Store) as server:
    server.serve_forever()
END
python3 store.py &
server=$!
until [ -S socket ]; do kill -0 "$server"; sleep 0.1; done

echo "== xenstore-ls"
./usr/bin/xenstore-ls | tee tree
echo "== xenstore-ls -f"
./usr/bin/xenstore-ls -f | tee full

whole=$(./usr/bin/xenstore-read /backend/pci/devices)
[ ${#whole} = 103 ]
grep -qxF "/backend/pci/devices = \"$whole\"" full
if grep -qF "$whole" tree; then echo "The value is whole now." >&2 && exit 1; fi
grep -qxF "  devices = \"${whole:0:63}\\...\"" tree
echo "As described: the value is cut for 80 columns, although nothing here has columns."
