"""Why VFs cannot be had or given: what is seen of a PF and of the host, put into words. Codes are stable."""

from typing import Dict, List, Optional, Sequence

from ..errors import Problem
from ..machine import kernel_log, pci, ports
from ..machine.kernel_log import Evidence

MANAGEMENT_UNKNOWN = (
    "See that MANAGEMENT_INTERFACE in /etc/xensource-inventory names the bridge of the management network "
    "(xapi does), and that /var/lib/xcp/networkd.db names the ports of that bridge (networkd "
    "writes it: `systemctl status xcp-networkd`)"
)

ADDRESSES_UNKNOWN = (
    "See that `ip address show` answers, and that /var/lib/xcp/networkd.db names the ports of each bridge of "
    "Open vSwitch that has an address there: one made by `ovs-vsctl add-br` is not known to networkd."
)

# Drivers that only hold a device: the PF's own driver has to make its VFs.
_HOLDERS = (pci.PCIBACK, "pci-stub", "vfio-pci")


def of_pf(
    pf: pci.PhysicalFunction,
    down: Sequence[str],
    management: Optional[bool],
    held: Sequence[pci.VirtualFunction],
    lost: Sequence[pci.VirtualFunction],
    evidence: Sequence[Evidence],
    managed: bool = False,
) -> List[Problem]:
    """Everything that keeps this PF from having VFs, or its VFs from VMs. `down` are its ports that are
    down, `management` whether it carries the management network (None: it may), `held` its VFs that dom0's
    drivers have, `lost` those on no port that is known. Where xapi has its VFs (`managed`), how they are
    made and what has them is not ours to advise on."""
    name = pf.name
    found = []
    if pf.total_vfs == 0:
        found.append(
            Problem(
                "SRIOV_OFF_IN_FIRMWARE",
                f"The card {name} offers no VFs (sriov_totalvfs is 0).",
                "Turn SR-IOV on in the card's own firmware, with its vendor's tool or in the host's firmware "
                "set-up, then power the host off and on.",
            )
        )
    if not managed:
        found += _driver(name, pf, evidence)
    for code in (kernel_log.NO_MMIO_SPACE, kernel_log.NO_BUS_NUMBERS):
        lines = [item.line for item in evidence if item.code == code]
        found += [_said_by_kernel(name, Evidence(code, "; ".join(lines)))] if lines else []
    found += [
        Problem(
            "PF_DOWN",
            f"The interface {port} of {pf.address} is down, so its VFs pass no traffic.",
            f"Plug its PIF, or bring it up (`ip link set dev {port} up`).",
        )
        for port in down
    ]
    found += _on_no_port(name, pf, lost)
    if management:
        found.append(
            Problem(
                "PF_NEEDED_BY_DOM0",
                f"{name} carries the host's management network, so SR-IOV on it is refused.",
                "Use another port, or move the management network to another one.",
            )
        )
    if management is None:
        found.append(
            Problem(
                "PF_NEEDED_BY_DOM0",
                f"It is not known which port carries the host's management network, and {name} may, so "
                "SR-IOV on it is refused.",
                f"{MANAGEMENT_UNKNOWN}, or use another port.",
            )
        )
    if held and not managed:
        drivers = ", ".join(sorted({vf.driver or "" for vf in held}))
        found.append(
            Problem(
                "VF_HELD_BY_DOM0",
                f"{len(held)} of {pf.num_vfs} VFs of {name} are held by dom0 (driver {drivers}), "
                f"the first is {held[0].address}.",
                "Call set_vf_count with the same number: pciback takes them over."
                if pf.driver in {vf.driver for vf in held}
                else "Call set_vf_count with the same number: pciback takes them over. Blacklisting that "
                "driver (/etc/modprobe.d) keeps it from VFs that others make.",
            )
        )
    return found


def of_settings(pf: pci.PhysicalFunction, untold: Sequence[int], why: Optional[str]) -> List[Problem]:
    """`untold`: VFs whose settings are not known; `why`: what `ip` said."""
    if not untold:
        return []
    name = f"{pf.address} ({pf.interface})" if pf.interface else pf.address
    return [
        Problem(
            "SETTINGS_UNKNOWN",
            f"The settings of {len(untold)} VFs of {name} are not known, the first is VF {untold[0]}: "
            f"{why or '`ip` does not show all VFs that there are'}.",
            "Where its driver was loaded anew while VMs had VFs of it, shut these VMs down and reboot the "
            "host: before that some drivers (igb) do not know the VFs. Else use fewer VFs: the kernel shows "
            "about 220 of a port.",
        )
    ]


def _on_no_port(name: str, pf: pci.PhysicalFunction, lost: Sequence[pci.VirtualFunction]) -> List[Problem]:
    """One for each reason."""
    numbers: Dict[str, List[int]] = {}
    for vf in lost:
        numbers.setdefault(vf.port.why or "", []).append(vf.number)
    return [
        Problem(
            "PORT_UNKNOWN",
            f"VF{'s' if len(own) > 1 else ''} {', '.join(map(str, own))} of {name}: {why}, so no network is "
            "theirs.",
            "Assign them by vf, pf or device."
            + (
                " For VFs of one port each give the driver num_vfs=N,M,0 (/etc/modprobe.d) and reboot."
                if pf.driver == ports.MLX4
                else ""
            ),
        )
        for why, own in numbers.items()
    ]


def _driver(name: str, pf: pci.PhysicalFunction, evidence: Sequence[Evidence]) -> List[Problem]:
    code = kernel_log.DRIVER_WITHOUT_SRIOV
    if pf.num_vfs:
        return []  # it has made VFs, by whatever way
    if pf.driver is None:
        return [
            Problem(
                code,
                f"No driver of dom0 has the device {name}, so nothing can make its VFs.",
                "Install or load the driver of the card.",
            )
        ]
    if pf.driver in _HOLDERS:
        return [
            Problem(
                code,
                f"The driver {pf.driver} holds {name} as a whole, so nothing can make its VFs.",
                "Give the device back to dom0's own driver, or use it as a whole and not by VFs.",
            )
        ]
    return [
        Problem(
            code,
            f"The driver {pf.driver} of {name} does not make VFs through sysfs: {item.line}.",
            "Use a driver that does, or give this one the number of VFs as a module parameter.",
        )
        for item in evidence
        if item.code == code and item.line.startswith(f"{pf.driver} ")  # and not of one that had it before
    ]


def _said_by_kernel(name: str, item: Evidence) -> Problem:
    if item.code == kernel_log.NO_MMIO_SPACE:
        return Problem(
            item.code,
            f"The kernel found no memory space for the VFs of {name}: {item.line}.",
            "Turn on SR-IOV and `above 4G decoding` in the firmware's set-up, or add pci=realloc to the dom0 "
            "kernel's command line.",
        )
    return Problem(
        item.code,
        f"The kernel found no bus numbers for the VFs of {name}: {item.line}.",
        "Turn on SR-IOV and ARI in the firmware's set-up, put the card into another slot, or make fewer VFs.",
    )
