"""Why the kernel refused VFs: the line of its log that has the cause, and what helps. Pure."""

import errno
import re
from typing import Optional, Sequence

from ..machine import kernel_log

# What drivers say when they pass an error on: the cause stands before it. By their sources: ice_sriov.c ("Not
# enough resources for %d VFs, err %d", "Failed to start"), i40e, nfp and ena ("Failed to enable ..."), be2net
# ("SRIOV enable failed", "VF setup failed"), sfc ("Failed to enable SRIOV VFs"), mlx5 ("pci_enable_sriov
# failed"), mlx4 ("Failed to enable SR-IOV, continuing without"), cxgb4 ("Unable to instantiate").
_PASSED_ON = re.compile(
    r"(?i)failed to (?:enable|start)\b|enable_sriov failed|SRIOV enable failed|VF setup failed"
    r"|not enough resources for \d+ VFs, err|unable to instantiate|SR-IOV configuration failed"
    r"|VFs requested; only|failed to optimize"
)
# What they say when all is well so far.
_ANNOUNCED = re.compile(
    r"(?i): (?:enabling|allocating|requested|setting|enabled?) .*\bVFs?\b|VFs? allocated|SR-IOV enabled"
    r"|IOV disabled|IOMMU should be enabled|reload all VF drivers|: enabling device|: assigned "
)
_CAUSE = re.compile(
    r"(?i)\bonly\b|at most|not enough|not (?:supported|capable|ready|available|initialized|allocated)"
    r"|not allow|can(?:no|')t\b|unable|reject|insufficient|exceed|out of range|more than|no resources"
    r"|are used by|does ?n[o']t|(?:are|is|while) assigned|is pending|safe mode|limited to|limits number"
    r"|refused|requires|is down|timed? ?out|failed|failure|no space|is higher|available vfs"
)
_LIMIT = re.compile(
    r"(?i)(?:creating more than|start at most|limited to|reserve resources for|can enable|supported is"
    r"|number of VFs to|available vfs|allowed VFs)[ :(]*(\d+)"
)

_FIRMWARE = (
    "Turn on SR-IOV and `above 4G decoding` in the firmware's set-up, or add pci=realloc to the dom0 "
    "kernel's command line; the vendor's tool shows what the card's own firmware allows."
)
_BUSES = "Turn on SR-IOV and ARI in the firmware's set-up, put the card into another slot, or make fewer VFs."
_RESOURCES = (
    "The card has too few interrupts or queues left for so many VFs: make fewer, or leave it more of them "
    "(`ethtool -L` gives the PF fewer queues; RDMA and the like take some too)."
)
_SAID = "The driver says why: remove that cause (`dmesg` has the lines around it), then call again."
_ASSIGNED = "Some VF is still held by pciback or a guest; list_vfs shows which."
_BY_ERRNO = {
    errno.ERANGE: "The card allows fewer; list_pfs shows how many (total_vfs).",
    errno.ENOENT: "Use a driver that makes VFs through sysfs, or its module parameter.",
    errno.EBUSY: "The driver is busy, or something else made VFs just now. If calling again does not help: "
    "shut down the VMs that have VFs of this PF, then reload its driver or reboot the host.",
    errno.EAGAIN: "The driver stayed busy: call again in a minute. At each "
    "boot it is tried again for a while, too.",
    errno.ETIMEDOUT: "The driver hangs in the kernel; see the kernel's log, and reboot the host.",
    errno.EIO: "The card's firmware refused, or does not answer: see the kernel's log, bring the card's "
    "firmware up to date, and power the host off and on.",
    errno.ENODEV: "The card is in a state in which its driver makes no VFs: see the kernel's log, then "
    "reload the driver or reboot the host.",
    errno.EOPNOTSUPP: "The card, its slot or the mode that it is in cannot do it: turn on SR-IOV and ARI in "
    "the firmware's set-up, put the card into another slot, or see the vendor's tool.",
}


def cause(lines: Sequence[str]) -> str:
    """Of what the kernel said since the attempt, the line with the cause: drivers name it first, and then
    say one above the other that they failed. "" where nothing was said."""
    told = [kernel_log.without_time(line) for line in lines if not kernel_log.is_of_link(line)]
    known = [line for line in told if kernel_log.code_of(line)]
    causes = [line for line in told if _CAUSE.search(line) and not _PASSED_ON.search(line)]
    passed_on = [line for line in told if _PASSED_ON.search(line)]
    others = [line for line in told if not _ANNOUNCED.search(line)]
    return (known or causes or passed_on or others[-1:] or told[-1:] or [""])[0]


def is_of(line: str, address: str, interfaces: Sequence[str], driver: Optional[str]) -> bool:
    """Whether a line of the log may be about a PF: some drivers name the interface instead of the device
    (qede), some only themselves (cxgb4)."""
    if re.search(rf"(?<![0-9a-f]){re.escape(address)}(?![0-9a-f])", line):  # 0000:... is in 10000:... too
        return True
    if not re.search(r"(?i)\bVFs?\b|IOV", line):
        return False  # bridges and bonds speak of the interface, too
    if any(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", line) for name in interfaces):
        return True
    return driver is not None and kernel_log.without_time(line).startswith(f"{driver}: ")


def hint(number: int, reason: str) -> str:
    """What helps against an error of the kernel, `reason` being its line of the log."""
    code = kernel_log.code_of(reason)
    if code == kernel_log.NO_MMIO_SPACE:
        return _FIRMWARE
    if code == kernel_log.NO_BUS_NUMBERS:
        return _BUSES
    if re.search(r"(?i)\b(?:if|iface|interface|PF) is down", reason):  # bnxt_en, bnx2x
        return "Bring the PF's interface up (plug its PIF), then call again."
    if "safe mode" in reason.lower():
        return (
            "The driver lacks its firmware file (DDP package): install it (linux-firmware), reboot the host."
        )
    if re.search(r"(?i)\bin (?:progress|process)\b|not ready|undergoing|is pending", reason):
        return _BY_ERRNO[errno.EAGAIN]
    limit = _LIMIT.search(reason)
    if limit and int(limit.group(1)):
        return (
            f"Ask for at most {limit.group(1)}, or remove what limits it (traffic classes, macvlans, "
            "the PF's own queues)."
        )
    if number == errno.EPERM:
        return _ASSIGNED
    if number == errno.ENOSPC:
        return _RESOURCES
    if number == errno.ENOMEM and not reason:
        return f"The kernel ran out of bus numbers, address space or memory. {_FIRMWARE}"
    if number not in _BY_ERRNO and _CAUSE.search(reason) and not _PASSED_ON.search(reason):
        return _SAID
    return _BY_ERRNO.get(number, _FIRMWARE)
