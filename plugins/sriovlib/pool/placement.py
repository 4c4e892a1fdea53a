"""Which VF a request gets, and on which host: by what hosts have and who holds it. Pure.

A request keeps its VF while it can. Otherwise it gets one that is free on every host that could serve it, so
that its VM starts anywhere with the same entries; then one of the PF with most free VFs.
"""

from typing import Collection, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import SriovError
from ..machine import pci
from ..machine.pci import VirtualFunction
from ..safetext import listed
from . import least_cost
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


class NoFreeVf(SriovError):
    """There is no VF for a request: for the first one, in the order of numbers, that cannot be placed
    beside those before it. no_free_vf says what helps."""

    def __init__(
        self, request: Request, host: str, why: str, others: Sequence[str] = (), own: Sequence[str] = ()
    ) -> None:
        super().__init__("SRIOV_NO_FREE_VF", why)
        self.request = request.number
        self.choice = request.choice
        self.host = host
        self.hosts = (host, *others)  # that were asked
        self.own = own  # VFs that would do, and that the VM's own entries by hand name


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
    holders = (held.on_host.get((host, address)), held.everywhere.get(address))
    return next((one for one in holders if one is not None and one != vm), None)


def serving(choice: Choice, hosts: Hosts) -> Serving:
    """The hosts that could serve the choice, with the addresses there that fit it and are not blocked."""
    found = {}
    for host, candidates in hosts.items():
        fitting = frozenset(one.address for one in candidates if one.blocked is None and fits(choice, one))
        if fitting:
            found[host] = fitting
    return found


def portable(where: Serving, address: str, vm: str, held: Held) -> bool:
    """Whether the VM can have this address wherever its request can be served: on every host with a VF that
    fits and is not blocked, the address is such a VF and only the VM holds it; there is such a host."""
    return bool(where) and all(
        address in fitting and holder(host, address, vm, held) is None for host, fitting in where.items()
    )


def place(
    requests: Sequence[Request],
    vm: str,
    host: str,
    hosts: Hosts,
    held: Held,
    current: Mapping[int, str],
) -> Dict[int, str]:
    """Number of the request -> address on that host, for all requests; NoFreeVf where that cannot be.

    Of all ways to do it, one that moves fewest requests from their `current` address, of these one with
    fewest that other VMs name by hand, of these one with most portable addresses, of these the one that
    spreads best: from the PF with most free VFs, then the lowest PF and index. The order of what is given
    plays no part. An address that an entry of the VM's own names, and no lease explains, is taken only where
    it is current, or asked for as such.
    """
    requests = sorted(requests)
    available = _available(requests, vm, host, hosts, held, current)
    stay = {
        number: current[number]
        for number, candidates in available.items()
        if current.get(number) in {candidate.address for candidate in candidates}
    }
    larger = 1 + len(requests) * (1 + max((len(row) for row in available.values()), default=0))
    where = {choice: serving(choice, hosts) for choice in {one.choice for one in requests}}
    meant = _meant_for_others(vm, held)
    costs = {}
    for number, choice in [(request.number, request.choice) for request in requests]:
        anywhere = {
            one.address for one in available[number] if portable(where[choice], one.address, vm, held)
        }
        kept = {address for other, address in stay.items() if other != number}
        costs[number] = {
            address: rank
            + (address not in anywhere) * larger
            + (address in meant) * larger**2
            + (stay.get(number, address) != address) * larger**3
            for rank, address in enumerate(_preference(available[number], meant, anywhere, kept))
        }
    placed = least_cost.cheapest(costs)
    for request in requests:
        if request.number not in placed:
            raise _no_free_vf(request, vm, host, hosts, held)
    return {request.number: placed[request.number] for request in requests}


def choose_host(
    requests: Sequence[Request], vm: str, hosts: Hosts, held: Held, preferred: Optional[str]
) -> str:
    """The preferred host if it has VFs for all the requests, else of those that have the one with most free
    VFs that fit; NoFreeVf of the one that comes first where none has."""
    by_number = {request.number: request for request in sorted(requests)}
    meant = _meant_for_others(vm, held)
    order = []
    for host in hosts:
        available = _available(requests, vm, host, hosts, held, {})
        free = {candidate.address for row in available.values() for candidate in row} - meant
        placed = least_cost.cheapest(
            {number: {candidate.address: 0 for candidate in available[number]} for number in by_number}
        )
        lacking = [number for number in by_number if number not in placed]
        order.append((host != preferred, -len(free), host, lacking))
    for _, _, host, lacking in sorted(order):
        if not lacking:
            return host
    if not order:
        raise NoFreeVf(min(requests), preferred or "", "No live host of the pool told its VFs.")
    _, _, host, lacking = min(order)
    raise _no_free_vf(by_number[lacking[0]], vm, host, hosts, held, [one for one in hosts if one != host])


def _meant_for_others(vm: str, held: Held) -> Set[str]:
    """What another VM names by hand: it keeps that as long as there is something else."""
    return {address for address, those in held.by_hand.items() if {*those} - {vm}}


def _available(
    requests: Sequence[Request],
    vm: str,
    host: str,
    hosts: Hosts,
    held: Held,
    current: Mapping[int, str],
) -> Dict[int, List[Candidate]]:
    """Number of the request -> the VFs of the host that it can have."""
    free = [
        candidate
        for candidate in hosts.get(host, ())
        if candidate.blocked is None and holder(host, candidate.address, vm, held) is None
    ]
    return {
        request.number: [
            candidate
            for candidate in free
            if fits(request.choice, candidate)
            and (
                request.choice.kind == "vf"
                or vm not in held.by_hand.get(candidate.address, ())
                or current.get(request.number) == candidate.address
            )
        ]
        for request in requests
    }


def _preference(
    candidates: Sequence[Candidate], meant: Set[str], anywhere: Set[str], kept: Set[str]
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
            worse = (vf.address in meant, vf.address not in anywhere)
            order = (*worse, taken - left, taken, pci.address_order(pf), vf.number)
            valued.append((order, vf.address))
    return [address for _, address in sorted(valued)]


def _no_free_vf(
    request: Request, vm: str, host: str, hosts: Hosts, held: Held, others: Sequence[str] = ()
) -> NoFreeVf:
    """The error, with what has the VFs of that host. `others`: further hosts without VFs for all requests."""
    kind, value, device = request.choice
    wanted = {
        "network": f"a VF of network {value}",
        "pf": f"a VF of {value}, {device}",
        "vf": f"VF {value}, {device}",
        "device": f"a VF {value}",
    }[kind]
    fitting = [candidate for candidate in hosts.get(host, ()) if fits(request.choice, candidate)]
    open_to_vms = [candidate.address for candidate in fitting if candidate.blocked is None]
    holders = {address: holder(host, address, vm, held) for address in open_to_vms}
    by_others = [one for one in holders.values() if one is not None]
    blocked = [candidate.blocked for candidate in fitting if candidate.blocked is not None]
    own = [one for one in open_to_vms if holders[one] is None and vm in held.by_hand.get(one, ())]
    if fitting:
        parts = [
            (len(by_others), f"held by {_names(by_others)}"),
            (len(blocked), f"that no VM can have ({_names(blocked)})"),
            (len(open_to_vms) - len(by_others) - len(own), "taken by the VM's other requests"),
            (len(own), "named by the VM's own entries by hand"),
        ]
        counts = ", ".join(f"{count} {what}" for count, what in parts if count)
        why = (
            f"Host {host} has no free VF for request {request.number} ({wanted}): of {len(fitting)} that fit"
        )
        why += f", {counts}."
    else:
        lost = [one.address for one in hosts.get(host, ()) if kind == "network" and value in one.no_network]
        why = f"Host {host} has no VF that fits request {request.number} ({wanted})."
        why += f" {_names(lost)}: on both ports of the PF, or on one that is not known." if lost else ""
    if others:
        why += " No other live host has VFs for all requests either."
    return NoFreeVf(request, host, why, others, own)


def _names(names: Sequence[str]) -> str:
    """Each once, the first three by name."""
    return listed(sorted(set(names)), 3)
