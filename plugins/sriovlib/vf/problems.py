"""Why a PF has no VFs, or VMs cannot have them: what is seen of the PF, in words. Codes are stable."""

from typing import Dict, Iterator, List, Optional, Sequence

from ..errors import Problem
from ..machine import kernel_log, pci, ports
from ..machine.kernel_log import Evidence
from ..safetext import plural

MANAGEMENT_UNKNOWN = (
    "Check that MANAGEMENT_INTERFACE in /etc/xensource-inventory (written by xapi) names the bridge of the "
    "management network, and that /var/lib/xcp/networkd.db (written by networkd: `systemctl status "
    "xcp-networkd`) names the ports of that bridge"
)
ADDRESSES_UNKNOWN = (
    "Check that `ip address show` answers, and that /var/lib/xcp/networkd.db names the ports of each Open "
    "vSwitch bridge that has an address; it does not know a bridge that was made by `ovs-vsctl add-br`."
)

# What the kernel lacked for the VFs, and what to do about it.
_LACKING = {
    kernel_log.NO_MMIO_SPACE: (
        "memory space",
        "Turn on SR-IOV and `above 4G decoding` in the firmware's set-up, or add pci=realloc to the dom0 "
        "kernel's command line.",
    ),
    kernel_log.NO_BUS_NUMBERS: (
        "bus numbers",
        "Turn on SR-IOV and ARI in the firmware's set-up, put the card into another slot, or make fewer VFs.",
    ),
}


def of_pf(
    pf: pci.PhysicalFunction,
    down: Sequence[str],
    management: Optional[bool],
    held: Sequence[pci.VirtualFunction],
    lost: Sequence[pci.VirtualFunction],
    evidence: Sequence[Evidence],
    managed: bool = False,
) -> Iterator[Problem]:
    """`down`: the PF's ports that are down; `management`: whether it carries the management network (None:
    it may); `held`: its VFs that dom0's drivers have; `lost`: those whose port is not known. Where xapi has
    the PF's VFs (`managed`), it makes and gives them, so no advice is given on that."""
    if pf.total_vfs == 0:
        yield Problem(
            "SRIOV_OFF_IN_FIRMWARE",
            f"{pf.name} offers no VFs (sriov_totalvfs is 0).",
            "Turn SR-IOV on in the card's own firmware, with its vendor's tool or in the host's firmware "
            "set-up, then power the host off and on.",
        )
    if not managed:
        yield from _of_driver(pf, evidence)
    for code, (what, hint) in _LACKING.items():
        lines = "; ".join(item.line for item in evidence if item.code == code)
        if lines:
            yield Problem(code, f"{pf.name}: the kernel found no {what} for the VFs: {lines}.", hint)
    for port in down:
        yield Problem(
            "PF_DOWN",
            f"{pf.address}: interface {port} is down, so its VFs pass no traffic.",
            f"Plug its PIF, or bring it up (`ip link set dev {port} up`).",
        )
    yield from _without_port(pf, lost)
    if management:
        yield Problem(
            "PF_NEEDED_BY_DOM0",
            f"{pf.name} carries the host's management network, so SR-IOV on it is refused.",
            "Use another port, or move the management network to another one.",
        )
    if management is None:
        yield Problem(
            "PF_NEEDED_BY_DOM0",
            f"{pf.name} may carry the host's management network, whose port is not known, so SR-IOV on "
            "it is refused.",
            f"{MANAGEMENT_UNKNOWN}, or use another port.",
        )
    if held and not managed:
        drivers = {vf.driver or "" for vf in held}
        blacklist = (
            ""
            if pf.driver in drivers
            else " Blacklisting that driver (/etc/modprobe.d) keeps it from VFs that others make."
        )
        of, are = plural(pf.num_vfs, "VF"), "is" if len(held) == 1 else "are"
        yield Problem(
            "VF_HELD_BY_DOM0",
            f"{pf.name}: {len(held)} of {of} {are} held by dom0 (driver "
            f"{', '.join(sorted(drivers))}), the first is {held[0].address}.",
            f"Call set_vf_count with the same number: pciback takes them over.{blacklist}",
        )


def of_settings(pf: pci.PhysicalFunction, untold: Sequence[int], why: Optional[str]) -> Iterator[Problem]:
    """`untold`: VFs whose settings are not known, and why."""
    if untold:
        yield Problem(
            "SETTINGS_UNKNOWN",
            f"{pf.name}: the settings of {plural(len(untold), 'VF')} are not known, the first is VF "
            f"{untold[0]}: {why or 'the kernel does not tell of all VFs that there are'}.",
            "If the driver was reloaded while VMs had VFs of it, shut these VMs down and reboot the host: "
            "until then some drivers (igb) do not know the VFs. Otherwise use fewer VFs: newer "
            "kernels tell of about 220 of a port.",
        )


def _without_port(pf: pci.PhysicalFunction, lost: Sequence[pci.VirtualFunction]) -> Iterator[Problem]:
    """One for each reason."""
    numbers: Dict[str, List[str]] = {}
    for vf in lost:
        numbers.setdefault(vf.port.why or "", []).append(str(vf.number))
    hint = "Assign them by vf, pf or device."
    if pf.driver == ports.MLX4:
        hint += " For VFs of one port each give the driver num_vfs=N,M,0 (/etc/modprobe.d) and reboot."
    for why, own in numbers.items():
        said = f"VF {', '.join(own)} {'are' if len(own) > 1 else 'is'} {why}, so no network can be served"
        yield Problem("PORT_UNKNOWN", f"{pf.name}: {said}.", hint)


def _of_driver(pf: pci.PhysicalFunction, evidence: Sequence[Evidence]) -> Iterator[Problem]:
    code = kernel_log.DRIVER_WITHOUT_SRIOV
    held = pf.driver in pci.HOLDERS
    if held or pf.driver is None:
        effect = "its VFs cannot be made"
        hint = "Install or load the driver of the card."
        if held:
            hint = "Give the device back to dom0's own driver, or use it as a whole and not by VFs."
        if pf.num_vfs:  # the driver nvme leaves its VFs there as it goes, others leave those in VMs
            effect = f"its {plural(pf.num_vfs, 'VF')} may not work, and can be neither set nor removed"
            hint = f"Give {pf.address} back to the driver that made them, or reboot the host."
        how = f"is held as a whole by {pf.driver}" if held else "has no driver in dom0"
        yield Problem(code, f"{pf.name} {how}, so {effect}.", hint)
    if pf.num_vfs:
        return  # it has made VFs, by whatever way
    for item in evidence:
        if item.code == code and item.line.startswith(f"{pf.driver} "):  # and not of one that had it before
            yield Problem(
                code,
                f"{pf.name}: the driver {pf.driver} does not make VFs through sysfs: {item.line}.",
                "Use a driver that does, or give this one the number of VFs as a module parameter.",
            )
