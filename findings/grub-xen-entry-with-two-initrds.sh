#!/usr/bin/env bash
# GRUB: with an early initrd beside the usual one, grub-mkconfig's Xen entries load the early one only.
#
# Guess: GRUB_EARLY_INITRD_LINUX_CUSTOM works in Xen entries as in Linux entries: dom0 gets both, one behind the other, by
#        one `module2` line each at most.
# Seen:  20_linux_xen writes both names in one line, `module2 --nounzip EARLY INITRD`. For `initrd` of a Linux entry that
#        means two files; for `module2` the first word is the file and all others are its command line: dom0 has the
#        files of the early initrd and no others (Xen 4.17 and Linux 6.1, by hand).
# Why it matters: /boot/microcode.cpio, intel-ucode.img and some more names are taken without being asked for
#        (GRUB_EARLY_INITRD_LINUX_STOCK): to put a file there is enough, and only the Xen entries of the host break.
# Source: GRUB util/grub.d/20_linux_xen.in, initrd_path; 10_linux.in does the same before `initrd`.
#
# Needs bash and apt-get.
set -euo pipefail

GRUB=2.06-13+deb12u2 # Debian 12
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances grub-common | grep '^lib' | grep -vx libc6 | sort -u) || true
# shellcheck disable=SC2086 # they are words
apt-get download -qq "grub-common=$GRUB" "grub2-common=$GRUB" $libraries 2>/dev/null ||
    { echo "GRUB $GRUB is not to be had here: nothing was tried." >&2; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done
export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu:$folder/lib/x86_64-linux-gnu
./usr/bin/grub-script-check --version

# A /boot with Xen, a kernel and two initrds, as far as the scripts of grub-mkconfig look at them.
mkdir boot
echo CONFIG_XEN_DOM0=y >boot/config-6.1
for name in xen-4.17.gz vmlinuz-6.1 initrd.img-6.1 microcode.cpio; do echo something >boot/$name; done
stock=$(grep -o 'GRUB_EARLY_INITRD_LINUX_STOCK=".*"' usr/sbin/grub-mkconfig)
echo "grub-mkconfig: $stock"
export GRUB_EARLY_INITRD_LINUX_STOCK=${stock#*=}
GRUB_EARLY_INITRD_LINUX_STOCK=${GRUB_EARLY_INITRD_LINUX_STOCK//\"/}
entries() { # of that script: the lines of its first entry that load files
    sed "s,/boot/,$folder/boot/,g" "etc/grub.d/$1" |
        GRUB_DEVICE=/dev/sda1 GRUB_DEVICE_BOOT=/dev/sda1 grub_probe=true grub_mkrelpath=echo \
            grub_file=$folder/usr/bin/grub-file pkgdatadir=$folder/usr/share/grub sh 2>/dev/null >"$1.cfg"
    grep -E '^\s(linux|initrd|multiboot2?|module2?)\s' "$1.cfg" | sed "s,$folder,,g; s/\s\+/ /g" | tee "$1.lines"
}
echo "== 10_linux"
entries 10_linux
echo "== 20_linux_xen"
entries 20_linux_xen

grep -qx ' initrd /boot/microcode.cpio /boot/initrd.img-6.1' 10_linux.lines
grep -Eqx ' module2? --nounzip /boot/microcode.cpio /boot/initrd.img-6.1' 20_linux_xen.lines
echo "As described: to module2 the second name is not a file but an argument of the first."
