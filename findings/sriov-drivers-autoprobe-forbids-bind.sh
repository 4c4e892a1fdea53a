#!/usr/bin/env bash
# Linux: with sriov_drivers_autoprobe=0 a VF cannot be bound by hand either, and the file counts for VFs that are there.
#
# Guess: what the kernel's Documentation/ABI/testing/sysfs-bus-pci says: with 0, new VFs are not bound by themselves (so
#        that one binds them by hand, to pciback for example), and a later change does not affect VFs that are enabled.
# Seen:  an explicit write to a driver's `bind` is ENODEV, like for a driver that does not fit, and nothing is logged.
#        1, written when the VF was there for long, lets it be bound; 0, written again, forbids the next bind. With the
#        driver's name in the VF's driver_override it is bound under 0 too.
# Why it matters: writing 0 looks like the way to keep dom0's drivers off VFs until they are given to VMs.
# Source: Linux drivers/pci/pci-driver.c, pci_device_can_probe(), which is asked at every bind.
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
pf=/sys/bus/pci/devices/0000:01:00.0 vf=0000:01:00.1 driver=/sys/bus/pci/drivers/uio_pci_generic
until [ -e $pf/driver ]; do sleep 0.1; done
uname -sr
say() { echo "SAID $*"; }
bind() {
    error=$( { echo $vf >$driver/bind; } 2>&1) && say "$1: bound" || say "$1: ${error##*: }"
    [ ! -e $driver/$vf ] || echo $vf >$driver/unbind
}
echo 0 >$pf/sriov_drivers_autoprobe
echo 1 >$pf/sriov_numvfs
echo 1b36 0010 >$driver/new_id # so that the driver fits the VF
bind 'autoprobe 0'
echo uio_pci_generic >$pf/virtfn0/driver_override
bind 'autoprobe 0, driver_override'
echo >$pf/virtfn0/driver_override
echo 1 >$pf/sriov_drivers_autoprobe
bind 'autoprobe 1, the VF is the same'
echo 0 >$pf/sriov_drivers_autoprobe
bind 'autoprobe 0 again'
poweroff -f
END
chmod +x root/init
(cd root && find . | bin/busybox cpio -o -H newc 2>/dev/null) >initramfs
timeout 240 usr/bin/qemu-system-x86_64 -L usr/share/qemu -L usr/share/seabios -M q35 -accel tcg -m 256 -nodefaults \
    -display none -serial stdio -no-reboot -kernel boot/vmlinuz-$KERNEL -initrd initramfs \
    -append 'console=ttyS0 quiet panic=-1 mitigations=off' \
    -device pcie-root-port,id=slot1,chassis=1 -device nvme-subsys,id=subsystem \
    -device nvme,bus=slot1,serial=lab,subsys=subsystem,sriov_max_vfs=1,sriov_vi_flexible=1,sriov_vq_flexible=2 \
    </dev/null | tr -d '\r' | grep -aE '^(SAID|Linux) ' | tee said

diff - <(grep ^SAID said) <<'END'
SAID autoprobe 0: No such device
SAID autoprobe 0, driver_override: bound
SAID autoprobe 1, the VF is the same: bound
SAID autoprobe 0 again: No such device
END
echo "As described: the file forbids binding, also by hand, and also of a VF that is there."
