"""Kernel modules: which there are, what loading and unloading one does, and what udev loads by itself."""

from typing import List, Set

import kernel_drivers
import kernel_modprobe
import kernel_pciback
import kernel_sriov
from kernel_sysfs import Sysfs, name, resolved
from machine_devices import BUS

PCIBACK = ("xen_pciback", "pciback")  # its module today, and on XenServer 5.6


def loaded(sysfs: Sysfs) -> List[str]:
    return [line.split()[0] for line in sysfs.text("/proc/modules").splitlines()]


def available(sysfs: Sysfs, module: str) -> bool:
    return _listed(sysfs, "modules.dep", module)


def built_in(sysfs: Sysfs, module: str) -> bool:
    return _listed(sysfs, "modules.builtin", module)


def in_use(sysfs: Sysfs, module: str) -> bool:
    """pciback is, while a guest has a device (recorded: lsmod counts 1); a network driver never is."""
    devices = [domain for domain in sysfs.state["domains"].values() if domain["devices"]]
    return _underscored(module) in PCIBACK and bool(devices)


def load(sysfs: Sysfs, module: str, options: str = "") -> None:
    """What modprobe has the kernel do; a dash in a module's name is an underscore to the kernel."""
    title = _underscored(module)
    if title not in loaded(sysfs) and available(sysfs, module):
        _write_loaded(sysfs, loaded(sysfs) + [title])
        sysfs.put(f"/sys/module/{title}/initstate", "live\n")
        start_driver(sysfs, module, f"{kernel_modprobe.options(sysfs, module)} {options}")
        settle(sysfs)


def unload(sysfs: Sysfs, module: str) -> None:
    title = _underscored(module)
    if title not in loaded(sysfs):
        return
    driver = kernel_pciback.NAME if title in PCIBACK else module
    folder = f"{BUS}/drivers/{driver}"
    for address in sysfs.names(folder):
        device = sysfs.device(address)
        if device is not None:
            kernel_sriov.unbind(sysfs, device)
    kernel_drivers.unregister(sysfs, driver)
    sysfs.remove(f"/sys/module/{title}")
    _write_loaded(sysfs, [other for other in loaded(sysfs) if other != title])


def start_driver(sysfs: Sysfs, module: str, options: str = "") -> None:
    """A driver begins its work: it is offered every device that it knows and nobody has."""
    if _underscored(module) in PCIBACK:
        _start_pciback(sysfs, module)
        return
    kernel_drivers.register(sysfs, module, module)
    sysfs.state.setdefault("boards", {}).pop(module, None)  # what it counts its devices with
    for address in sysfs.names(BUS + "/devices"):
        device = sysfs.device(address)
        assert device is not None
        if sysfs.driver(device) is None and kernel_drivers.matches(sysfs, module, device):
            try:
                kernel_sriov.bind(sysfs, module, device, options)
            except OSError as refused:
                sysfs.say(f"{module} {address}: probe failed with error -{refused.errno}")


def _start_pciback(sysfs: Sysfs, module: str) -> None:
    try:
        slots = kernel_pciback.hidden(sysfs.text("/proc/cmdline"))
    except ValueError as unreadable:
        # One entry that it cannot read, and it does not register at all (pcistub_init).
        sysfs.say(f'xen-pciback: Error parsing pci_devs_to_hide at "{unreadable}"')
        return
    # Built in or not, it has parameters, and so the kernel shows a module (drivers/base/module.c);
    # the recording has the same of shpchp. Only a loaded one has an initstate.
    for parameter in ("hide", "passthrough", "permissive"):
        sysfs.put(f"/sys/module/{_underscored(module)}/parameters/{parameter}", "N\n")
    kernel_drivers.register(sysfs, kernel_pciback.NAME, module)
    for slot in slots:
        kernel_pciback.add_slot(sysfs, slot)
        device = sysfs.device(slot)
        if device is not None and sysfs.driver(device) is None:
            kernel_drivers.attach(sysfs, kernel_pciback.NAME, device)
    sysfs.say("xen_pciback: backend is vpci")


def settle(sysfs: Sysfs) -> None:
    """What udev does about new devices: loads the modules for them that are not blacklisted."""
    texts = kernel_modprobe.files(sysfs).values()
    blacklisted = [title for text in texts for title in kernel_modprobe.lines(text, "blacklist")]
    there = loaded(sysfs)
    wanted = [
        (module, identity)
        for module, identity in kernel_drivers.modules(sysfs)
        if module not in blacklisted and _underscored(module) not in there
    ]
    present = _present(sysfs) if wanted else set()
    for module, identity in wanted:
        if identity in present:
            load(sysfs, module)


def _present(sysfs: Sysfs) -> Set[str]:
    """What there is of the described cards, and of their VFs: vendor:device."""
    found = (sysfs.device(address) for card in sysfs.description.cards for address in card.addresses)
    devices = [device for device in found if device is not None]
    first = [device + "/virtfn0" for device in devices if sysfs.exists(device + "/virtfn0")]
    devices += [resolved(sysfs.root, link) for link in first]
    return {kernel_drivers.identity(sysfs, device) for device in devices}


def _listed(sysfs: Sysfs, index: str, module: str) -> bool:
    paths = sysfs.text(f"/lib/modules/{sysfs.description.kernel}/{index}").split()
    return _underscored(module) in [_underscored(name(path).partition(".")[0]) for path in paths]


def _underscored(module: str) -> str:
    return module.replace("-", "_")


def _write_loaded(sysfs: Sysfs, titles: List[str]) -> None:
    sysfs.put("/proc/modules", "".join(f"{title} 53248 0 - Live 0x0000000000000000\n" for title in titles))
