"""pciback, the driver that holds devices for VMs: is it there, loaded by what, wanted at each boot."""

from typing import Any, Dict, NamedTuple, Optional

from . import hostconfig, pci
from .errors import SriovError
from .host import Host

DRIVER = f"/sys/bus/pci/drivers/{pci.PCIBACK}"  # xenopsd takes this folder as the proof, so do we
MODULES = ("xen-pciback", "pciback")  # today's name, and that of XenServer 5.6
CONFIG = ("host", "pciback")  # in /etc/sriov.conf: load it at each boot


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


def wanted(host: Host) -> bool:
    """Whether the boot service loads it."""
    return bool(hostconfig.boolean(hostconfig.read(host).get(*CONFIG)))


def load_and_keep(host: Host, persistent: bool) -> Dict[str, Any]:
    """The plugin's `load_pciback`: the driver now, and at each boot or (not `persistent`) no more."""
    with host.lock("config", "load_pciback"):
        before = find(host)
        now = load(host)
        rewrite = wanted(host) != persistent
        if rewrite:
            section, key = CONFIG
            config = hostconfig.read(host)
            keep = hostconfig.changed(config, section, {key: "yes" if persistent else None})
            try:
                hostconfig.write(host, keep)
            except SriovError:
                if not before.loaded and now.module:
                    host.run(["modprobe", "--remove", now.module])
                raise
    if not before.loaded or rewrite:
        host.log(f"pciback: {now.module or 'built in'}, at each boot: {'yes' if persistent else 'no'}")
    return {
        "loaded": now.loaded,
        "changed": rewrite or not before.loaded,
        "persistent": persistent,
        "module": now.module,
    }
