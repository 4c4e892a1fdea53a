"""A host's VFs as placement takes them: what they serve, and why no VM may have them. Pure."""

from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Set, Tuple

from ..errors import Problem
from ..machine import vgpus
from ..machine.pci import PhysicalFunction, VirtualFunction
from ..machine.ports import Port, VfPort
from ..vf.inventory import DOM0, Inventory
from ..vf.inventory_json import HostInventory
from . import networks
from .hosts import Member
from .networks import Network
from .placement import Candidate


class Devices(NamedTuple):
    """Of a host's PFs and VFs what their place in placement depends on. Hosts of one kind have the same."""

    pfs: Tuple[Tuple[PhysicalFunction, Optional[bool]], ...]  # and PfState.management
    vfs: Tuple[Tuple[VirtualFunction, bool], ...]  # and whether a driver of dom0's has it

    @staticmethod
    def of(told: HostInventory) -> "Devices":
        return Devices(
            tuple((pf.function, pf.management) for pf in told.pfs.values()),
            tuple((vf.function, vf.state == DOM0) for vf in told.vfs.values()),
        )

    @staticmethod
    def of_look(seen: Inventory) -> "Devices":
        """Of this host's."""
        return Devices(
            tuple((pf, seen.management(pf)) for pf in seen.pfs),
            tuple((vf, seen.state(vf) == DOM0) for vf in seen.vfs),
        )

    @staticmethod
    def from_json(told: Any) -> "Devices":
        """Of these tuples as JSON has them, that is, as lists."""
        pfs, vfs = told
        return Devices(
            tuple((_pf(*values), management) for values, management in pfs),
            tuple((_vf(*values), is_dom0s) for values, is_dom0s in vfs),
        )


def _vf(*values: Any) -> VirtualFunction:
    vf = VirtualFunction(*values)
    return vf._replace(port=VfPort(*vf.port))


def _pf(*values: Any) -> PhysicalFunction:
    fields: List[Any] = [tuple(value) if isinstance(value, list) else value for value in values]
    pf = PhysicalFunction(*fields)
    return pf._replace(ports=tuple(Port(*port) for port in pf.ports))


class Candidates:
    """The VFs of hosts: those of hosts that are alike are made once."""

    def __init__(self) -> None:
        self._made: Dict[Any, List[Candidate]] = {}

    def of(
        self, known: Iterable[Network], devices: Devices, closed: Mapping[str, Problem]
    ) -> List[Candidate]:
        """A host's, each with the networks that its port serves. `known`: the pool's networks with the
        interfaces of that host; `closed`: see closed_pfs."""
        serves: Dict[str, List[str]] = {}
        for network in known:
            for interface in network.interfaces:
                serves.setdefault(interface, []).append(network.uuid)
        with_vfs = {vf.pf for vf, _ in devices.vfs}
        why = {pf: closed[pf].message for pf in closed if pf in with_vfs}
        ports = sorted((interface, tuple(uuids)) for interface, uuids in serves.items())
        alike = id(devices), tuple(ports), tuple(sorted(why.items()))
        if alike not in self._made:
            self._made[alike] = _candidates(serves, devices, why)
        return self._made[alike]


def _candidates(
    serves: Mapping[str, List[str]], devices: Devices, closed: Mapping[str, str]
) -> List[Candidate]:
    pfs = {pf.address: pf for pf, _ in devices.pfs}
    of_ports: Dict[Tuple[str, VfPort], Tuple[str, FrozenSet[str], FrozenSet[str]]] = {}
    found = []
    for vf, is_dom0s in devices.vfs:
        where = (vf.pf, vf.port)
        if where not in of_ports:  # once a port, not once a VF
            of_ports[where] = _of_port(serves, pfs[vf.pf], vf.port)
        pf_device, serving, no_network = of_ports[where]
        blocked = _blocked(vf, is_dom0s, closed.get(vf.pf))
        found.append(Candidate(vf, pf_device, serving, blocked, no_network))
    return found


def _of_port(
    serves: Mapping[str, List[str]], pf: PhysicalFunction, port: VfPort
) -> Tuple[str, FrozenSet[str], FrozenSet[str]]:
    """What VFs of a port have in common: the device of their PF, and the networks that they serve, and may
    serve. `serves`: interface -> UUIDs of networks."""
    maybe = pf.interfaces if port.why is not None else ()
    return (
        pf.device,
        frozenset(serves.get(port.interface or "", ())),
        frozenset(uuid for interface in maybe for uuid in serves.get(interface, ())),
    )


def _blocked(vf: VirtualFunction, is_dom0s: bool, closed: Optional[str]) -> Optional[str]:
    """Why no VM may be given the VF, where there is a reason."""
    if closed is not None:
        return closed
    if is_dom0s:
        return f"dom0's driver {vf.driver} has it"
    if vf.address.index(":") > 4:
        return "xapi cannot name a PCI domain above ffff"
    return None


def closed_pfs(member: Member, devices: Devices, gpus: vgpus.Told) -> Dict[str, Problem]:
    """PF -> why no VM is given VFs of it. `gpus`: what xapi says of the host's GPUs."""
    managed = networks.managed(member.pifs)
    reasons = {
        pf.address: _closed(pf, management, managed, gpus, member.name) for pf, management in devices.pfs
    }
    return {address: reason for address, reason in reasons.items() if reason is not None}


def _closed(
    pf: PhysicalFunction, management: Optional[bool], managed: Set[str], gpus: vgpus.Told, host: str
) -> Optional[Problem]:
    if vgpus.gives_vfs(pf, gpus):
        return Problem(
            "SRIOV_MANAGED_BY_XAPI",
            f"xapi gives the VFs of the GPU {pf.address} of {host} to VMs as vGPUs",
            "VMs get them by a vGPU (`xe vgpu-create`).",
        )
    if management is not False:
        carries = "carries" if management else "may carry"
        return Problem(
            "SRIOV_MANAGEMENT_INTERFACE",
            f"{pf.interface or pf.address} of {host} {carries} the management network",
            "Its VFs are not given to VMs; use another port, or a network on another one.",
        )
    for interface in pf.interfaces:
        if interface in managed:
            return Problem(
                "SRIOV_MANAGED_BY_XAPI",
                f"xapi's own SR-IOV manages {interface} of {host}",
                "VMs get VFs of it by a VIF in its SR-IOV network (`xe network-sriov-list`, "
                "`xe vif-create`); or use another port.",
            )
    return None
