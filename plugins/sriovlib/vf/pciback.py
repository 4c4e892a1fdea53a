"""pciback, the driver that holds devices for VMs: loading it, and giving it devices or taking them back."""

import errno
import re
from typing import Any, Dict, List, NamedTuple, Optional, Set

from ..config import ini, sriov_conf
from ..errors import Problem, SriovError
from ..machine import kernel_log, pci
from ..machine.host import Host

DRIVER = f"/sys/bus/pci/drivers/{pci.PCIBACK}"  # there once it is loaded; xenopsd goes by it too
MODULES = ("xen-pciback", "pciback")  # today's name, and that of XenServer 5.6


_UNREADABLE = re.compile(r"Error parsing pci_devs_to_hide at \"(.*)\"")
_HIDE = re.compile(r"(?:^|\s)\"?(?:xen-)?pciback\.hide=([^\s\"]*)")
# One entry as sscanf in drivers/xen/xen-pciback/pci_stub.c takes it, with or without a domain.
_HIDDEN = re.compile(r"\s*\((?:[0-9a-fA-F]+:)?[0-9a-fA-F]+:(?:[0-9a-fA-F]+\.(?:[0-9a-fA-F]+|\*)|\*\.\*)\)\s*")


class Pciback(NamedTuple):
    """`module` is None where the driver is built into the kernel (as in XCP-ng 8.3), or missing."""

    loaded: bool
    module: Optional[str]


def find(host: Host) -> Pciback:
    """A built-in driver has a folder in /sys/module too; only a loaded module has `initstate` there (kernel:
    kernel/module, drivers/base/module.c)."""
    if not host.exists(DRIVER):
        return Pciback(False, None)
    module = host.link(f"{DRIVER}/module")
    if module is None or not host.exists(f"/sys/module/{module}/initstate"):
        return Pciback(True, None)
    return Pciback(True, module.replace("_", "-"))


NOT_THERE = Problem(
    "NO_PCIBACK",
    "The driver pciback is not loaded, so no device can be given to a VM.",
    "Call load_pciback.",
)


def problem(host: Host) -> Problem:
    """Why the driver is not loaded, and the remedy."""
    return _unreadable_list(host) or NOT_THERE


def _unreadable_list(host: Host) -> Optional[Problem]:
    """If the driver cannot read an entry of its list of devices to hide, it does not register at all (kernel:
    pci_stub.c, pcistub_init). The kernel's log says where; when that line is gone, the command line tells."""
    wrong = None
    for line in kernel_log.lines(host):
        match = _UNREADABLE.search(line)
        wrong = match.group(1) if match else wrong
    wrong = wrong or _unreadable(host.text("/proc/cmdline") or "")
    if wrong is None:
        return None
    return Problem(
        "NO_PCIBACK",
        "The driver pciback is not loaded, so no device can be given to a VM: it cannot read its list of "
        f"devices to hide (xen-pciback.hide) from `{wrong}` on.",
        "Write that list again, each device as (0000:BB:DD.F) and nothing between them "
        "(`/opt/xensource/libexec/xen-cmdline --get-dom0 xen-pciback.hide`, "
        "`--set-dom0 xen-pciback.hide=...`), or delete it (`--delete-dom0 xen-pciback.hide`), then reboot. "
        "A list in /etc/modprobe.d is changed there.",
    )


def _unreadable(command_line: str) -> Optional[str]:
    """The rest of the list on the kernel's command line from where the driver cannot read it."""
    for listed in _HIDE.findall(command_line)[-1:]:
        rest = str(listed)
        while rest:
            match = _HIDDEN.match(rest)
            if match is None:
                return rest
            rest = rest[match.end() :]
    return None


def load(host: Host) -> Pciback:
    """Loads the driver if it is not loaded; `SRIOV_PCIBACK_UNAVAILABLE` where it cannot be."""
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
        raise _unavailable(host, tried)
    return found


def must_be_loadable(host: Host) -> None:
    """Refuses as `load`, where that is certain and nothing was loaded yet: `modprobe --dry-run` looks the
    module up (kmod: tools/modprobe.c), and a list on the kernel's command line stays until a reboot."""
    if find(host).loaded:
        return
    answers = [host.run(["modprobe", "--dry-run", module]) for module in MODULES]
    if _unreadable(host.text("/proc/cmdline") or "") or all(answer.status for answer in answers):
        raise _unavailable(host, [f"`{answer.complaint}`" for answer in answers if answer.status])


def _unavailable(host: Host, tried: List[str]) -> SriovError:
    why = _unreadable_list(host)
    if why is not None:
        return SriovError("SRIOV_PCIBACK_UNAVAILABLE", why.message, why.hint)
    return SriovError(
        "SRIOV_PCIBACK_UNAVAILABLE",
        f"The dom0 kernel has no pciback driver. Tried {', '.join(tried)}.",
        "Boot a dom0 kernel that has xen-pciback, as those of XenServer and XCP-ng have.",
    )


def keep_loaded(host: Host, persistent: bool) -> Dict[str, Any]:
    """Loads the driver now, and at each boot if `persistent`; `{loaded, changed, persistent, module}`."""
    before = find(host)
    now = load(host)

    def keep(config: sriov_conf.HostConfig) -> ini.Document:
        if config.pciback == persistent:
            return config.document
        return ini.changed(config.document, sriov_conf.HOST, {"pciback": "yes" if persistent else None})

    try:
        config, kept = sriov_conf.edit(host, keep)
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
    found = map(pci.parse_address, (host.text(f"{DRIVER}/slots") or "").split())
    return {address for address in found if address}


def add_slot(host: Host, address: str) -> None:
    host.write_attribute(f"{DRIVER}/new_slot", address)


def remove_slot(host: Host, address: str) -> None:
    """A slot that does not exist (the kernel: ENOENT) is no error."""
    try:
        host.write_attribute(f"{DRIVER}/remove_slot", address)
    except FileNotFoundError:
        pass


def keep_others_off(host: Host, address: str) -> None:
    """Keeps the kernel from offering the device to other drivers, until `release`."""
    device = f"{pci.DEVICES}/{address}"
    host.write_attribute(f"{device}/driver_override", pci.PCIBACK)
    # Before Linux 5.3 it looks bound though no driver was asked.
    if host.link(f"{device}/driver") is not None:
        host.write_attribute(f"{device}/driver/unbind", address)


def take(host: Host, address: str) -> None:
    """Makes pciback hold the device, taking it from its driver; raises OSError. The slot comes first (as in
    xenopsd), or bind fails with ENODEV. It also does where the PF has sriov_drivers_autoprobe=0, unless
    driver_override names pciback."""
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
    """Takes the device from pciback, and removes its slot; raises OSError. PF drivers refuse to change the
    number of VFs while pciback holds one."""
    if host.link(f"{pci.DEVICES}/{address}/driver") == pci.PCIBACK:
        host.write_attribute(f"{DRIVER}/unbind", address)
    remove_slot(host, address)
    override = f"{pci.DEVICES}/{address}/driver_override"
    if host.text(override) == pci.PCIBACK:
        host.write_attribute(override, "\n")
