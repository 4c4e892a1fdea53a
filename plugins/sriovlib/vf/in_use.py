"""Refuses changes of a PF or VF that dom0 or a running VM needs, by what this host shows; what xapi knows of
it: pool/needed_by_xapi.py."""

from typing import Mapping, Sequence

from ..errors import SriovError
from ..machine import vgpus
from ..machine.pci import PhysicalFunction
from ..safetext import plural
from .inventory import Inventory
from .problems import ADDRESSES_UNKNOWN, MANAGEMENT_UNKNOWN
from .start_notes import STALE_SECONDS

_WITH_ADDRESS = "Take the address from it first (`ip address show`), or use another port."
_ANOTHER_PORT = "Use another port, or move the network to another one first."


def pf_is_not_needed(pf: PhysicalFunction, seen: Inventory) -> None:
    """Refuses a PF that carries the management network or may do so, itself or by one of its VFs, and one
    with a VF on which dom0 has an IP address."""
    if seen.management(pf):
        raise SriovError(
            "SRIOV_MANAGEMENT_INTERFACE",
            f"{pf.name} carries the host's management network.",
            _ANOTHER_PORT,
        )
    if seen.management(pf) is None:
        raise SriovError(
            "SRIOV_NEEDED_BY_DOM0",
            f"{pf.name} may carry the host's management network: it is not known which port does.",
            f"{MANAGEMENT_UNKNOWN}, or use another port.",
        )
    with_address = seen.network.with_address
    for name in sorted(seen.vf_interfaces.get(pf.address, ())):
        if with_address is None or name in with_address:
            may_have, hint = (
                ("may have", ADDRESSES_UNKNOWN) if with_address is None else ("has", _WITH_ADDRESS)
            )
            raise SriovError(
                "SRIOV_NEEDED_BY_DOM0",
                f"A VF of {pf.name} is dom0's interface {name}, and dom0 {may_have} an IP address on it.",
                hint,
            )


def vfs_have_no_disk(pf: PhysicalFunction, seen: Inventory, on_disks: Mapping[str, Sequence[str]]) -> None:
    """Refuses a PF (NVMe) with a VF that has a disk of dom0. `on_disks`: see dom0_disks.by_controller."""
    for vf in seen.vfs_of(pf):
        if on_disks.get(vf.address):
            raise SriovError(
                "SRIOV_NEEDED_BY_DOM0",
                f"{vf.address}, a VF of {pf.name}, is the controller of dom0's disk with "
                f"{on_disks[vf.address][0]}.",
                "Take that out of use first (`umount`, `swapoff`, `zpool export`, `xe pbd-unplug`).",
            )


def gives_no_vgpus(pf: PhysicalFunction, by_xapi: vgpus.Told) -> None:
    """Refuses a GPU whose VFs xapi gives to VMs as vGPUs; where xapi does not tell (UNTOLD), by its
    driver."""
    if vgpus.gives_vfs(pf, by_xapi):
        raise SriovError(
            "SRIOV_MANAGED_BY_XAPI",
            f"{pf.name} is a GPU whose VFs xapi gives to VMs as vGPUs.",
            "VMs get them by a vGPU (`xe vgpu-create`); leave this device to xapi.",
        )


def no_domain_has_a_vf(pf: PhysicalFunction, seen: Inventory) -> None:
    """Refuses while a running or starting VM has a VF of the PF, or may have one."""
    own = [vf.address for vf in seen.vfs_of(pf)]
    if len(own) < pf.num_vfs:
        raise SriovError(
            "SRIOV_VF_IN_USE",
            f"{pf.name} has {plural(pf.num_vfs, 'VF')}, but sysfs shows {len(own)}: it is not known "
            "whether VMs have the others.",
            "Call again; if that does not help, see the kernel's log.",
        )
    if own and seen.owners is None:
        raise SriovError(
            "SRIOV_VF_IN_USE",
            f"{pf.name}: xenstore does not answer, so it is not known whether VMs have its VFs.",
            "Call again when it answers.",
        )
    owners = [(address, (seen.owners or {}).get(address)) for address in own]
    held = [f"{owner.name or owner.vm_uuid or 'a VM'} ({vf})" for vf, owner in owners if owner]
    if held:
        raise SriovError(
            "SRIOV_VF_IN_USE",
            f"{pf.name}: running VMs have its VFs: {', '.join(held)}.",
            "Shut them down first.",
        )
    for vf in own:
        is_not_starting(vf, seen)


def is_not_starting(vf: str, seen: Inventory) -> None:
    """Refuses while a VM is being started with that VF: it has its settings, but no domain yet."""
    if vf in seen.starting:
        raise SriovError(
            "SRIOV_VF_IN_USE",
            f"{vf}: the VM {seen.starting[vf]} is being started with it.",
            "Try again when it runs. set_vf_count and configure_vf learn from xapi if the start failed; "
            f"sriov-restore does not ask xapi, and counts it for {STALE_SECONDS // 60} minutes.",
        )
