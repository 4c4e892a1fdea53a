#!/usr/bin/env bash
# Xen: `xenstore-write` takes `\n`, `\t`, `\xHH` and others in a value for the character, and `xenstore-read` hides it.
#
# Guess: a value is a string of bytes: what the shell gives `xenstore-write` is stored, and `xenstore-read` prints what is
#        stored, with a newline behind it.
# Seen:  `C:\new` is stored with a line feed in it. `xenstore-read` prints a line feed, a byte above 0x7e and others as
#        `\n`, `\xc3`, so the round trip looks right, while a guest or toolstack that reads the key gets other bytes than
#        were given. A backslash that is stored as such (`xenstore-write -R`) is printed as two; `-R` of both is raw.
# Why it matters: scripts hand settings to guests by vm-data keys: paths of Windows, passwords, names with accents.
# Source: Xen tools/xenstore/xenstore_client.c, with sanitise_value() and unsanitise_value(). That values are parsed
#        is to be found in xenstore-write(1), under the option that leaves it out.
#
# Needs bash, apt-get and python3: xenstored needs Xen, so a stand-in of 20 lines keeps what is written.
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

READ, BEGIN, WRITE = 2, 6, 11
store = {}


class Store(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.read(16):
            kind, request, transaction, length = struct.unpack("<IIII", head)
            path, _, value = self.rfile.read(length).partition(b"\0")
            if kind == WRITE:
                store[path] = value
                print(value, flush=True)
            answer = store[path] if kind == READ else b"1\0" if kind == BEGIN else b"OK\0"
            self.wfile.write(struct.pack("<IIII", kind, request, transaction, len(answer)) + answer)


socketserver.ThreadingUnixStreamServer.daemon_threads = True
with socketserver.ThreadingUnixStreamServer("socket", Store) as server:
    server.serve_forever()
END
python3 store.py >stored &
server=$!
until [ -S socket ]; do kill -0 "$server"; sleep 0.1; done

try() { # the value, and the options of the two commands
    ./usr/bin/xenstore-write ${2:+"$2"} /vm-data/share "$1"
    echo "write $2 $1, stored: $(tail -n 1 stored), read $3: $(./usr/bin/xenstore-read ${3:+"$3"} /vm-data/share)"
}
{
    try 'C:\new' '' ''
    try 'C:\new' -R ''
    try 'C:\new' -R -R
    try 'é' '' ''
} | tee seen

diff - seen <<'END'
write  C:\new, stored: b'C:\new', read : C:\new
write -R C:\new, stored: b'C:\\new', read : C:\\new
write -R C:\new, stored: b'C:\\new', read -R: C:\new
write  é, stored: b'\xc3\xa9', read : \xc3\xa9
END
echo "As described: what is stored first has a line feed in it (Python's way to show it), and is read as if it had none."
