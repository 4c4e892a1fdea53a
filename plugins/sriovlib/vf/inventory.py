"""The host's PFs and VFs as hardware, kernel and xenstore show them, without any call to xapi."""

from typing import (
    TYPE_CHECKING,
    Callable,
    Collection,
    Dict,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from ..config import vf_settings
from ..errors import SriovError
from ..machine import management_network, numa, pci, ports, vgpus, xensource_inventory, xenstore
from ..machine.host import Host
from . import kernel_settings, start_notes

if TYPE_CHECKING:
    from ..machine.kernel_log import Evidence

IN_USE, ASSIGNED, DOM0, RESERVED, FREE = STATES = ("in-use", "assigned", "dom0", "reserved", "free")


class Inventory(NamedTuple):
    """What one look at the host found. `owners` is None where xenstore does not answer."""

    host_uuid: Optional[str]
    pfs: List[pci.PhysicalFunction]
    pf_at: Mapping[str, pci.PhysicalFunction]  # by address
    vfs: List[pci.VirtualFunction]
    vf_interfaces: Dict[str, List[str]]  # PF address -> interfaces that dom0 has of its VFs
    network: management_network.Standing  # what of dom0 is on which interfaces
    settings: Dict[str, Dict[int, vf_settings.VfSettings]]  # interface -> VF index -> settings
    owners: Optional[Dict[str, xenstore.Domain]]
    descriptions: Mapping[Tuple[str, str], Optional[str]] = {}  # as `evidence` for people, see `look`
    evidence: Mapping[str, List["Evidence"]] = {}  # PF address -> what the kernel's log has against it
    cut_off: Mapping[str, str] = {}  # interface -> why the kernel does not tell of all its VFs
    starting: Mapping[str, str] = {}  # address -> VM that is being started, and has no domain with it yet
    cpu_nodes: Mapping[int, Optional[int]] = {}  # physical CPU -> its NUMA node; none where Xen was not asked

    def interfaces(self, pf: pci.PhysicalFunction) -> List[str]:
        """dom0's interfaces of the PF and of its VFs."""
        return [*pf.interfaces, *self.vf_interfaces.get(pf.address, ())]

    def pf_of(self, vf: pci.VirtualFunction) -> pci.PhysicalFunction:
        return self.pf_at[vf.pf]

    def vfs_of(self, pf: pci.PhysicalFunction) -> List[pci.VirtualFunction]:
        """By index."""
        return [vf for vf in self.vfs if vf.pf == pf.address]

    def find_pf(self, wanted: str) -> pci.PhysicalFunction:
        """The PF by address or interface; `SRIOV_NOT_FOUND` where the host has none such."""
        for pf in self.pfs:
            if wanted == pf.address or wanted in pf.interfaces:
                return pf
        there = ", ".join(f"{pf.address} ({pf.interface or 'no interface'})" for pf in self.pfs)
        raise SriovError(
            "SRIOV_NOT_FOUND",
            f"This host has no SR-IOV capable device `{wanted}`.",
            f"It has: {there}." if there else "It has none at all; see list_pfs and status.",
        )

    def settings_interface(self, vf: pci.VirtualFunction) -> Optional[str]:
        """By which the VF is set and read; None where it has no settings, see `why_no_settings`."""
        return settings_interface(self.pf_of(vf), vf, self.settings)

    def settings_of(self, vf: pci.VirtualFunction) -> vf_settings.VfSettings:
        """As they are now; `UNKNOWN` where the kernel does not tell them."""
        return self.settings_by(self.settings_interface(vf), vf.number)

    def settings_by(self, interface: Optional[str], number: int) -> vf_settings.VfSettings:
        """What is told of a VF by that interface."""
        return self.settings.get(interface or "", {}).get(number, vf_settings.UNKNOWN)

    def management(self, pf: pci.PhysicalFunction) -> Optional[bool]:
        """Whether the PF carries the management network, itself or by a VF; None: it may."""
        names = set(self.interfaces(pf))
        if self.network.management is not None:
            return bool(names & self.network.management)
        perhaps = names if self.network.perhaps is None else names & self.network.perhaps
        return None if perhaps else False

    def is_idle(self, vf: pci.VirtualFunction) -> bool:
        """No domain is known to have it, and none is about to."""
        return vf.address not in (self.owners or {}) and vf.address not in self.starting

    def without_starts_of(self, vms: Collection[str]) -> "Inventory":
        """As it is where these are known not to start."""
        return self._replace(starting={vf: vm for vf, vm in self.starting.items() if vm not in vms})

    def state(self, vf: pci.VirtualFunction) -> Optional[str]:
        """`in-use`, `reserved` (its PF's driver is one of xapi's vGPUs) or `dom0`; None where it takes xapi
        to know."""
        if self.owners is not None and vf.address in self.owners:
            return IN_USE
        if vgpus.has_vgpu_driver(self.pf_of(vf)):
            return RESERVED
        if vf.driver is not None and vf.driver != pci.PCIBACK:
            return DOM0
        return None


def settings_interface(
    pf: pci.PhysicalFunction, vf: pci.VirtualFunction, shown: Mapping[str, Mapping[int, object]]
) -> Optional[str]:
    """The interface by which a VF has Ethernet's settings; None where it has none. `shown`: interface -> VF
    index -> anything, as kernel_settings.Shown has them."""
    if _is_infiniband(pf, vf):
        return None
    return ports.settings_interface(pf.driver, pf.settings_interfaces, vf.port.interface, vf.number, shown)


def _is_infiniband(pf: pci.PhysicalFunction, vf: pci.VirtualFunction) -> bool:
    """By its port; of one that may be on several, whether one of them is."""
    if not pf.ports:
        return pf.is_infiniband
    return any(port.infiniband and vf.port.interface in (None, port.interface) for port in pf.ports)


def why_no_settings(pf: pci.PhysicalFunction, vf: pci.VirtualFunction) -> str:
    """Where a VF has no settings: why, in a sentence."""
    if _is_infiniband(pf, vf):
        return f"{vf.address} is a VF of the InfiniBand card {pf.address}, which has no such settings"
    if vf.port.why:
        return f"the VF {vf.address} is {vf.port.why}, so it cannot be given such settings"
    if pf.is_network:
        driver = f"its driver is {pf.driver}" if pf.driver else "it has no driver"
        return (
            f"the PF {pf.address} of {vf.address} has no network interface ({driver}), so nothing can be set"
        )
    return f"{pf.address} is not a network card, so its VFs have no network settings"


def _vf_interfaces(
    host: Host, pfs: Sequence[pci.PhysicalFunction], vfs: Sequence[pci.VirtualFunction]
) -> Dict[str, List[str]]:
    """Those of the VFs themselves, and in switchdev mode those that stand for VFs: they end with them."""
    found = {pf.address: [*pf.other_interfaces] for pf in pfs}
    for vf in vfs:
        if vf.driver is not None and vf.driver != pci.PCIBACK:
            found.setdefault(vf.pf, []).extend(ports.own(host, vf.address))
    return found


def look(host: Host) -> Inventory:
    """With what is told to people only."""
    return for_people(host, look_to_act(host))


def for_people(host: Host, seen: Inventory) -> Inventory:
    """With names, and what the kernel's log says: by neither is anything decided."""
    from ..machine import kernel_log, pci_ids  # not where something is decided

    ids = {(pf.vendor_id, pf.device_id) for pf in seen.pfs}
    ids.update((vf.vendor_id, vf.device_id) for vf in seen.vfs)
    return seen._replace(
        descriptions=pci_ids.descriptions(host, ids) if ids else {},
        evidence=kernel_log.evidence(kernel_log.of_vfs(host), {vf.address: vf.pf for vf in seen.vfs}),
    )


def look_to_act(host: Host) -> Inventory:
    """All that anything is decided by."""
    return _look(host, lambda: management_network.look(host))


def look_again(host: Host, before: Inventory) -> Inventory:
    """As look_to_act, where what of dom0 stands on which interfaces is as it was `before`."""
    return _look(host, lambda: before.network)


def _look(host: Host, network: Callable[[], management_network.Standing]) -> Inventory:
    pfs, vfs = pci.functions(host)
    vf_interfaces = _vf_interfaces(host, pfs, vfs)
    shown = kernel_settings.read(host, pfs)
    standing = network()
    owners = xenstore.owners(host)
    return Inventory(
        host_uuid=xensource_inventory.read(host).get("INSTALLATION_UUID"),
        pfs=pfs,
        pf_at={pf.address: pf for pf in pfs},
        vfs=vfs,
        vf_interfaces=vf_interfaces,
        network=standing,
        settings=shown.settings,
        owners=owners,
        cut_off=shown.cut_off,
        starting=start_notes.starting(host, owners or {}),
    )


def look_with_nodes(host: Host) -> Inventory:
    """With what is told to people only, and NUMA nodes."""
    return with_nodes(host, look(host))


def with_nodes(host: Host, seen: Inventory) -> Inventory:
    """With the NUMA nodes as Xen numbers them; as the kernel does only where Xen tells of none."""
    told = numa.read(host, [pf.address for pf in seen.pfs])
    if told is None:
        return seen
    pfs = [pf._replace(numa_node=told.devices[pf.address]) for pf in seen.pfs]
    pf_at = {pf.address: pf for pf in pfs}
    vfs = [
        vf if vf.numa_node == pf_at[vf.pf].numa_node else vf._replace(numa_node=pf_at[vf.pf].numa_node)
        for vf in seen.vfs
    ]
    return seen._replace(pfs=pfs, pf_at=pf_at, vfs=vfs, cpu_nodes=told.cpus)
