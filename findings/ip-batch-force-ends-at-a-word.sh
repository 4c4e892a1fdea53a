#!/usr/bin/env bash
# iproute2: `ip -force -batch -` does not go on after a word that it does not know.
#
# Guess: -force makes ip try each line, say "Command failed -:LINE" for those that fail, and exit 1.
# Seen:  that is so only where the kernel refuses a line. Where ip itself does not know a word, the process ends
#        there: exit 255, no line is named, the lines before are done and those behind are not.
# Why it matters: VF settings that an old ip does not know (`vf N state`, `vf N ... proto`) cost every setting
#        behind them in the batch, on all VFs, and the error does not say which line it was.
# Source: iproute2 lib/utils.c, invarg() and incomplete_command() call exit(-1); do_batch() never returns.
#
# Needs bash, apt-get and root (for a network namespace of its own).
set -euo pipefail

VERSION=6.1.0-3 # Debian 12
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq "iproute2=$VERSION" libbpf1 libelf1 libmnl0 libbsd0 libmd0 libcap2 zlib1g 2>/dev/null ||
    { echo "The package iproute2 $VERSION is not to be had here: nothing was tried." >&2; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done
LD_LIBRARY_PATH=$(dirname "$(find . -name 'libmnl.so.0' | head -n 1)"):$(dirname "$(find . -name 'libcap.so.2' | head -n 1)")
export LD_LIBRARY_PATH
ip=$folder/$(find . -path '*bin/ip' -type f | head -n 1)
"$ip" -V

# In each batch the first and the last line are good ones, on the loopback of a namespace of its own.
cat >try.sh <<'EOF'
printf '%b' "$1" | "$2" -force -batch - 2>said
echo "exit $?"
cat said
"$2" -oneline link show lo | grep -o 'mtu [0-9]*'
EOF
batch() {
    unshare --net bash try.sh "$1" "$ip"
}
echo "== a line that the kernel refuses (no such interface)"
refused=$(batch 'link set dev lo mtu 1400\nlink set dev nosuch up\nlink set dev lo mtu 1300\n')
echo "$refused"
echo "== a line with a word that this ip does not know"
unknown=$(batch 'link set dev lo mtu 1400\nlink set dev lo vf 0 colour blue\nlink set dev lo mtu 1300\n')
echo "$unknown"

for wanted in 'exit 1' 'Command failed -:2' 'mtu 1300'; do grep -qx -e "$wanted" <<<"$refused"; done
for wanted in 'exit 255' 'mtu 1400'; do grep -qx -e "$wanted" <<<"$unknown"; done
if grep -q 'Command failed' <<<"$unknown"; then echo "ip names the line now" >&2 && exit 1; fi
echo "As described: after the unknown word the last line was not done, and no line was named."
