"""What a host still lacks until VMs can have VFs of it, from the plugin's `status`."""

from typing import Any, Dict

READY = "ready"
EXPECTED = ("PF_NEEDED_BY_DOM0",)  # problems of a host that is as it should be: a port stays dom0's
# The states of a host, in the order in which they are looked for, and what each means.
STATES = {
    "no-iommu": "Xen runs without the IOMMU",
    "no-pciback": "pciback is not loaded",
    "no-vfs": "no port has VFs",
    "drift": "a port has another number of VFs than /etc/sriov.conf wants",
    "reboot": "a reboot is needed",
    READY: "VMs can have VFs",
}


def state(status: Dict[str, Any]) -> str:
    """One of STATES. What the host does not tell does not count as there."""
    iommu = status.get("iommu") or {}
    if not iommu.get("active"):
        return "reboot" if iommu.get("configured") == "on" and status.get("reboot_required") else "no-iommu"
    if not (status.get("pciback") or {}).get("loaded"):
        return "no-pciback"
    if drifted(status):
        return "reboot" if status.get("reboot_required") else "drift"
    if status.get("reboot_required"):
        return "reboot"
    if not (status.get("vfs") or {}).get("total"):
        return "no-vfs"
    return READY


def drifted(status: Dict[str, Any]) -> int:
    """How many ports have not the VFs that the host's file wants."""
    return sum(
        1
        for pf in status.get("pfs") or []
        if pf.get("desired") is not None and pf["desired"] != pf.get("actual")
    )


def iommu(status: Dict[str, Any]) -> str:
    """Now, and behind `>` the next boot where that differs: `off>on`."""
    said = status.get("iommu") or {}
    names = {True: "on", False: "off", None: "?"}
    now = names[said.get("active")]
    configured = said.get("configured")
    after = now if configured in (None, "default") else configured
    return now if now == after else f"{now}>{after}"
