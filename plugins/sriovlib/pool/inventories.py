"""What the pool's live hosts answered (see host_answers), judged: their VFs as placement takes them, and the
problem with each host that has not answered as it should."""

from typing import (
    Callable,
    Container,
    Dict,
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
from ..errors import Problem, SriovError
from ..machine import vgpus
from ..machine.host import Host
from ..machine.pci import PhysicalFunction
from ..vf.inventory_json import HostInventory, OtherPlugin
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi, XapiError, XapiFailure
from . import host_answers, hosts, networks
from .candidates import Candidates, closed_pfs
from .host_answers import HostAnswers
from .hosts import Member, Topology
from .placement import Candidate
from .told import Told

SILENT = "HOST_SILENT"  # the problem with a host of which nothing is known
WITHOUT_PLUGIN = "HOST_WITHOUT_PLUGIN"  # or with another version of the package


class Surveyed:
    """A host that answered: what it told, and its VFs as placement takes them."""

    def __init__(
        self,
        member: Member,
        told: Told,
        candidates: List[Candidate],
        untagged: Set[str],
        closed: Optional[Mapping[str, Problem]] = None,
        gpus: vgpus.Told = vgpus.UNTOLD,
    ) -> None:
        self.member = member
        self.told = told
        self.candidates = candidates
        self.untagged = untagged  # networks that stand on its ports without a VLAN of their own
        self.closed = closed or {}  # PF -> why no VM is given VFs of it, without a full stop
        self._gpus = gpus  # what xapi says of them
        self._inventory: Optional[HostInventory] = None
        self._by_address: Dict[str, Candidate] = {}

    def candidate(self, address: str) -> Optional[Candidate]:
        if not self._by_address:
            self._by_address = {one.address: one for one in self.candidates}
        return self._by_address.get(address)

    @property
    def inventory(self) -> HostInventory:
        if self._inventory is None:
            found = self.told.inventory
            pfs = [pf for pf, _ in self.told.devices.pfs]
            self._inventory = found._replace(needed=_with_vgpus(found.needed, pfs, self._gpus))
        return self._inventory

    def with_candidates(self, candidates: List[Candidate]) -> "Surveyed":
        return Surveyed(self.member, self.told, candidates, self.untagged, self.closed, self._gpus)


class Survey(NamedTuple):
    hosts: Dict[str, Surveyed]  # by UUID
    problems: Dict[str, Problem]  # UUID -> that the host did not answer, or has another version

    @property
    def candidates(self) -> Dict[str, List[Candidate]]:
        return {uuid: surveyed.candidates for uuid, surveyed in self.hosts.items()}

    def running(self) -> Dict[Tuple[str, str], str]:
        """(host, address) -> UUID of the VM whose domain has the VF, as each host's xenstore says."""
        return {
            (uuid, address): vm
            for uuid, surveyed in self.hosts.items()
            for address, vm in surveyed.told.running.items()
        }

    def starting(self) -> Dict[Tuple[str, str], str]:
        """(host, address) -> UUID of the VM that is being started there with the device, and may have no
        domain yet."""
        return {
            (uuid, address): vm
            for uuid, surveyed in self.hosts.items()
            for address, vm in surveyed.told.starting.items()
        }

    def without_unknown(self, leased: Container[Tuple[str, str]]) -> "Survey":
        """Where a host's xenstore does not answer, a VF without a lease may be a running VM's, so it is
        blocked. `leased`: hosts and addresses."""
        found = dict(self.hosts)
        for uuid, one in self.hosts.items():
            if not one.told.owners_known:
                why = f"xenstore of {one.member.name} does not answer, so its owner is not known"
                candidates = [
                    candidate
                    if candidate.blocked or (uuid, candidate.address) in leased
                    else candidate._replace(blocked=why)
                    for candidate in one.candidates
                ]
                found[uuid] = one.with_candidates(candidates)
        return self._replace(hosts=found)


NOBODY = Survey({}, {})


def survey(
    host: Host,
    session: OwnSession,
    topology: Topology,
    members: Iterable[Member],
    meanwhile: Callable[[], object] = lambda: None,
    whole: bool = True,
) -> Survey:
    """Asks these hosts, see host_answers."""
    asked = list(members)
    answers = host_answers.ask(host, session, topology, asked, meanwhile, whole)
    return judged(Xapi(host, session), topology, asked, answers)


def judged(xapi: Xapi, topology: Topology, asked: Iterable[Member], answers: HostAnswers) -> Survey:
    """What these hosts answered. xapi is asked where one has a GPU among its PFs."""
    found, shared, bounded = Survey({}, {}), Candidates(), xapi.renewed(host_answers.SECONDS)
    for member in asked:
        one = _judged(bounded, topology, member, answers.told[member.uuid], shared)
        if isinstance(one, Problem):
            found.problems[member.uuid] = one
            continue
        found.hosts[member.uuid] = one
        if one.told.version != VERSION:
            said = f"has xapi-sriov {one.told.version}, the master {VERSION}"
            found.problems[member.uuid] = _other_version(member, said)
    return found


def again(host: Host, session: OwnSession, topology: Topology, before: Survey) -> Survey:
    """Asks the hosts that answered before once more, not `whole`; the problems with the others stay."""
    now = survey(host, session, topology, [topology.members[uuid] for uuid in before.hosts], whole=False)
    others = {uuid: one for uuid, one in before.problems.items() if uuid not in before.hosts}
    return Survey(now.hosts, {**others, **now.problems})


def _judged(
    xapi: Xapi, topology: Topology, member: Member, answer: Union[Told, Exception], shared: Candidates
) -> Union[Surveyed, Problem]:
    """The host as placement takes it, or the problem with it."""
    try:
        if isinstance(answer, Exception):
            raise answer
        gpus = hosts.gpus(xapi, member.ref, [pf for pf, _ in answer.devices.pfs])
        closed = closed_pfs(member, answer.devices, gpus)
        vfs = shared.of(topology.networks(member), answer.devices, closed)
        return Surveyed(member, answer, vfs, _untagged(topology, member), closed, gpus)
    except XapiFailure as failure:
        if failure.details[0] == "XENAPI_MISSING_PLUGIN":
            return Problem(
                WITHOUT_PLUGIN,
                f"Host {member.name} does not have xapi-sriov, so no VM gets VFs there.",
                "Install the package on that host.",
            )
        is_other, why = failure.details[0] == "SRIOV_BAD_ARGUMENT", _why(failure)
    except Exception as error:
        is_other, why = isinstance(error, OtherPlugin), _why(error)
    if is_other:
        said = f"answers `inventory` in another format than the master's xapi-sriov {VERSION}"
        return _other_version(member, said)
    return Problem(
        SILENT,
        f"Host {member.name} did not answer `inventory`: {why}.",
        "See that its toolstack runs. It has to answer "
        f"`xe host-call-plugin host-uuid={member.uuid} plugin=sriov fn=inventory` within "
        f"{host_answers.SECONDS:.0f} s.",
    )


def _why(error: Exception) -> str:
    """In words that a full stop follows. Of what nobody foresaw the text says little without its type."""
    is_foreseen = isinstance(error, (XapiError, SriovError, OSError, ValueError))
    said = str(error) if is_foreseen else f"{type(error).__name__}: {error}"
    return said.rstrip(".") or type(error).__name__


def _other_version(member: Member, said: str) -> Problem:
    hint = "Install the same version on all hosts of the pool."
    return Problem(WITHOUT_PLUGIN, f"Host {member.name} {said}.", hint)


def _with_vgpus(
    needed: Mapping[str, List[str]], pfs: Iterable[PhysicalFunction], told: vgpus.Told
) -> Dict[str, List[str]]:
    """What dom0 needs, with what xapi knows of the host's GPUs."""
    found = dict(needed)
    for pf in pfs:
        said = found.get(pf.address, [])
        if vgpus.needs_pf(pf, told) and vgpus.NEEDED_FOR not in said:
            found[pf.address] = [*said, vgpus.NEEDED_FOR]
    return found


def _untagged(topology: Topology, member: Member) -> Set[str]:
    return {
        topology.network_records[pif["network"]]["uuid"]
        for pif in member.pifs.values()
        if networks.vlan(pif) is None and pif["network"] in topology.network_records
    }
