"""Pools made up for the tests of placement: two ports of a card, and all small pools there are."""

import itertools
from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from hypothesis import strategies as st
from sriovlib.machine.pci import VirtualFunction
from sriovlib.machine.ports import VfPort
from sriovlib.pool.ledger import Choice, Request
from sriovlib.pool.placement import Candidate, Held, fits

NETWORK, OTHER_NETWORK = "network-a", "network-b"
VF, PF = "8086:10ed", "8086:10fb"
ANY_OF_NETWORK = Choice("network", NETWORK)
NOBODY = Held({}, {})


def vfs(pf: str, count: int, network: str = NETWORK, blocked: Optional[str] = None) -> List[Candidate]:
    """VFs of a PF `0000:07:00.x`, at `0000:07:1x.n`."""
    place_of = pf.replace("00.", "1")
    return [
        Candidate(function(f"{place_of}.{index}", index, pf), PF, frozenset([network]), blocked)
        for index in range(count)
    ]


def function(address: str, index: int, pf: str, device: str = VF) -> VirtualFunction:
    vendor_id, device_id = device.split(":")
    return VirtualFunction(address, index, pf, vendor_id, device_id, "pciback", None, VfPort(None))


def asks(*choices: Choice) -> List[Request]:
    return [Request(number, choice, {}) for number, choice in enumerate(choices, 1)]


FIRST, SECOND = "0000:07:00.0", "0000:07:00.1"
TWO_PORTS = vfs(FIRST, 4) + vfs(SECOND, 4)


# All small pools: up to three hosts with VFs of two ports; networks, devices, holders, blocks as they come.

ADDRESSES = [f"0000:07:1{port}.{index}" for port in range(2) for index in range(3)]
NETWORKS = [{NETWORK}, {NETWORK}, {NETWORK, OTHER_NETWORK}, {OTHER_NETWORK}]
CHOICES = [
    *[ANY_OF_NETWORK] * 3,
    *[
        Choice("network", OTHER_NETWORK),
        Choice("device", VF),
        Choice("pf", FIRST, PF),
        Choice("pf", SECOND, PF),
    ],
    *[Choice("vf", address, VF) for address in ADDRESSES[:4]],
]
HOLDERS = [None, None, None, None, "vm", "db", "mail"]


class World(NamedTuple):
    hosts: Dict[str, List[Candidate]]
    held: Held
    requests: List[Request]
    current: Dict[int, str]


def world_of(data: bytes, least: int, most: int) -> World:
    """A pool, and `least` to `most` requests, made of bytes: strategies would take ten times as long."""
    rest = iter(data)

    def pick(things: Sequence[Any]) -> Any:
        return things[next(rest) % len(things)]

    def vf(address: str) -> Candidate:
        pf, device = [FIRST, SECOND][int(address[9])], pick([VF] * 7 + ["15b3:1014"])
        blocked = pick([None] * 7 + ["held by dom0"])
        return Candidate(
            function(address, int(address[11]), pf, device), PF, frozenset(pick(NETWORKS)), blocked
        )

    hosts = {f"h{number}": [vf(a) for a in ADDRESSES if pick([True] * 4 + [False])] for number in (1, 2, 3)}
    for name in ("h2", "h3"):
        if pick([True, False, False]):
            del hosts[name]
    on_host = {(host, address): pick(HOLDERS) for host in hosts for address in ADDRESSES}
    everywhere = {pick(ADDRESSES): pick(HOLDERS)}
    by_hand = {pick(ADDRESSES): [pick(HOLDERS)], pick(ADDRESSES): [pick(HOLDERS), "db"]}
    numbers = sorted(range(1, 6), key=lambda _: next(rest))[: pick(range(least, most + 1))]
    free = list(ADDRESSES)
    current = {number: free.pop(next(rest) % len(free)) for number in numbers if pick([True, False])}
    return World(
        hosts,
        Held(
            {place: who for place, who in on_host.items() if who},
            {address: who for address, who in everywhere.items() if who},
            {address: [who for who in those if who] for address, those in by_hand.items()},
        ),
        [Request(number, pick(CHOICES), {}) for number in numbers],
        current,
    )


def worlds(least: int = 1, most: int = 4) -> Any:
    return st.binary(min_size=140, max_size=140).map(lambda data: world_of(data, least, most))


def may_have(world: World, host: str, request: Request, current: Mapping[int, str]) -> FrozenSet[str]:
    """The contract in other words than the code's."""
    allowed = []
    for candidate in world.hosts[host]:
        by_others = {
            world.held.on_host.get((host, candidate.address), "vm"),
            world.held.everywhere.get(candidate.address, "vm"),
        } != {"vm"}
        own_entry = "vm" in world.held.by_hand.get(candidate.address, ())
        wanted = current.get(request.number) == candidate.address or request.choice.kind == "vf"
        if (
            fits(request.choice, candidate)
            and candidate.blocked is None
            and not by_others
            and (wanted or not own_entry)
        ):
            allowed.append(candidate.address)
    return frozenset(allowed)


def all_ways(world: World, host: str, current: Mapping[int, str]) -> List[Tuple[str, ...]]:
    rows = [may_have(world, host, request, current) for request in world.requests]
    return [way for way in itertools.product(*rows) if len(set(way)) == len(way)]
