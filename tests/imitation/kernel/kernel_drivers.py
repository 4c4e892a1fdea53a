"""Which driver holds which device: the driver core's rules (drivers/base/bus.c, drivers/pci/pci-driver.c)
and what bind, unbind, driver_override and drivers_probe do."""

import errno
from typing import Iterator, List, Tuple

import kernel_net
import kernel_pciback
from kernel_sysfs import Sysfs, name, refuse
from machine_devices import BUS, driver

NOT_SET = "(null)"


def register(sysfs: Sysfs, title: str, module: str) -> None:
    """A driver comes. It takes nothing yet: `offer` does."""
    sysfs.plant(driver(title, module))
    sysfs.state.setdefault("drivers", []).append(title)


def registered(sysfs: Sysfs) -> List[str]:
    """In the order in which the kernel offers them a device: that in which they came (drivers/base/bus.c,
    bus_add_driver). Seen in the lab: an igbvf that is older than pciback gets VFs that have a slot. Of a
    recording's drivers nobody knows; pciback is the first of them, as where it is built in."""
    came = sysfs.state.get("drivers", [])

    def place(title: str) -> Tuple[int, bool]:
        return (came.index(title) if title in came else -1, title != kernel_pciback.NAME)

    return sorted(sysfs.names(BUS + "/drivers"), key=place)


def unregister(sysfs: Sysfs, title: str) -> None:
    """A driver that has no device any more goes."""
    sysfs.remove(f"{BUS}/drivers/{title}")
    sysfs.state["drivers"] = [other for other in sysfs.state.get("drivers", []) if other != title]


def matches(sysfs: Sysfs, title: str, device: str) -> bool:
    """driver_override names the only driver that may have the device, whatever it is."""
    override = sysfs.text(device + "/driver_override").strip()
    if override != NOT_SET:
        return override == title
    if title == kernel_pciback.NAME:
        return True
    return (title, identity(sysfs, device)) in modules(sysfs)


def identity(sysfs: Sysfs, device: str) -> str:
    """vendor:device"""
    return ":".join(sysfs.text(f"{device}/{part}").strip()[2:] for part in ("vendor", "device"))


def modules(sysfs: Sysfs) -> Iterator[Tuple[str, str]]:
    """The drivers of the described cards and what they drive: module, vendor:device."""
    for card in sysfs.description.cards:
        if card.driver:
            yield card.driver, card.device
        if card.sriov and card.sriov.driver:
            yield card.sriov.driver, card.device.split(":")[0] + ":" + card.sriov.device


def offer(sysfs: Sysfs, device: str) -> None:
    """A device is born, or drivers_probe names it: the first driver that matches and takes it."""
    for title in registered(sysfs):
        if sysfs.driver(device) is None and matches(sysfs, title, device):
            try:
                attach(sysfs, title, device)
            except OSError as refused:
                if refused.errno != errno.ENODEV:
                    raise


def attach(sysfs: Sysfs, title: str, device: str) -> None:
    """The driver probes the device; ENODEV where it does not take it."""
    probed = True
    if not _may_probe(sysfs, device):
        # Linux before 5.3 took "not probed" for success: the device looks bound, and nothing has
        # been done with it. From 5.3 on the bind fails.
        if not sysfs.older_than(5, 3):
            refuse(errno.ENODEV, device)
        probed = False
    elif title == kernel_pciback.NAME and not kernel_pciback.wants(sysfs, device):
        refuse(errno.ENODEV, device)
    sysfs.link(device + "/driver", f"{BUS}/drivers/{title}")
    sysfs.link(f"{BUS}/drivers/{title}/{name(device)}", device)
    sysfs.put(device + "/uevent", f"DRIVER={title}\n" + sysfs.text(device + "/uevent"))
    if not probed:
        return
    if title == kernel_pciback.NAME:
        kernel_pciback.seized(sysfs, device)
    else:
        sysfs.put(device + "/enable", "1\n")
        kernel_net.add_of_device(sysfs, device)


def _may_probe(sysfs: Sysfs, device: str) -> bool:
    """A VF of a PF with sriov_drivers_autoprobe 0 is probed only if it has a driver_override."""
    autoprobe = sysfs.physical(device) + "/sriov_drivers_autoprobe"
    return (
        not sysfs.is_virtual(device)
        or not sysfs.exists(autoprobe)
        or sysfs.text(autoprobe).strip() == "1"
        or sysfs.text(device + "/driver_override").strip() != NOT_SET
    )


def detach(sysfs: Sysfs, device: str) -> None:
    title = sysfs.driver(device)
    if title is None:
        return
    kernel_net.remove_of_device(sysfs, device)
    sysfs.remove(device + "/driver")
    sysfs.remove(f"{BUS}/drivers/{title}/{name(device)}")
    sysfs.put(device + "/uevent", sysfs.text(device + "/uevent").replace(f"DRIVER={title}\n", ""))
    sysfs.put(device + "/enable", "0\n")
    if title == kernel_pciback.NAME:
        kernel_pciback.released(sysfs, device)


def override(sysfs: Sysfs, path: str, text: str) -> None:
    """A newline alone takes the override away; unset reads `(null)` (measured)."""
    wanted = text.partition("\n")[0]
    sysfs.put(path, (wanted or NOT_SET) + "\n")
