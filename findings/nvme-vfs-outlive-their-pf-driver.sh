#!/usr/bin/env bash
# Linux: the VFs of an NVMe PF outlive its driver, and without that driver nothing in sysfs removes them.
#
# Guess: `unbind` of a PF's driver takes its VFs away, as it does with igb or ixgbe; or, if not, `echo 0 >sriov_numvfs`
#        does afterwards, since VFs are the PCI core's.
# Seen:  the driver nvme leaves them (`driver left SR-IOV enabled after remove`). They stay, and can be bound; to write 0
#        is ENOENT, also under a driver that does not know SR-IOV (as pciback and pci-stub). A VF has no `remove`. Once
#        nvme has the PF back, 0 is accepted.
# Why it matters: a PF that is taken for passthrough as a whole, or whose driver is swapped, leaves devices behind that
#        may be a VM's; and ENOENT reads as if the file, or SR-IOV, were not there.
# Source: Linux drivers/nvme/host/pci.c, nvme_remove(); drivers/pci/iov.c, pci_iov_remove() and sriov_numvfs_store().
#
# Needs bash and apt-get. The PF is QEMU's emulated NVMe controller, the kernel Debian's; no KVM is needed.
set -euo pipefail

KERNEL=6.1.0-50-cloud-amd64 QEMU=1:7.2+dfsg-7+deb12u18+b3 # Debian 12
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances qemu-system-x86 | grep -E '^(lib|qemu-system-(common|data)|seabios)' | grep -vx libc6 |
    sort -u) || true
# shellcheck disable=SC2086 # they are words
apt-get download -qq "linux-image-$KERNEL=6.1.176-1" "qemu-system-x86=$QEMU" busybox-static $libraries 2>/dev/null ||
    { echo "Linux $KERNEL or QEMU $QEMU is not to be had here: nothing was tried." >&2; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done
export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu:$folder/lib/x86_64-linux-gnu

mkdir -p root/bin root/proc root/sys
cp bin/busybox lib/modules/$KERNEL/kernel/drivers/uio/uio*.ko root/bin
cat >root/init <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
insmod /bin/uio.ko
insmod /bin/uio_pci_generic.ko
pf=/sys/bus/pci/devices/0000:01:00.0 driver=/sys/bus/pci/drivers/uio_pci_generic
until [ -e $pf/driver ]; do sleep 0.1; done
uname -sr
say() { echo "SAID $*"; }
vfs() { ls -d $pf/virtfn* 2>/dev/null | wc -l; }
numvfs() {
    error=$( { echo $2 >$pf/sriov_numvfs; } 2>&1) && error=accepted
    say "$1: $2: ${error##*: }; $(vfs) VFs"
}
echo 0 >$pf/sriov_drivers_autoprobe
numvfs nvme 2
echo 0000:01:00.0 >/sys/bus/pci/drivers/nvme/unbind
[ -e $pf/virtfn0/remove ] || say "VF 0 has no remove"
say "unbound: $(vfs) VFs, sriov_numvfs $(cat $pf/sriov_numvfs)"
dmesg | grep -o 'driver left SR-IOV enabled.*'
numvfs 'no driver' 0
echo uio_pci_generic >$pf/driver_override
echo 0000:01:00.0 >$driver/bind
numvfs "$(basename "$(readlink $pf/driver)")" 0
echo 0000:01:00.0 >$driver/unbind
echo >$pf/driver_override
echo 0000:01:00.0 >/sys/bus/pci/drivers/nvme/bind
numvfs 'nvme again' 0
poweroff -f
END
chmod +x root/init
(cd root && find . | bin/busybox cpio -o -H newc 2>/dev/null) >initramfs
timeout 240 usr/bin/qemu-system-x86_64 -L usr/share/qemu -L usr/share/seabios -M q35 -accel tcg -m 256 -nodefaults \
    -display none -serial stdio -no-reboot -kernel boot/vmlinuz-$KERNEL -initrd initramfs \
    -append 'console=ttyS0 quiet panic=-1 mitigations=off' \
    -device pcie-root-port,id=slot1,chassis=1 -device nvme-subsys,id=subsystem \
    -device nvme,bus=slot1,serial=lab,subsys=subsystem,sriov_max_vfs=2,sriov_vi_flexible=2,sriov_vq_flexible=4 \
    </dev/null | tr -d '\r' | grep -aE '^(SAID|Linux|driver left) ' | tee said

diff - <(grep ^SAID said) <<'END'
SAID nvme: 2: accepted; 2 VFs
SAID VF 0 has no remove
SAID unbound: 2 VFs, sriov_numvfs 2
SAID no driver: 0: No such file or directory; 2 VFs
SAID uio_pci_generic: 0: No such file or directory; 2 VFs
SAID nvme again: 0: accepted; 0 VFs
END
echo "As described: the VFs stayed, and only their PF's own driver could remove them."
