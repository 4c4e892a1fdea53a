#!/usr/bin/env bash
# kmod: `modinfo --parameters` tells the type of a parameter behind its description, which may have several lines.
#
# Guess: each parameter is one line, `NAME:DESCRIPTION (TYPE)`; so a line that begins with `max_vfs:` and does not end
#        in `(array of int)` is a parameter that takes one value.
# Seen:  a newline in the description (MODULE_PARM_DESC; num_vfs of mlx4_core has some) is printed as it is. The type
#        is then at the end of a later line that names nothing.
# Why it matters: whether a parameter is an array decides whether `max_vfs=4` is one port's number or all ports'. xapi's
#        network daemon reads line by line too (xen-api: ocaml/networkd/lib/network_utils.ml, module Modinfo).
# Source: kmod tools/modinfo.c, modinfo_params_do().
#
# Needs bash and apt-get.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq kmod=30+20221128-1 libkmod2=30+20221128-1 binutils-x86-64-linux-gnu=2.40-2 \
    binutils-common=2.40-2 libbinutils=2.40-2 2>/dev/null ||
    { echo "kmod 30 or binutils 2.40 of Debian 12 are not to be had here: nothing was tried." >&2; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done
LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu:$folder/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH
ln -s "$folder/bin/kmod" modinfo
./modinfo --version | head -n 1

# A module as far as modinfo looks: an ELF file with the section that MODULE_PARM_DESC and module_param fill.
printf '%s\0' 'parm=one:How many, one line' 'parmtype=one:array of int' \
    $'parm=two:How many:\n0 is none' 'parmtype=two:array of int' >modinfo.bin
usr/bin/x86_64-linux-gnu-objcopy -I binary -O elf64-x86-64 --rename-section .data=.modinfo modinfo.bin made.ko
said=$(./modinfo --parameters ./made.ko)
echo "$said"

grep -qx 'one:How many, one line (array of int)' <<<"$said"
grep -qx 'two:How many:' <<<"$said"
grep -qx '0 is none (array of int)' <<<"$said"
# What tells it in one line:
[ "$(./modinfo --field parmtype ./made.ko | sort)" = $'one:array of int\ntwo:array of int' ]
echo "As described: the line that names \`two\` does not tell its type."
