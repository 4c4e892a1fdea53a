"""What a write to sysfs does, which modules there are and what loading one does. Every write goes
through here; the rules of each part are in its own module."""

import errno
import re
from typing import Callable, List, Sequence, Tuple

import kernel_drivers
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
            settle(sysfs)
            return
    if real.rsplit("/", 1)[-1] in _WRITABLE:
        raise NotImplementedError(f"the effect of writing to {real}")
    refuse(errno.EACCES, path)


def _bind(sysfs: Sysfs, path: str, text: str) -> None:
    title = path.split("/")[-2]
    device = kernel_drivers.checked_for_bind(sysfs, title, text.strip())
    kernel_sriov.bind(sysfs, title, device, _options(sysfs, title))


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


# -- modules -------------------------------------------------------------------------------------


def loaded(sysfs: Sysfs) -> List[str]:
    return [line.split()[0] for line in sysfs.text("/proc/modules").splitlines()]


def available(sysfs: Sysfs, module: str) -> bool:
    return f"/{_file_name(module)}.ko" in _dashed(sysfs.text(_folder(sysfs) + "/modules.dep"))


def built_in(sysfs: Sysfs, module: str) -> bool:
    return f"/{_file_name(module)}.ko" in _dashed(sysfs.text(_folder(sysfs) + "/modules.builtin"))


def load(sysfs: Sysfs, module: str, options: str = "") -> None:
    """What modprobe has the kernel do, for a module that is there."""
    title = module.replace("-", "_")
    if title in loaded(sysfs) or built_in(sysfs, module):
        return
    sysfs.put("/proc/modules", sysfs.text("/proc/modules") + f"{title} 53248 0 - Live 0x0000000000000000\n")
    start_driver(sysfs, module, f"{_options(sysfs, module)} {options}")
    settle(sysfs)


def start_driver(sysfs: Sysfs, module: str, options: str) -> None:
    """A driver begins its work: it is offered every device that it knows and nobody has."""
    sysfs.put(f"/sys/module/{module.replace('-', '_')}", {})
    if module.replace("_", "-") in ("xen-pciback", "pciback"):
        _start_pciback(sysfs, module)
    elif any(module == known for known, _ in kernel_drivers.modules(sysfs)):
        kernel_drivers.register(sysfs, module, module)
        for device in _devices(sysfs):
            if sysfs.driver(device) is None and kernel_drivers.matches(sysfs, module, device):
                try:
                    kernel_sriov.bind(sysfs, module, device, options)
                except OSError as refused:
                    sysfs.say(f"{module} {device}: probe failed with error {refused.errno}")


def _start_pciback(sysfs: Sysfs, module: str) -> None:
    try:
        slots = kernel_pciback.hidden(sysfs.text("/proc/cmdline"))
    except ValueError as unreadable:
        # One entry that it cannot read and it does not register at all (pcistub_init).
        sysfs.say(f"xen-pciback: Error parsing pci_devs_to_hide at \"{unreadable}\"")
        return
    kernel_drivers.register(sysfs, kernel_pciback.NAME, module)
    for slot in slots:
        kernel_pciback.add_slot(sysfs, slot)
        device = sysfs.device(slot)
        if device is not None and sysfs.driver(device) is None:
            kernel_drivers.attach(sysfs, kernel_pciback.NAME, device)
    sysfs.say("xen_pciback: backend is vpci")


def settle(sysfs: Sysfs) -> None:
    """What udev does about new devices: loads the modules for them that are not blacklisted."""
    present = {
        ":".join(sysfs.text(f"{device}/{part}").strip()[2:] for part in ("vendor", "device"))
        for device in _first_of_each(sysfs)
    }
    for module, identity in kernel_drivers.modules(sysfs):
        if identity in present and module not in _configured(sysfs, "blacklist"):
            load(sysfs, module)


def _first_of_each(sysfs: Sysfs) -> List[str]:
    """The described PFs, and one VF of each that has some."""
    physical = [
        device
        for card in sysfs.description.cards
        for device in map(sysfs.device, card.addresses)
        if device is not None
    ]
    return physical + [
        resolved(sysfs.root, device + "/virtfn0") for device in physical if sysfs.exists(device + "/virtfn0")
    ]


def _devices(sysfs: Sysfs) -> List[str]:
    return [resolved(sysfs.root, f"{BUS}/devices/{address}") for address in sysfs.names(BUS + "/devices")]


def _options(sysfs: Sysfs, module: str) -> str:
    """What /etc/modprobe.d says for that module."""
    lines = _configured(sysfs, "options")
    return " ".join(rest for line in lines for title, _, rest in [line.partition(" ")] if title == module)


def _configured(sysfs: Sysfs, keyword: str) -> List[str]:
    """The rest of each line of /etc/modprobe.d that begins with the keyword."""
    found = []
    for name in sysfs.names("/etc/modprobe.d"):
        if name.endswith(".conf"):
            for line in sysfs.text(f"/etc/modprobe.d/{name}").splitlines():
                first, _, rest = line.strip().partition(" ")
                if first == keyword:
                    found.append(rest.strip())
    return found


def _folder(sysfs: Sysfs) -> str:
    return f"/lib/modules/{sysfs.description.kernel}"


def _file_name(module: str) -> str:
    return module.replace("_", "-")


def _dashed(text: str) -> str:
    return text.replace("_", "-")
