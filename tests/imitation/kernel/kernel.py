"""What a write to sysfs does: every one goes through here; the rules of each part are in its own module."""

import errno
from typing import Callable, Dict

import kernel_drivers
import kernel_modprobe
import kernel_modules
import kernel_pciback
import kernel_sriov
from kernel_sysfs import Sysfs, name, refuse, resolved


def write(sysfs: Sysfs, path: str, text: str) -> None:
    """A write to an attribute: has the kernel's effect, or raises the kernel's OSError."""
    real = resolved(sysfs.root, path)
    if not sysfs.exists(real):
        refuse(errno.ENOENT, path)
    attribute = name(real)
    if attribute not in _EFFECTS:
        raise NotImplementedError(f"the effect of writing to {real}")
    _EFFECTS[attribute](sysfs, real, text)
    kernel_modules.settle(sysfs)


def _bind(sysfs: Sysfs, path: str, text: str) -> None:
    title, device = path.split("/")[-2], sysfs.device(text.strip())
    if device is None or not kernel_drivers.matches(sysfs, title, device):
        refuse(errno.ENODEV, path)
    if sysfs.driver(device) is not None:
        # Measured on 6.1; before 5.14 (drivers/base/bus.c) it was ENODEV too.
        refuse(errno.ENODEV if sysfs.older_than(5, 14) else errno.EBUSY, path)
    kernel_sriov.bind(sysfs, title, device, kernel_modprobe.options(sysfs, title))


def _unbind(sysfs: Sysfs, path: str, text: str) -> None:
    device = sysfs.device(text.strip())
    if device is None or sysfs.driver(device) != path.split("/")[-2]:
        refuse(errno.ENODEV, path)
    kernel_sriov.unbind(sysfs, device)


def _probe(sysfs: Sysfs, path: str, text: str) -> None:
    device = sysfs.device(text.strip())
    if device is None:
        refuse(errno.ENODEV, path)
    if sysfs.driver(device) is None:
        kernel_drivers.offer(sysfs, device)


def _reset(sysfs: Sysfs, path: str, _text: str) -> None:
    """A function-level reset of a VF; what that of a PF does to its VFs is not imitated."""
    device = path.rpartition("/")[0]
    if not sysfs.is_virtual(device):
        raise NotImplementedError(f"the effect of writing to {path}")
    sysfs.state.setdefault("resets", []).append(name(device))


_EFFECTS: Dict[str, Callable[[Sysfs, str, str], None]] = {
    "sriov_numvfs": kernel_sriov.set_number,
    "sriov_drivers_autoprobe": kernel_sriov.set_autoprobe,
    "driver_override": kernel_drivers.override,
    "bind": _bind,
    "unbind": _unbind,
    "drivers_probe": _probe,
    "new_slot": kernel_pciback.new_slot,
    "remove_slot": kernel_pciback.remove_slot,
    "reset": _reset,
}
