#!/usr/bin/env bash
# kmod: in modprobe.d a `#` behind options starts no comment, and a comment goes on where its line ends in a backslash.
#
# Guess: `options igb max_vfs=7 # was max_vfs=2` gives 7; a line that begins with `#` is a comment up to its end.
# Seen:  modprobe passes all of it, `max_vfs=7 # was max_vfs=2`, and of two values the kernel takes the last: 2. Of a
#        comment whose last character is a backslash the next line is part: its options are not given.
# Why it matters: the number of VFs of drivers without sriov_numvfs is in such lines, and XenServer keeps notes about
#        it in comments of the same files (`# VFs-param: max_vfs`). Nothing is printed: an unknown parameter (`#`, `was`)
#        is a line in the kernel's log.
# Source: kmod libkmod/libkmod-config.c, kmod_config_parse(); libkmod/libkmod-util.c, getline_wrapped().
#
# Needs bash and apt-get.
set -euo pipefail

VERSION=30+20221128-1 # Debian 12
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq "kmod=$VERSION" "libkmod2=$VERSION" 2>/dev/null ||
    { echo "kmod $VERSION is not to be had here: nothing was tried." >&2; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done
export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu:$folder/lib/x86_64-linux-gnu
ln -s bin/kmod modprobe
./modprobe --version | head -n 1

mkdir conf
cat >conf/vfs.conf <<'END'
options igb max_vfs=7 # was max_vfs=2
# Numbers of VFs, see \\server\notes\
options ixgbe max_vfs=8
options i40e max_vfs=9
END
cat conf/vfs.conf
echo "== what modprobe makes of it"
./modprobe --config conf --showconfig | grep -E '^options (igb|ixgbe|i40e) ' | tee made

diff - made <<'END'
options igb max_vfs=7 # was max_vfs=2
options i40e max_vfs=9
END
echo "As described: igb is given both numbers, ixgbe none."
