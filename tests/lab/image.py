"""The disks that lab hosts start from: one Debian with Xen, and on it either boot loader.

Nothing here mounts or needs a loop device: mke2fs fills the partition from a folder, and the boot loader is
installed by the disk's own Linux, started once without Xen.
"""

import hashlib
import lzma
import os
import shutil
import subprocess
import time

from lab import debian, qemu
from lab.errors import LabError

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
LAB = os.path.abspath(os.environ.get("LAB") or os.path.join(REPOSITORY, "build", "lab"))
QEMU = os.path.join(LAB, "qemu")
IMAGE = os.path.join(LAB, "image")
KEY = os.path.join(IMAGE, "key")  # the ssh key that dom0 lets in

SUITE = "bookworm"  # Xen 4.17, Linux 6.1
WITH_IOMMU = "extlinux-iommu"  # extlinux, and Xen told to use the IOMMU: for stories that begin after that
LOADERS = ("extlinux", "grub", WITH_IOMMU)
PACKAGES = (
    "xen-hypervisor-4.17-amd64 xen-utils-4.17 qemu-system-xen linux-image-amd64 "
    "extlinux syslinux-common grub-pc-bin grub2-common "
    "systemd-sysv udev openssh-server python3 rpm iproute2 ethtool kmod pciutils procps "
    "busybox-static cpio iputils-ping xz-utils"
).split()
# Drivers that no lab host has hardware for, or that only make the boot of an emulated CPU longer.
UNUSED = (
    "arch/x86/crypto arch/x86/kvm drivers/ata drivers/bluetooth drivers/char drivers/crypto drivers/edac "
    "drivers/gpu drivers/hwmon drivers/i2c/busses drivers/iio drivers/infiniband drivers/input drivers/isdn "
    "drivers/leds drivers/md drivers/media drivers/mfd drivers/mtd drivers/net/wireless drivers/scsi "
    "drivers/net/ethernet/chelsio drivers/net/ethernet/mellanox drivers/net/ethernet/qlogic drivers/platform "
    "drivers/powercap drivers/staging drivers/thunderbolt drivers/usb drivers/watchdog fs/btrfs fs/ceph "
    "fs/gfs2 fs/ocfs2 fs/xfs net/bluetooth net/mac80211 net/wireless sound"
).split()
DISK_MIB = 2048
PARTITION_MIB = 1  # where the one partition begins
LOADER_SECONDS = 600  # installing a boot loader takes 10 to 30


def disk(loader: str) -> str:
    """The disk with that boot loader; hosts write to overlays of it."""
    return os.path.join(IMAGE, f"{loader}.qcow2")


def recipe() -> str:
    """A hash of everything that makes the image what it is."""
    parts = ("image.py", "debian.py", "customize", "dom0")
    packed = ["tar", "-C", HERE, "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-c", *parts]
    return hashlib.sha256(subprocess.check_output(packed)).hexdigest()


def build() -> None:
    """Builds QEMU's tree and the disks, or says that they are there."""
    os.makedirs(LAB, exist_ok=True)
    started = time.monotonic()

    def say(what: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {what}", flush=True)

    if not os.path.isdir(QEMU):
        say(f"QEMU: unpacking Debian {qemu.SUITE}'s")
        qemu.install(QEMU)
    stamp = os.path.join(IMAGE, f"recipe-{recipe()}")
    if os.path.exists(stamp):
        say(f"the image in {IMAGE} is as its recipe says: used again")
        return
    shutil.rmtree(IMAGE, ignore_errors=True)
    os.makedirs(IMAGE)
    say(f"image: Debian {SUITE} with Xen")
    subprocess.check_call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", KEY])
    root = os.path.join(IMAGE, "root")
    make_root(root)
    say("image: the disk")
    make_disk(root)
    shutil.rmtree(root)
    for loader in LOADERS:
        say(f"image: {loader} on the disk")
        install_loader(loader)
    open(stamp, "w").close()
    say("image: done")


def make_root(root: str) -> None:
    """Debian's files, made a dom0 by the hook `customize`; kernel and initramfs are put beside the disks."""
    unused = [
        f"--dpkgopt=path-exclude={prefix}/lib/modules/*/kernel/{folder}/*"
        for folder in UNUSED
        for prefix in ("", "/usr")
    ]
    no_initramfs = "--dpkgopt=path-exclude=/etc/kernel/postinst.d/*"  # `customize` makes a small one
    customize = f'--customize-hook="{HERE}/customize" "$1" "{KEY}.pub"'
    subprocess.check_call(
        debian.mmdebstrap(SUITE, root, PACKAGES, "minbase", *unused, no_initramfs, customize)
    )
    boot = os.path.join(root, "boot")
    with open(os.path.join(boot, "vmlinuz"), "rb") as file:
        kernel = plain_kernel(file.read())
    with open(os.path.join(boot, "vmlinux-guest"), "wb") as file:
        file.write(kernel)
    for name in ("vmlinux-guest", "initrd.img"):
        shutil.copy(os.path.join(boot, name), IMAGE)


def plain_kernel(bzimage: bytes) -> bytes:
    """The ELF file inside Debian's bzImage: nothing is then left to unpack at each start of a guest."""
    return lzma.LZMADecompressor().decompress(bzimage[bzimage.index(b"\xfd7zXZ\0") :])


def make_disk(root: str) -> None:
    """One bootable Linux partition, filled from the folder."""
    path = os.path.join(IMAGE, "disk.img")
    with open(path, "wb") as file:
        file.truncate(DISK_MIB << 20)
    layout = f"start={PARTITION_MIB}MiB, type=83, bootable\n"
    subprocess.run(["sfdisk", "-q", path], input=layout.encode(), check=True)
    # an old extlinux reads neither feature
    plain = ["-t", "ext4", "-L", "labroot", "-O", "^64bit,^metadata_csum", "-J", "size=16"]
    where = ["-E", f"offset={PARTITION_MIB << 20}", "-d", root]
    subprocess.check_call(["mke2fs", "-q", *plain, *where, path, f"{DISK_MIB - PARTITION_MIB}M"])


def overlay(base: str, base_format: str, path: str) -> None:
    """A new disk that is `base` until it is written to."""
    options = ["create", "-q", "-f", "qcow2", "-b", base, "-F", base_format, path]
    subprocess.check_call(qemu.command(QEMU, "qemu-img", *options))


def install_loader(loader: str) -> None:
    """Starts the disk's own Linux once, without Xen, with an init that installs the boot loader."""
    overlay(os.path.join(IMAGE, "disk.img"), "raw", disk(loader))
    kernel = ["-kernel", os.path.join(IMAGE, "vmlinux-guest"), "-initrd", os.path.join(IMAGE, "initrd.img")]
    init = f"init=/usr/local/sbin/install-loader -- {loader}"
    options = f"root=LABEL=labroot ro console=ttyS0 quiet panic=-1 {init}"
    drive = f"file={disk(loader)},format=qcow2,if=virtio,cache=unsafe"
    machine = ["-m", "512", "-no-reboot", "-serial", "stdio", "-monitor", "none", "-drive", drive]
    run = subprocess.run(
        qemu.emulator(QEMU, *machine, *kernel, "-append", options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LOADER_SECONDS,
    )
    said = run.stdout.decode("utf-8", "replace")
    if f"install-loader {loader}: exit status 0" not in said:
        raise LabError(f"installing {loader} on the disk failed:\n{said}")
