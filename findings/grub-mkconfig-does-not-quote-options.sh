#!/usr/bin/env bash
# GRUB: a `;` in GRUB_CMDLINE_XEN or GRUB_CMDLINE_LINUX ends the command line at boot; what is behind it is lost.
#
# Guess: the value has quotes in /etc/default/grub, so grub-mkconfig takes it as it is and writes it so that GRUB does too
#        (as it does with titles).
# Seen:  the value is copied into grub.cfg without quotes, where a `;` parts commands. At boot Xen or Linux gets
#        the options before it, and GRUB says on the screen that it does not know the next word as a command or variable.
#        Quotes within quotes help: GRUB_CMDLINE_XEN='rmrr="A;B" iommu=1'.
# Why it matters: lists of PCI devices have it: Xen's rmrr=, Linux's pci=resource_alignment=, pci=disable_acs_redir=.
# Source: GRUB util/grub.d/20_linux_xen.in, the line with ${xen_loader}; grub-core/script/yylex.l.
#
# Needs bash and apt-get. GRUB runs in QEMU without a disk of this machine; `echo` stands in for its loaders there.
set -euo pipefail

GRUB=2.06-13+deb12u2 QEMU=1:7.2+dfsg-7+deb12u18+b3 # Debian 12
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances qemu-system-x86 grub-common | grep -E '^(lib|qemu-system-(common|data)|seabios)' |
    grep -vx libc6 | sort -u) || true
# shellcheck disable=SC2086 # they are words
apt-get download -qq "grub-common=$GRUB" "grub-pc-bin=$GRUB" "qemu-system-x86=$QEMU" $libraries 2>/dev/null ||
    { echo "GRUB $GRUB or QEMU $QEMU is not to be had here: nothing was tried." >&2; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done
export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu:$folder/lib/x86_64-linux-gnu
./usr/bin/grub-script-check --version

# A /boot with Xen and a kernel, as far as the script of grub-mkconfig looks at them.
mkdir boot
echo CONFIG_XEN_DOM0=y >boot/config-6.1
for name in xen-4.17.gz vmlinuz-6.1; do echo something >boot/$name; done
mkconfig() {
    sed "s,/boot/,$folder/boot/,g" etc/grub.d/20_linux_xen |
        GRUB_CMDLINE_XEN=$1 GRUB_CMDLINE_LINUX=$2 GRUB_DEVICE=/dev/sda1 GRUB_DEVICE_BOOT=/dev/sda1 grub_probe=true \
            grub_mkrelpath=echo grub_file=$folder/usr/bin/grub-file pkgdatadir=$folder/usr/share/grub \
            sh 2>/dev/null >made.cfg
    grep -E '^\s(multiboot2?|module2?)\s' made.cfg
}
{
    echo 'serial --unit=0'
    echo 'terminal_output serial'
    echo 'terminfo -g 250x24 serial vt100'
    mkconfig 'rmrr=0x8d8=0:0:1d.0;0x8d9=0:0:1a.0 iommu=1' \
        'pci=resource_alignment=0000:03:00.0;0000:04:00.0 quiet' | sed -E 's/^\s\w+/echo as-is:/'
    mkconfig 'rmrr="0x8d8=0:0:1d.0;0x8d9=0:0:1a.0" iommu=1' \
        'pci=resource_alignment="0000:03:00.0;0000:04:00.0" quiet' | sed -E 's/^\s\w+/echo quoted:/'
    echo halt
} | sed "s,$folder,," | tee grub.cfg

tar -cf memdisk grub.cfg
echo 'configfile (memdisk)/grub.cfg' >first
./usr/bin/grub-mkimage -d usr/lib/grub/i386-pc -O i386-pc -p / -c first -m memdisk -o core.img \
    biosdisk memdisk tar normal configfile echo serial terminal terminfo halt
cat usr/lib/grub/i386-pc/boot.img core.img >disk
truncate -s 4M disk
timeout 120 usr/bin/qemu-system-x86_64 -L usr/share/qemu -L usr/share/seabios -M q35 -accel tcg -m 64 -nodefaults \
    -display none -serial stdio -drive file=disk,format=raw </dev/null |
    tr -d '\r' | grep -aoE '(as-is|quoted|error): .*' | tee said

diff - said <<'END'
as-is: /boot/xen-4.17.gz placeholder rmrr=0x8d8=0:0:1d.0
error: invalid variable name `0x8d9'.
as-is: /boot/vmlinuz-6.1 placeholder root=/dev/sda1 ro pci=resource_alignment=0000:03:00.0
error: can't find command `0000:04:00.0'.
quoted: /boot/xen-4.17.gz placeholder rmrr=0x8d8=0:0:1d.0;0x8d9=0:0:1a.0 iommu=1
quoted: /boot/vmlinuz-6.1 placeholder root=/dev/sda1 ro pci=resource_alignment=0000:03:00.0;0000:04:00.0 quiet
END
echo "As described: without quotes of their own the options end at the semicolon; iommu=1 and quiet are lost."
