"""The inventories of the pool's live hosts, asked for at the same time, and their VFs as placement takes
them."""

import json
from typing import (
    Any,
    Container,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Set,
    Tuple,
    Union,
)

from .. import VERSION
from ..errors import Problem
from ..machine import dom0_devices, vgpus
from ..machine.host import Host
from ..machine.pci import PhysicalFunction
from ..machine.ports import VfPort
from ..vf import host_inventory, inventory
from ..vf.host_inventory import HostInventory, OtherPlugin, PfState, VfState
from ..xapi.session import Xapi, XapiFailure
from . import hosts, networks
from .hosts import Member, Topology
from .networks import Network
from .placement import Candidate

SECONDS = 10  # for one host's answer; a host that takes longer is left out
SILENT = "HOST_SILENT"  # the problem with a host of which nothing is known
_AT_ONCE = 64


class Surveyed(NamedTuple):
    """A host that answered: its inventory, and its VFs as placement takes them."""

    member: Member
    inventory: HostInventory
    candidates: List[Candidate]
    untagged: Set[str]  # networks that stand on its ports without a VLAN of their own
    closed: Mapping[str, Problem] = {}  # PF -> why no VM is given VFs of it, without a full stop


class Survey(NamedTuple):
    hosts: Dict[str, Surveyed]  # by UUID
    problems: Dict[str, Problem]  # UUID -> that the host did not answer, or has another version

    @property
    def candidates(self) -> Dict[str, List[Candidate]]:
        return {uuid: surveyed.candidates for uuid, surveyed in self.hosts.items()}

    def running(self) -> Dict[Tuple[str, str], str]:
        """(host, address) -> UUID of the VM whose domain has the VF, as each host's xenstore says."""
        return {
            (uuid, vf.address): vf.assigned_to.vm_uuid or "a domain without a VM"
            for uuid, surveyed in self.hosts.items()
            for vf in surveyed.inventory.vfs.values()
            if vf.assigned_to is not None
        }

    def starting(self) -> Dict[Tuple[str, str], str]:
        """(host, address) -> UUID of the VM that is being started there with the device, and may have no
        domain yet."""
        return {
            (uuid, address): vm
            for uuid, surveyed in self.hosts.items()
            for address, vm in surveyed.inventory.starting.items()
        }

    def without_unknown(self, leased: Container[Tuple[str, str]]) -> "Survey":
        """Where a host's xenstore does not answer, a VF without a lease may be a running VM's, so it is
        blocked. `leased`: hosts and addresses."""
        found = dict(self.hosts)
        for uuid, one in self.hosts.items():
            if not one.inventory.owners_known:
                why = f"xenstore of {one.member.name} does not answer, so its owner is not known"
                candidates = [
                    candidate
                    if candidate.blocked or (uuid, candidate.address) in leased
                    else candidate._replace(blocked=why)
                    for candidate in one.candidates
                ]
                found[uuid] = one._replace(candidates=candidates)
        return self._replace(hosts=found)


NOBODY = Survey({}, {})


def survey(host: Host, session: Any, topology: Topology, members: Iterable[Member]) -> Survey:
    """Asks these hosts at the same time, each for at most `SECONDS`; this host without a call."""
    from concurrent.futures import ThreadPoolExecutor  # a start asks no other host, and it takes long to load

    asked = list(members)
    with ThreadPoolExecutor(max(1, min(len(asked), _AT_ONCE))) as threads:
        answers = list(threads.map(lambda member: _ask(host, session, topology, member), asked))
    found = Survey({}, {})
    for member, answer in zip(asked, answers):
        if isinstance(answer, Problem):
            found.problems[member.uuid] = answer
            continue
        found.hosts[member.uuid] = answer
        version = answer.inventory.version
        if version != VERSION:
            said = f"has xapi-sriov {version}, the master {VERSION}"
            found.problems[member.uuid] = _other_version(member, said)
    return found


def again(host: Host, session: Any, topology: Topology, before: Survey) -> Survey:
    """Asks the hosts that answered before once more; the problems with the others stay."""
    now = survey(host, session, topology, [topology.members[uuid] for uuid in before.hosts])
    others = {uuid: one for uuid, one in before.problems.items() if uuid not in before.hosts}
    return Survey(now.hosts, {**others, **now.problems})


def _ask(host: Host, session: Any, topology: Topology, member: Member) -> Union[Surveyed, Problem]:
    """The host's inventory, or the problem with it: no single host may cost the pool its answer."""
    xapi = Xapi(host, session, SECONDS)
    try:
        if member.uuid == topology.own:
            answer = host_inventory.read(host)
        else:
            text = xapi.call("host.call_plugin", member.ref, "sriov", "inventory", {})
            answer = HostInventory.from_json(json.loads(text))
        pfs = [pf.function for pf in answer.pfs.values()]
        told = hosts.gpus(xapi, member.ref, pfs)
        closed = closed_pfs(member, answer.pfs.values(), told)
        return Surveyed(
            member,
            answer._replace(needed=_with_vgpus(answer.needed, pfs, told)),
            candidates(topology.networks(member), answer.pfs, answer.vfs.values(), closed),
            _untagged(topology, member),
            closed,
        )
    except XapiFailure as failure:
        if failure.details[0] == "XENAPI_MISSING_PLUGIN":
            return Problem(
                "HOST_WITHOUT_PLUGIN",
                f"Host {member.name} does not have xapi-sriov, so no VM gets VFs there.",
                "Install the package on it.",
            )
        is_other, why = failure.details[0] == "SRIOV_BAD_ARGUMENT", str(failure)
    except Exception as error:  # what is wrong with one host must not cost the pool its answer
        is_other, why = isinstance(error, OtherPlugin), str(error) or type(error).__name__
    if is_other:
        said = f"answers `inventory` in another format than the master's xapi-sriov {VERSION}"
        return _other_version(member, said)
    return Problem(
        SILENT,
        f"Host {member.name} did not answer `inventory`: {why}.",
        "See that its toolstack runs. It has to answer "
        f"`xe host-call-plugin host-uuid={member.uuid} plugin=sriov fn=inventory` within {SECONDS:.0f} s.",
    )


def _other_version(member: Member, said: str) -> Problem:
    hint = "Install the same version on all hosts of the pool."
    return Problem("HOST_WITHOUT_PLUGIN", f"Host {member.name} {said}.", hint)


def candidates(
    known: Iterable[Network],
    pfs: Mapping[str, PfState],
    vfs: Iterable[VfState],
    closed: Mapping[str, Problem],
) -> List[Candidate]:
    """The host's VFs, each with the networks that its port serves. `known`: the pool's networks with the
    interfaces of this host; `pfs`: by address; `closed`: see closed_pfs."""
    serves: Dict[str, List[str]] = {}
    for network in known:
        for interface in network.interfaces:
            serves.setdefault(interface, []).append(network.uuid)
    of_ports: Dict[Tuple[str, VfPort], Tuple[str, FrozenSet[str], FrozenSet[str]]] = {}
    found = []
    for vf in vfs:
        where = (vf.function.pf, vf.function.port)
        if where not in of_ports:  # once a port, not once a VF
            of_ports[where] = _of_port(serves, pfs[vf.function.pf].function, vf.function.port)
        pf_device, serving, no_network = of_ports[where]
        blocked = _blocked(vf, closed.get(vf.function.pf))
        found.append(Candidate(vf.function, pf_device, serving, blocked, no_network))
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


def _with_vgpus(
    needed: Mapping[str, List[str]], pfs: Iterable[PhysicalFunction], told: vgpus.Told
) -> Dict[str, List[str]]:
    """What dom0 needs, with what xapi knows of the host's GPUs."""
    found = dict(needed)
    for pf in pfs:
        said = found.get(pf.address, [])
        if vgpus.needs_pf(pf, told) and dom0_devices.VGPUS not in said:
            found[pf.address] = [*said, dom0_devices.VGPUS]
    return found


def _untagged(topology: Topology, member: Member) -> Set[str]:
    return {
        topology.network_records[pif["network"]]["uuid"]
        for pif in member.pifs.values()
        if networks.vlan(pif) is None and pif["network"] in topology.network_records
    }


def _blocked(vf: VfState, closed: Optional[Problem]) -> Optional[str]:
    """Why no VM may be given the VF, where there is a reason."""
    if closed is not None:
        return closed.message
    if vf.state == inventory.DOM0:
        return f"dom0's driver {vf.function.driver} has it"
    if vf.address.index(":") > 4:
        return "xapi cannot name a PCI domain above ffff"
    return None


def closed_pfs(member: Member, pfs: Iterable[PfState], told: vgpus.Told) -> Dict[str, Problem]:
    """PF -> why no VM is given VFs of it. `told`: what xapi says of the host's GPUs."""
    managed = networks.managed(member.pifs)
    reasons = {pf.address: _closed(pf, managed, told, member.name) for pf in pfs}
    return {address: reason for address, reason in reasons.items() if reason is not None}


def _closed(pf: PfState, managed: Set[str], told: vgpus.Told, host: str) -> Optional[Problem]:
    if vgpus.gives_vfs(pf.function, told):
        return Problem(
            "SRIOV_MANAGED_BY_XAPI",
            f"xapi gives the VFs of the GPU {pf.address} of {host} to VMs as vGPUs",
            "VMs get them by a vGPU (`xe vgpu-create`).",
        )
    if pf.management is not False:
        carries = "carries" if pf.management else "may carry"
        return Problem(
            "SRIOV_MANAGEMENT_INTERFACE",
            f"{pf.function.interface or pf.address} of {host} {carries} the management network",
            "Its VFs are not given to VMs; use another port, or a network on another one.",
        )
    for interface in pf.function.interfaces:
        if interface in managed:
            return Problem(
                "SRIOV_MANAGED_BY_XAPI",
                f"xapi's own SR-IOV manages {interface} of {host}",
                "VMs get VFs of it by a VIF in its SR-IOV network (`xe network-sriov-list`, "
                "`xe vif-create`); or use another port.",
            )
    return None
