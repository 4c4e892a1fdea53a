"""Which VF a request gets, and on which host: by what hosts have and who holds it. Pure.

A request keeps its VF while it can. Otherwise it gets one that is free on every host that could serve it, so
that its VM starts anywhere with the same entries; then one on the NUMA node of the VM's CPUs; then one of the
PF with most free VFs.
"""

from typing import Collection, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..machine import pci
from ..machine.pci import VirtualFunction
from . import numa
from .ledger import Choice, Request


class Candidate(NamedTuple):
    """A VF, and what a VM's request has to know of it."""

    vf: VirtualFunction
    pf_device: str  # vendor:device of its PF
    networks: FrozenSet[str]  # UUIDs of the networks that it can serve
    blocked: Optional[str]  # why no VM may have it, to stand after "it is": `held by dom0`
    no_network: FrozenSet[str] = frozenset()  # networks that it may be in: its port is not known

    @property
    def address(self) -> str:
        return self.vf.address

    @property
    def number(self) -> int:
        return self.vf.number

    @property
    def pf(self) -> str:
        return self.vf.pf

    @property
    def device(self) -> str:
        return self.vf.device


Hosts = Mapping[str, Sequence[Candidate]]  # uuid -> VFs, of the live hosts that answered
Serving = Mapping[str, FrozenSet[str]]  # uuid of a host that can serve a request -> addresses that fit it


class Held(NamedTuple):
    """Who has which VF; the VM in question may be among them."""

    on_host: Mapping[Tuple[str, str], str]  # host and address -> VM or other holder: leases, running domains
    everywhere: Mapping[str, str]  # address -> VM that may be leased it, of whatever host
    by_hand: Mapping[str, Collection[str]] = {}  # address -> VMs with an entry for it that no lease explains


class NoFreeVf(Exception):
    """There is no VF for this request on these hosts: for the first one, in the order of numbers, that cannot
    be placed on the first of them beside those before it. no_free_vf says it in words."""

    def __init__(self, request: Request, *hosts: str) -> None:
        super().__init__(request, *hosts)
        self.request = request
        self.hosts = hosts


def fits(choice: Choice, candidate: Candidate) -> bool:
    """Whether the VF would do; an address counts only with the device that it stood for."""
    if choice.kind == "network":
        return choice.value in candidate.networks
    if choice.kind == "pf":
        return (choice.value, choice.device) == (candidate.pf, candidate.pf_device)
    if choice.kind == "vf":
        return (choice.value, choice.device) == (candidate.address, candidate.device)
    return choice.value == candidate.device


def holder(host: str, address: str, vm: str, held: Held) -> Optional[str]:
    """Who has the address there, other than the VM itself."""
    for one in (held.on_host.get((host, address)), held.everywhere.get(address)):
        if one is not None and one != vm:
            return one
    return None


def serving(choice: Choice, hosts: Hosts) -> Serving:
    """The hosts that could serve the choice, with the addresses there that fit it and are not blocked. Hosts
    that are alike have one list of VFs (see candidates), which is gone through once."""
    of_lists: Dict[int, FrozenSet[str]] = {}
    found = {}
    for host, candidates in hosts.items():
        fitting = of_lists.get(id(candidates))
        if fitting is None:
            fitting = frozenset(vf.address for vf in candidates if vf.blocked is None and fits(choice, vf))
            of_lists[id(candidates)] = fitting
        if fitting:
            found[host] = fitting
    return found


def portable(where: Serving, address: str, vm: str, held: Held) -> bool:
    """Whether the VM can have this address wherever its request can be served: on every host with a VF that
    fits and is not blocked, the address is such a VF and only the VM holds it; there is such a host."""
    if not where or held.everywhere.get(address, vm) != vm:
        return False
    on_host = held.on_host
    return all(
        address in fitting and on_host.get((host, address), vm) == vm for host, fitting in where.items()
    )


def place(
    requests: Sequence[Request],
    vm: str,
    host: str,
    hosts: Hosts,
    held: Held,
    current: Mapping[int, str],
    nodes: FrozenSet[int] = numa.UNKNOWN,
) -> Dict[int, str]:
    """Number of the request -> address on that host, for all requests; NoFreeVf where that cannot be.

    Of all ways to do it, one that moves fewest requests from their `current` address, of these one with
    fewest that other VMs name by hand, of these one with most portable addresses, of these the one nearest to
    the VM's `nodes`, of these the one that spreads best: from the PF with most free VFs, then the lowest PF
    and index. The order of what is given plays no part. An address that an entry of the VM's own names, and
    no lease explains, is taken only where it is current, or asked for as such.
    """
    requests = sorted(requests)
    where = {choice: serving(choice, hosts) for choice in {one.choice for one in requests}}
    claims = _claims(vm, held)
    free = _free(requests, host, where, claims, current)
    available = {
        number: [vf for vf in hosts.get(host, ()) if vf.address in addresses]
        for number, addresses in free.items()
    }
    stay = {number: current[number] for number in free if current.get(number) in free[number]}
    larger = 1 + len(requests) * (2 + max((len(row) for row in available.values()), default=0))
    costs = {}
    for number, choice in [(request.number, request.choice) for request in requests]:
        anywhere = {
            one.address for one in available[number] if portable(where[choice], one.address, vm, held)
        }
        kept = {address for other, address in stay.items() if other != number}
        far = {one.address: numa.distance(one.vf.numa_node, nodes) for one in available[number]}
        costs[number] = {
            address: rank
            + far[address] * larger
            + (address not in anywhere) * larger**2
            + (address in claims.meant) * larger**3
            + (stay.get(number, address) != address) * larger**4
            for rank, address in enumerate(_preference(available[number], claims.meant, anywhere, far, kept))
        }
    placed = _cheapest(costs)
    for request in requests:
        if request.number not in placed:
            raise NoFreeVf(request, host)
    return {request.number: placed[request.number] for request in requests}


def choose_host(
    requests: Mapping[str, Sequence[Request]],
    vm: str,
    hosts: Hosts,
    held: Held,
    preferred: Optional[str],
    last: Collection[str] = (),
) -> str:
    """Of these hosts, each with the requests that it is to serve: the preferred one if it has VFs for all of
    them, else of those that have the one with most free VFs that fit, those of `last` behind the others;
    NoFreeVf of the one that comes first where none has."""
    there = {host: hosts.get(host, ()) for host in requests}
    choices = {one.choice for asked in requests.values() for one in asked}
    where = {choice: serving(choice, there) for choice in choices}
    claims = _claims(vm, held)
    free = {host: _free(asked, host, where, claims, {}) for host, asked in requests.items()}
    count = {host: len(set().union(*rows.values()) - claims.meant) for host, rows in free.items()}
    order = sorted(requests, key=lambda host: (host != preferred, host in last, -count[host], host))
    for host in order:
        if not _lacking(requests[host], free[host]):
            return host
    raise NoFreeVf(_lacking(requests[order[0]], free[order[0]])[0], *order)


def _lacking(requests: Sequence[Request], free: Mapping[int, Collection[str]]) -> List[Request]:
    """Those that get no VF beside the others. `free`: see _free."""
    costs = {one.number: dict.fromkeys(free[one.number], 0) for one in sorted(requests)}
    placed = _cheapest(costs)
    return [one for one in sorted(requests) if one.number not in placed]


class _Claims(NamedTuple):
    """On VFs, for the placement of one VM: of single hosts, and on addresses of whatever host."""

    vm: str
    on_host: Mapping[Tuple[str, str], str]  # see Held
    taken: Set[str]  # another VM may be leased them
    meant: Set[str]  # another VM names them by hand: it keeps them as long as there is something else
    own: Set[str]  # the VM names them by hand


def _claims(vm: str, held: Held) -> _Claims:
    return _Claims(
        vm,
        held.on_host,
        {address for address, one in held.everywhere.items() if one != vm},
        {address for address, those in held.by_hand.items() if {*those} - {vm}},
        {address for address, those in held.by_hand.items() if vm in those},
    )


def _free(
    requests: Sequence[Request],
    host: str,
    where: Mapping[Choice, Serving],
    claims: _Claims,
    current: Mapping[int, str],
) -> Dict[int, Set[str]]:
    """Number of the request -> the addresses of the host that it can have."""
    vm, on_host = claims.vm, claims.on_host  # not once a VF of the pool
    free = {
        choice: {address for address in where[choice].get(host, ()) if on_host.get((host, address), vm) == vm}
        - claims.taken
        for choice in {one.choice for one in requests}
    }
    return {
        one.number: free[one.choice]
        if one.choice.kind == "vf"
        else free[one.choice] - (claims.own - {current.get(one.number, "")})
        for one in requests
    }


def _preference(
    candidates: Sequence[Candidate],
    meant: Set[str],
    anywhere: Set[str],
    far: Mapping[str, int],
    kept: Set[str],
) -> List[str]:
    """Addresses, the best first. Taken one after the other they spread over the PFs: each is valued by how
    many VFs its PF still has when those before it are gone."""
    by_pf: Dict[str, List[Candidate]] = {}
    for candidate in candidates:
        by_pf.setdefault(candidate.pf, []).append(candidate)
    valued = []
    for pf, vfs in by_pf.items():
        vfs.sort(
            key=lambda vf: (vf.address in kept, vf.address in meant, vf.address not in anywhere, vf.number)
        )
        left = sum(1 for vf in vfs if vf.address not in kept)
        for taken, vf in enumerate(vfs):
            worse = (vf.address in meant, vf.address not in anywhere, far[vf.address])
            order = (*worse, taken - left, taken, pci.address_order(pf), vf.number)
            valued.append((order, vf.address))
    return [address for _, address in sorted(valued)]


def _cheapest(costs: Mapping[int, Mapping[str, int]]) -> Dict[int, str]:
    """An address for each request, none for two, of those that have a cost for it; at the least sum.

    Requests are served in their order; one is left out if it could have an address only by another's going
    without. Of equal sums the one that comes first by the order of requests and of their addresses.

    Successive shortest augmenting paths: each request comes in by the cheapest chain of exchanges with those
    before it, so what there is stays cheapest. It takes requests^3 x addresses steps at the very most.
    """
    taker_of: Dict[str, int] = {}
    for newcomer, row in costs.items():
        sums = dict(row)  # address -> what the exchanges cost by which it becomes free for the newcomer
        came_from: Dict[str, str] = {}  # address -> what its next taker gives up for it
        shorter = True
        while shorter:
            shorter = False
            for address, taker in taker_of.items():
                if address not in sums:
                    continue
                saved = sums[address] - costs[taker][address]
                for instead, cost in costs[taker].items():
                    if instead not in sums or saved + cost < sums[instead]:
                        sums[instead], came_from[instead], shorter = saved + cost, address, True
        free = [address for address in sums if address not in taker_of]
        if not free:
            continue
        address = min(free, key=lambda one: sums[one])
        while address in came_from:
            taker_of[address] = taker_of[came_from[address]]
            address = came_from[address]
        taker_of[address] = newcomer
    return {taker: address for address, taker in taker_of.items()}
