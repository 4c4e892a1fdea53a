"""What the live hosts of the pool have: their inventories, asked for side by side, and what placement
makes of them."""

import json
from concurrent.futures import ThreadPoolExecutor
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
from ..machine import dom0_devices, vgpus
from ..machine.host import Host
from ..vf import inventory
from ..xapi.session import Xapi, XapiFailure
from . import gpus, networks
from .hosts import Member, Topology
from .placement import Candidate

SECONDS = 10  # for one host's answer; a host that takes longer is left out
_AT_ONCE = 64


class Closed(NamedTuple):
    """Why no VM is given VFs of a PF. As in an error; the message without its stop."""

    code: str
    message: str
    hint: str


class Surveyed(NamedTuple):
    """A host that answered: its inventory (of the plugin), and its VFs as placement takes them."""

    member: Member
    inventory: Dict[str, Any]
    candidates: List[Candidate]
    owners_known: bool  # else its xenstore is silent, and who runs with which VF is not known
    untagged: Set[str]  # networks that stand on its ports without a VLAN of their own
    closed: Mapping[str, Closed] = {}  # PF -> why no VM is given VFs of it

    def vf(self, address: str) -> Optional[Dict[str, Any]]:
        return next((vf for vf in self.inventory["vfs"] if vf["address"] == address), None)

    def pf(self, wanted: str) -> Optional[Dict[str, Any]]:
        """By address or interface."""
        return next(
            (pf for pf in self.inventory["pfs"] if wanted == pf["address"] or wanted in pf["interfaces"]),
            None,
        )

    def port(self, vf: Mapping[str, Any]) -> Dict[str, Any]:
        """The port that the VF is on; of one that is on no port that is known, the PF's first, which has the
        same keys."""
        pf = self.pf(vf["pf"]) or {}
        return next((port for port in pf["ports"] if port["interface"] == vf["interface"]), pf)


class HostProblem(NamedTuple):
    """A Problem with a host: it did not answer, or has another version."""

    host_uuid: str
    code: str
    message: str
    hint: str


class Survey(NamedTuple):
    hosts: Dict[str, Surveyed]  # by UUID
    problems: List[HostProblem]

    @property
    def candidates(self) -> Dict[str, List[Candidate]]:
        return {uuid: surveyed.candidates for uuid, surveyed in self.hosts.items()}

    def running(self) -> Dict[Tuple[str, str], str]:
        """(host, address) -> UUID of the VM whose domain has the VF, as each host's xenstore says."""
        return {
            (uuid, vf["address"]): vf["assigned_to"]["vm_uuid"] or "a domain without a VM"
            for uuid, surveyed in self.hosts.items()
            for vf in surveyed.inventory["vfs"]
            if vf["assigned_to"] is not None
        }

    def starting(self) -> Dict[Tuple[str, str], str]:
        """(host, address) -> UUID of the VM whose start there was let through with the device, and which may
        have no domain with it yet."""
        return {
            (uuid, address): vm
            for uuid, surveyed in self.hosts.items()
            for address, vm in surveyed.inventory.get("starting", {}).items()
        }

    def without_unknown(self, leased: Container[Tuple[str, str]]) -> "Survey":
        """Where a host's xenstore is silent, a VF that no VM is lent may be a running VM's: it is not to be
        had. `leased` is by host and address."""
        hosts = dict(self.hosts)
        for uuid, one in self.hosts.items():
            if not one.owners_known:
                why = f"xenstore of {one.member.name} does not answer, so who has it is not known"
                candidates = [
                    candidate
                    if candidate.blocked or (uuid, candidate.address) in leased
                    else candidate._replace(blocked=why)
                    for candidate in one.candidates
                ]
                hosts[uuid] = one._replace(candidates=candidates)
        return self._replace(hosts=hosts)


NOBODY = Survey({}, [])


def survey(host: Host, session: Any, topology: Topology, members: Iterable[Member]) -> Survey:
    """Asks these hosts, each for at most `SECONDS`, all at once; our own without a detour."""
    asked = list(members)
    with ThreadPoolExecutor(max(1, min(len(asked), _AT_ONCE))) as threads:
        others = [
            threads.submit(_ask, host, session, topology, member)
            for member in asked
            if member.uuid != topology.own
        ]
        answers = [_ask(host, session, topology, member) for member in asked if member.uuid == topology.own]
        answers += [future.result() for future in others]
    found: Dict[str, Surveyed] = {}
    problems: List[HostProblem] = []
    for answer in answers:
        if isinstance(answer, HostProblem):
            problems.append(answer)
            continue
        member = answer.member
        found[member.uuid] = answer
        version = answer.inventory["version"]
        if version != VERSION:
            problems.append(
                HostProblem(
                    member.uuid,
                    "HOST_WITHOUT_PLUGIN",
                    f"The host {member.name} has xapi-sriov {version}, the master {VERSION}.",
                    "Install the same version on all hosts of the pool.",
                )
            )
    return Survey(found, problems)


def again(host: Host, session: Any, topology: Topology, before: Survey) -> Survey:
    """Asks those once more that answered before; of the others nothing new is known."""
    now = survey(host, session, topology, [topology.members[uuid] for uuid in before.hosts])
    others = [problem for problem in before.problems if problem.host_uuid not in before.hosts]
    return Survey(now.hosts, [*now.problems, *others])


def _ask(host: Host, session: Any, topology: Topology, member: Member) -> Union[Surveyed, HostProblem]:
    """The inventory of a host, our own without a detour; or the problem that there is with it: none of them
    may cost the pool its answer."""
    try:
        if member.uuid == topology.own:
            answer = inventory.inventory(host, session, {})
        else:
            xapi = Xapi(host, session, SECONDS)
            answer = json.loads(xapi.call("host.call_plugin", member.ref, "sriov", "inventory", {}))
        told = gpus.told(Xapi(host, session, SECONDS), member.ref, map(_gpu, answer["pfs"]))
        return Surveyed(
            member,
            _with_vgpus(answer, told),
            candidates(topology, member, answer, told),
            answer["owners_known"],
            _untagged(topology, member),
            _closed_pfs(member, answer, told),
        )
    except XapiFailure as failure:
        if failure.details[0] == "XENAPI_MISSING_PLUGIN":
            return HostProblem(
                member.uuid,
                "HOST_WITHOUT_PLUGIN",
                f"The host {member.name} does not have xapi-sriov, so no VM gets VFs there.",
                "Install the package on it.",
            )
        if failure.details[0] == "SRIOV_BAD_ARGUMENT":
            return _other_plugin(member)
        why = str(failure)
    except (KeyError, TypeError, AttributeError):
        return _other_plugin(member)
    except Exception as error:  # the client's errors have no common class
        why = str(error) or type(error).__name__
    return HostProblem(
        member.uuid,
        "HOST_SILENT",
        f"The host {member.name} did not tell what VFs it has: {why}.",
        "See why it does not answer (`xe host-call-plugin host-uuid=... plugin=sriov fn=inventory`).",
    )


def _other_plugin(member: Member) -> HostProblem:
    return HostProblem(
        member.uuid,
        "HOST_WITHOUT_PLUGIN",
        f"The xapi-sriov of the host {member.name} does not tell its VFs as the master's ({VERSION}) does.",
        "Install the same version on all hosts of the pool.",
    )


def candidates(
    topology: Topology, member: Member, seen: Mapping[str, Any], told: vgpus.Told
) -> List[Candidate]:
    """The host's VFs, with the networks that the interface of each one's PF serves. `told`: what xapi says of
    its GPUs."""
    serves: Dict[str, List[str]] = {}
    for network in topology.networks(member):
        for interface in network.interfaces:
            serves.setdefault(interface, []).append(network.uuid)
    managed = networks.managed(member.pifs)
    pfs = {pf["address"]: pf for pf in seen["pfs"]}
    found = []
    for vf in seen["vfs"]:
        pf = pfs[vf["pf"]]
        found.append(
            Candidate(
                address=vf["address"],
                index=vf["index"],
                pf=vf["pf"],
                device=f"{vf['vendor_id']}:{vf['device_id']}",
                pf_device=f"{pf['vendor_id']}:{pf['device_id']}",
                networks=frozenset(serves.get(vf["interface"], ())),
                blocked=_blocked(vf, pf, managed, told),
                no_network=_no_network(vf, pf, serves),
            )
        )
    return found


def _gpu(pf: Mapping[str, Any]) -> vgpus.Gpu:
    return vgpus.Gpu(pf["address"], pf["driver"], pf.get("pci_class") or "")


def _with_vgpus(answer: Dict[str, Any], told: vgpus.Told) -> Dict[str, Any]:
    """The host's inventory, with what xapi knows of its GPUs."""
    needed = {address: list(what) for address, what in answer.get("needed", {}).items()}
    for pf in answer["pfs"]:
        said = needed.get(pf["address"], [])
        if vgpus.needs_pf(_gpu(pf), pf["num_vfs"], told) and dom0_devices.VGPUS not in said:
            needed[pf["address"]] = [*said, dom0_devices.VGPUS]
    return {**answer, "needed": needed}


def _untagged(topology: Topology, member: Member) -> Set[str]:
    return {
        topology.network_records[pif["network"]]["uuid"]
        for pif in member.pifs.values()
        if networks.vlan(pif) is None and pif["network"] in topology.network_records
    }


def _no_network(
    vf: Mapping[str, Any], pf: Mapping[str, Any], networks: Mapping[str, List[str]]
) -> FrozenSet[str]:
    """The networks that the VF may or may not be in: on which port it is, is not known."""
    if vf["no_port"] is None:
        return frozenset()
    return frozenset(uuid for interface in pf["interfaces"] for uuid in networks.get(interface, ()))


def _blocked(
    vf: Mapping[str, Any], pf: Mapping[str, Any], managed: Iterable[str], told: vgpus.Told
) -> Optional[str]:
    """Why no VM may be given the VF, where there is a reason."""
    closed = _closed(pf, managed, told)
    if closed is not None:
        return closed.message
    if vf["state"] == inventory.DOM0:
        return f"dom0's driver {vf['driver']} has it"
    if vf["address"].index(":") > 4:
        return "xapi cannot name a PCI domain above ffff"
    return None


def _closed_pfs(member: Member, answer: Mapping[str, Any], told: vgpus.Told) -> Dict[str, Closed]:
    reasons = {
        pf["address"]: _closed(pf, networks.managed(member.pifs), told, "", f" of {member.name}")
        for pf in answer["pfs"]
    }
    return {address: reason for address, reason in reasons.items() if reason is not None}


def _closed(
    pf: Mapping[str, Any], managed: Iterable[str], told: vgpus.Told, its: str = "its PF ", of: str = ""
) -> Optional[Closed]:
    """`its` stands before the PF's name, and `of` behind it."""
    if vgpus.gives_vfs(_gpu(pf), told):
        return Closed(
            "SRIOV_MANAGED_BY_XAPI",
            f"xapi gives the VFs of the GPU {pf['address']}{of} to VMs as vGPUs",
            "VMs get them by a vGPU (`xe vgpu-create`).",
        )
    if pf["management"] is not False:
        carries = "carries" if pf["management"] else "may carry"
        return Closed(
            "SRIOV_MANAGEMENT_INTERFACE",
            f"{its}{pf['interface'] or pf['address']}{of} {carries} the management network",
            "Its VFs are not given to VMs; use another port, or a network on another one.",
        )
    for interface in pf["interfaces"]:
        if interface in managed:
            return Closed(
                "SRIOV_MANAGED_BY_XAPI",
                f"xapi's own SR-IOV manages {its}{interface}{of}",
                "VMs get VFs of it by a VIF in its SR-IOV network (`xe network-sriov-list`, "
                "`xe vif-create`); or use another port.",
            )
    return None
