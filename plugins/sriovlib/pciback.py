"""pciback, the driver that holds devices for VMs: is it there, loaded by what, wanted at each boot."""

import errno
from typing import Any, Dict, Mapping, NamedTuple, Optional, Set

from . import arguments, hostconfig, ini, pci
from .errors import SriovError
from .host import Host

DRIVER = f"/sys/bus/pci/drivers/{pci.PCIBACK}"  # xenopsd takes this folder as the proof, so do we
MODULES = ("xen-pciback", "pciback")  # today's name, and that of XenServer 5.6


class Pciback(NamedTuple):
    """`module` is None where the driver is built into the kernel (as in XCP-ng 8.3), or not there."""

    loaded: bool
    module: Optional[str]


def find(host: Host) -> Pciback:
    """Whether the driver is there, and by which module. A built-in one has a folder in /sys/module
    too; what only a loaded module has is `initstate` (kernel: kernel/module, drivers/base/module.c)."""
    if not host.exists(DRIVER):
        return Pciback(False, None)
    module = host.link(f"{DRIVER}/module")
    if module is None or not host.exists(f"/sys/module/{module}/initstate"):
        return Pciback(True, None)
    return Pciback(True, module.replace("_", "-"))


def load(host: Host) -> Pciback:
    """Makes sure that the driver is there now; `SRIOV_PCIBACK_UNAVAILABLE` where it cannot be."""
    found = find(host)
    tried = []
    for module in MODULES:
        if found.loaded:
            break
        answer = host.run(["modprobe", module])
        found = find(host)
        if not found.loaded:
            tried.append(f"`{answer.complaint}`" if answer.status else f"`modprobe {module}`: no driver")
    if not found.loaded:
        raise SriovError(
            "SRIOV_PCIBACK_UNAVAILABLE",
            f"The dom0 kernel has no pciback driver. Tried {', '.join(tried)}.",
            "Boot a dom0 kernel with xen-pciback, as those of XenServer and XCP-ng are.",
        )
    return found


def load_pciback(host: Host, _session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `load_pciback`: the driver now, and at each boot or (not `persistent`) no more."""
    persistent = arguments.boolean(args, "persistent", True)
    before = find(host)
    now = load(host)

    def keep(config: hostconfig.HostConfig) -> ini.Document:
        if config.pciback == persistent:
            return config.document
        return ini.changed(config.document, hostconfig.HOST, {"pciback": "yes" if persistent else None})

    try:
        config, kept = hostconfig.edit(host, keep)
    except SriovError:
        if not before.loaded and now.module:
            host.run(["modprobe", "--remove", now.module])
        raise
    changed = not before.loaded or config is not kept
    if changed:
        host.log(f"pciback: {now.module or 'built in'}, at each boot: {'yes' if persistent else 'no'}")
    return {"loaded": now.loaded, "changed": changed, "persistent": persistent, "module": now.module}


# -- holding devices -----------------------------------------------------------------------------


def slots(host: Host) -> Set[str]:
    """The addresses that pciback takes when a device appears there; a slot outlives its device."""
    return set((host.text(f"{DRIVER}/slots") or "").split())


def add_slot(host: Host, address: str) -> None:
    host.write_attribute(f"{DRIVER}/new_slot", address)


def remove_slot(host: Host, address: str) -> None:
    """None there is as good (the kernel: ENOENT)."""
    try:
        host.write_attribute(f"{DRIVER}/remove_slot", address)
    except FileNotFoundError:
        pass


def keep_others_off(host: Host, address: str) -> None:
    """From now on no other driver is asked for the device; `release` ends that."""
    device = f"{pci.DEVICES}/{address}"
    host.write_attribute(f"{device}/driver_override", pci.PCIBACK)
    if host.link(f"{device}/driver") is not None:  # before Linux 5.3 it looks bound though nobody was asked
        host.write_attribute(f"{device}/driver/unbind", address)


def take(host: Host, address: str) -> None:
    """Makes pciback hold the device, taking it over from whatever driver has it; raises OSError.

    The order of xenopsd: the slot first, or bind is refused with ENODEV. Where the PF has
    sriov_drivers_autoprobe=0 the kernel refuses too (ENODEV), unless driver_override names pciback.
    """
    device = f"{pci.DEVICES}/{address}"
    driver = host.link(f"{device}/driver")
    if driver == pci.PCIBACK:
        return
    if address not in slots(host):
        add_slot(host, address)
    if driver is not None:
        host.write_attribute(f"{device}/driver/unbind", address)
    try:
        host.write_attribute(f"{DRIVER}/bind", address)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        host.write_attribute(f"{device}/driver_override", pci.PCIBACK)
        host.write_attribute(f"{DRIVER}/bind", address)


def release(host: Host, address: str) -> None:
    """Takes the device from pciback, and its slot away; raises OSError. PF drivers refuse to change
    the number of VFs while pciback holds one."""
    if host.link(f"{pci.DEVICES}/{address}/driver") == pci.PCIBACK:
        host.write_attribute(f"{DRIVER}/unbind", address)
    remove_slot(host, address)
    override = f"{pci.DEVICES}/{address}/driver_override"
    if host.text(override) == pci.PCIBACK:
        host.write_attribute(override, "\n")
