#!/usr/bin/env bash
# iproute2: `ip link show` ends with status 0 where the kernel's list of interfaces broke off, and prints none of it.
#
# Guess: a list that breaks off in the middle costs what was behind that place, and the exit status tells.
# Seen:  nothing is printed, not even the interfaces that were received; `Dump terminated` is on standard error; the
#        status is 0. `ip link show dev NAME` still answers. (Up to iproute2 4.11 the status was 1.)
# Why it matters: one PF whose VFs the kernel cannot put into a message (`Buffer too small for object`) makes all
#        VFs of the host look as if nothing was set on them, to whoever goes by the status.
# Source: iproute2 ip/ipaddress.c, ip_link_list() and the `goto out` of ipaddr_list_flush_or_save().
#
# Needs bash and apt-get. strace makes the second answer of the kernel an error.
set -euo pipefail

IPROUTE=6.1.0-3 STRACE=6.1-0.1 # Debian 12
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq "iproute2=$IPROUTE" "strace=$STRACE" libunwind8 liblzma5 libbpf1 libelf1 libmnl0 libbsd0 libmd0 \
    libcap2 zlib1g 2>/dev/null ||
    { echo "iproute2 $IPROUTE or strace $STRACE is not to be had here: nothing was tried." >&2; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done
LD_LIBRARY_PATH=$(dirname "$(find . -name 'libmnl.so.0' | head -n 1)"):$(dirname "$(find . -name 'libcap.so.2' | head -n 1)")
export LD_LIBRARY_PATH
ip=$folder/$(find . -path '*bin/ip' -type f | head -n 1)
"$ip" -V

# Each answer is read twice: its length first. The fourth recvmsg after the list was asked for is the end of the
# list, or (with many interfaces) its second part; the interfaces before it have been received.
echo "== the list breaks off behind its first part"
status=0
./usr/bin/strace -qq -o trace -e trace=recvmsg -e inject=recvmsg:error=EIO:when=4 "$ip" link show >shown 2>said || status=$?
echo "exit $status, $(wc -l <shown) lines printed, $(grep -c NLM_F_MULTI trace) answer with interfaces was received"
cat said
echo "== one interface"
"$ip" -oneline link show dev lo

grep -q NLM_F_MULTI trace
grep -qx 'Dump terminated' said
if [ "$status" -ne 0 ]; then echo "The status tells now." >&2 && exit 1; fi
if [ -s shown ]; then echo "What was received is printed now." >&2 && exit 1; fi
echo "As described: nothing printed, status 0."
