"""What a write to sysfs does: every one goes through here; the rules of each part are in its own module."""

import errno
import re
from typing import Callable, Sequence, Tuple

import kernel_drivers
import kernel_modprobe
import kernel_modules
import kernel_pciback
import kernel_sriov
from kernel_sysfs import Sysfs, refuse, resolved
from machine_devices import BUS


def write(sysfs: Sysfs, path: str, text: str) -> None:
    """A write to an attribute: has the kernel's effect, or raises the kernel's OSError."""
    real = resolved(sysfs.root, path)
    if not sysfs.exists(real):
        refuse(errno.ENOENT, path)
    for pattern, effect in _EFFECTS:
        if re.fullmatch(pattern, real):
            effect(sysfs, real, text)
            kernel_modules.settle(sysfs)
            return
    if real.rsplit("/", 1)[-1] in _WRITABLE:
        raise NotImplementedError(f"the effect of writing to {real}")
    refuse(errno.EACCES, path)


def _bind(sysfs: Sysfs, path: str, text: str) -> None:
    title = path.split("/")[-2]
    device = kernel_drivers.checked_for_bind(sysfs, title, text.strip())
    kernel_sriov.bind(sysfs, title, device, kernel_modprobe.options(sysfs, title))


def _unbind(sysfs: Sysfs, path: str, text: str) -> None:
    device = kernel_drivers.checked_for_unbind(sysfs, path.split("/")[-2], text.strip())
    kernel_sriov.unbind(sysfs, device)


def _probe(sysfs: Sysfs, path: str, text: str) -> None:
    device = sysfs.device(text.strip())
    if device is None:
        refuse(errno.ENODEV, path)
    if sysfs.driver(device) is None:
        kernel_drivers.offer(sysfs, device)


def _new_slot(sysfs: Sysfs, _path: str, text: str) -> None:
    kernel_pciback.add_slot(sysfs, text)


def _remove_slot(sysfs: Sysfs, _path: str, text: str) -> None:
    kernel_pciback.remove_slot(sysfs, text)


_DEVICE = r"/sys/devices/.*/[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"
_EFFECTS: Sequence[Tuple[str, Callable[[Sysfs, str, str], None]]] = (
    (_DEVICE + "/sriov_numvfs", kernel_sriov.set_number),
    (_DEVICE + "/sriov_drivers_autoprobe", kernel_sriov.set_autoprobe),
    (_DEVICE + "/driver_override", kernel_drivers.override),
    (re.escape(BUS) + "/drivers/[^/]+/bind", _bind),
    (re.escape(BUS) + "/drivers/[^/]+/unbind", _unbind),
    (re.escape(BUS) + "/drivers_probe", _probe),
    (re.escape(kernel_pciback.FOLDER) + "/new_slot", _new_slot),
    (re.escape(kernel_pciback.FOLDER) + "/remove_slot", _remove_slot),
)
# What else a real kernel lets root write; not imitated, and a test should hear of it.
_WRITABLE = (
    "remove rescan reset reset_method enable new_id remove_id uevent permissive quirks numa_node msi_bus"
    " d3cold_allowed broken_parity_status sriov_vf_msix_count drivers_autoprobe ifalias mtu power"
).split()
