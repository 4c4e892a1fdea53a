"""Which VF for which request: what an administrator may rely on, in stories and for all small pools."""

import random
from typing import Any, Collection, Dict, List, Mapping, Optional, Set, Tuple, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_pools import (
    ADDRESSES,
    ANY_OF_NETWORK,
    FIRST,
    NOBODY,
    OTHER_NETWORK,
    PF,
    SECOND,
    TWO_PORTS,
    VF,
    World,
    all_ways,
    asks,
    may_have,
    vfs,
    worlds,
)
from sriovlib.pool import placement
from sriovlib.pool.ledger import Choice, Request
from sriovlib.pool.placement import Candidate, Held, NoFreeVf, choose_host, fits, place


def portable(choice: Choice, address: str, vm: str, hosts: placement.Hosts, held: Held) -> bool:
    return placement.portable(placement.serving(choice, hosts), address, vm, held)


def test_an_address_with_another_device_behind_it_does_not_fit() -> None:
    vf = TWO_PORTS[0]
    assert fits(Choice("vf", vf.address, VF), vf)
    assert not fits(Choice("vf", vf.address, "15b3:1014"), vf)
    assert not fits(Choice("pf", vf.pf, "15b3:1013"), vf)
    assert not fits(Choice("device", "15b3:1014"), vf)
    assert not fits(Choice("network", OTHER_NETWORK), vf)


def held_by_db(host: str, *addresses: str) -> Held:
    return Held({(host, f"0000:07:{address}"): "db" for address in addresses}, {})


def at(candidate: Candidate, address: str, number: int) -> Candidate:
    return candidate._replace(vf=candidate.vf._replace(address=address, number=number))


ONE, TWO = [ANY_OF_NETWORK], [ANY_OF_NETWORK] * 2
FIRST_VF = Choice("vf", "0000:07:10.0", VF)
EXCHANGED = [at(vfs(SECOND, 1)[0], "0000:07:10.0", 0), at(vfs(FIRST, 1)[0], "0000:07:11.0", 0)]
BACKWARDS = [at(vf, vf.address, 9 - vf.number) for vf in vfs(FIRST, 3)]
# Only 10.0 and 11.0 serve the network
NARROW = [*vfs(FIRST, 1), *(vf._replace(networks=frozenset()) for vf in vfs(FIRST, 3)[1:]), *vfs(SECOND, 1)]
BY_HAND = Held({}, {}, {"0000:07:10.0": ["vm"]})


@pytest.mark.parametrize(
    ("choices", "vfs_of_hosts", "held", "current", "expected"),
    [
        pytest.param(ONE, [vfs(FIRST, 2, OTHER_NETWORK) + vfs(SECOND, 2)], NOBODY, "", "11.0", id="network"),
        pytest.param([Choice("pf", SECOND, PF)], [TWO_PORTS], NOBODY, "", "11.0", id="pf"),
        pytest.param([Choice("vf", "0000:07:10.3", VF)], [TWO_PORTS], NOBODY, "", "10.3", id="vf"),
        pytest.param([Choice("device", VF)], [TWO_PORTS], NOBODY, "", "10.0", id="device"),
        pytest.param(TWO * 2, [TWO_PORTS], NOBODY, "", "10.0 11.0 10.1 11.1", id="spread-over-ports"),
        pytest.param(ONE, [TWO_PORTS], held_by_db("h1", "10.2"), "", "11.0", id="port-with-most-free-vfs"),
        pytest.param(ONE, [EXCHANGED], NOBODY, "", "11.0", id="then-the-lowest-port"),
        pytest.param(ONE, [BACKWARDS], NOBODY, "", "10.2", id="then-the-lowest-number"),
        pytest.param(
            TWO, [vfs(FIRST, 3) + vfs(SECOND, 2)], NOBODY, "", "10.0 11.0", id="what-it-takes-counts"
        ),
        pytest.param(
            TWO, [vfs(FIRST, 2) + vfs(SECOND, 2)], NOBODY, "10.1", "10.1 11.0", id="what-it-has-counts"
        ),
        pytest.param(TWO, [vfs(FIRST, 3)], NOBODY, "", "10.0 10.1", id="better-vf-for-the-lower-request"),
        pytest.param(
            ONE, [vfs(FIRST, 4)] * 2, held_by_db("h2", "10.0", "10.1"), "", "10.2", id="free-on-all-hosts"
        ),
        # 11.0 is taken on the other host
        pytest.param(
            [ANY_OF_NETWORK, Choice("pf", FIRST, PF), Choice("vf", "0000:07:10.1", VF)],
            [NARROW, NARROW],
            held_by_db("h2", "11.0"),
            "",
            "10.0 10.2 10.1",
            id="one-more-portable-beats-the-order",
        ),
        pytest.param(
            ONE, [TWO_PORTS] * 2, held_by_db("h2", "10.3"), "10.3", "10.3", id="kept-though-not-portable"
        ),
        pytest.param(
            [ANY_OF_NETWORK, FIRST_VF], [vfs(FIRST, 2)], NOBODY, "10.0", "10.1 10.0", id="moved-if-needed"
        ),
        pytest.param(ONE, [vfs(FIRST, 2)], BY_HAND, "", "10.1", id="not-its-own-entry-by-hand"),
        pytest.param(ONE, [vfs(FIRST, 2)], BY_HAND, "10.0", "10.0", id="but-where-it-is-current"),
        pytest.param([FIRST_VF], [vfs(FIRST, 2)], BY_HAND, "", "10.0", id="or-asked-for-as-such"),
    ],
)
def test_placement_of_requests(
    choices: List[Choice], vfs_of_hosts: List[List[Candidate]], held: Held, current: str, expected: str
) -> None:
    """On host h1, whatever the order of the requests is; addresses without `0000:07:`."""
    hosts = {f"h{number}": found for number, found in enumerate(vfs_of_hosts, 1)}
    has = {number: f"0000:07:{address}" for number, address in enumerate(current.split(), 1)}
    for requests in (asks(*choices), asks(*choices)[::-1]):
        found = place(requests, "vm", "h1", hosts, held, has)
        assert " ".join(found[number][len("0000:07:") :] for number in sorted(found)) == expected


def on_nodes(first: Optional[int], second: Optional[int]) -> List[Candidate]:
    """Two ports with four VFs each, on these NUMA nodes."""
    node = {FIRST: first, SECOND: second}
    return [one._replace(vf=one.vf._replace(numa_node=node[one.pf])) for one in TWO_PORTS]


@pytest.mark.parametrize(
    ("vfs_of_hosts", "held", "current", "nodes", "expected"),
    [
        pytest.param([on_nodes(0, 1)], NOBODY, "", {1}, "11.0 11.1", id="near"),
        pytest.param([on_nodes(0, 1)], NOBODY, "", {0, 1}, "10.0 11.0", id="on-both-so-spread"),
        pytest.param([on_nodes(0, 1)], NOBODY, "", {}, "10.0 11.0", id="where-the-vm-is-is-not-known"),
        pytest.param([on_nodes(0, None)], NOBODY, "", {1}, "11.0 11.1", id="perhaps-near-before-far"),
        pytest.param([on_nodes(None, 1)], NOBODY, "", {1}, "11.0 11.1", id="near-before-perhaps-near"),
        pytest.param(
            [on_nodes(0, 1)],
            held_by_db("h1", *"11.1 11.2 11.3".split()),
            "",
            {1},
            "11.0 10.0",
            id="what-there-is",
        ),
        pytest.param(
            [on_nodes(0, 1), TWO_PORTS[:4]], NOBODY, "", {1}, "10.0 10.1", id="free-on-all-hosts-comes-first"
        ),
        pytest.param([on_nodes(0, 1)], NOBODY, "10.3", {1}, "10.3 11.0", id="kept-though-far"),
    ],
)
def test_near_vfs(
    vfs_of_hosts: List[List[Candidate]], held: Held, current: str, nodes: Collection[int], expected: str
) -> None:
    hosts = {f"h{number}": found for number, found in enumerate(vfs_of_hosts, 1)}
    has = {number: f"0000:07:{address}" for number, address in enumerate(current.split(), 1)}
    found = place(asks(*TWO), "vm", "h1", hosts, held, has, frozenset(nodes))
    assert " ".join(found[number][len("0000:07:") :] for number in sorted(found)) == expected


def chosen(
    requests: List[Request], hosts: placement.Hosts, held: Held, preferred: Optional[str], *last: str
) -> Union[str, Tuple[int, str]]:
    """The host; else the number of the request that has no VF, and on which host."""
    try:
        return choose_host(dict.fromkeys(hosts, requests), "vm", hosts, held, preferred, last)
    except NoFreeVf as error:
        return error.request.number, error.hosts[0]


def test_the_affinity_comes_first_then_the_host_with_most_free_vfs() -> None:
    hosts = {"h1": vfs(FIRST, 1), "h2": vfs(FIRST, 3), "h3": vfs(FIRST, 3), "h4": vfs(FIRST, 2)}
    one, two, four = ([*asks(*[ANY_OF_NETWORK] * count)] for count in (1, 2, 4))
    held = Held({("h2", "0000:07:10.0"): "db"}, {})
    assert chosen(one, hosts, NOBODY, "h1") == "h1"
    assert chosen(two, hosts, NOBODY, "h1") == "h2"
    assert chosen(two, hosts, held, None) == "h3"
    assert chosen(two, hosts, NOBODY, "a host that is down") == "h2"
    assert chosen(two, hosts, NOBODY, None, "h2", "h3") == "h4"
    assert chosen(one, hosts, NOBODY, "h2", "h2") == "h2"
    assert chosen(four, hosts, NOBODY, "h1") == (2, "h1")
    assert chosen(four, hosts, NOBODY, None) == (4, "h2")


def placed(world: World, host: str = "h1") -> Optional[Dict[int, str]]:
    try:
        return place(world.requests, "vm", host, world.hosts, world.held, world.current)
    except NoFreeVf:
        return None


@given(worlds())
def test_never_a_vf_that_another_has_nor_a_blocked_one_nor_one_twice(world: World) -> None:
    found = placed(world)
    if found is not None:
        assert set(found) == {request.number for request in world.requests}
        assert len(set(found.values())) == len(found)
        for request in world.requests:
            assert found[request.number] in may_have(world, "h1", request, world.current)


@given(worlds())
def test_all_requests_are_served_if_there_is_a_way(world: World) -> None:
    assert (placed(world) is not None) == bool(all_ways(world, "h1", world.current))


@given(worlds(most=3))
def test_no_way_moves_fewer_nor_takes_fewer_meant_for_others_nor_has_more_portable_addresses(
    world: World,
) -> None:
    found = placed(world)
    if found is None:
        return

    def worth(way: Mapping[int, str]) -> Tuple[int, int, int]:
        stayed = sum(world.current.get(number) == address for number, address in way.items())
        anywhere = sum(
            portable(request.choice, way[request.number], "vm", world.hosts, world.held)
            for request in world.requests
        )
        meant = sum(bool({*world.held.by_hand.get(one, ())} - {"vm"}) for one in way.values())
        return stayed, -meant, anywhere

    numbers = [request.number for request in world.requests]
    assert worth(found) == max(worth(dict(zip(numbers, way))) for way in all_ways(world, "h1", world.current))


@given(worlds(1, 1))
def test_portable_means_free_wherever_the_request_could_be_served(world: World) -> None:
    (request,) = world.requests
    for address in ADDRESSES:
        served = {
            host: [c for c in candidates if c.blocked is None and fits(request.choice, c)]
            for host, candidates in world.hosts.items()
        }
        expected = any(served.values()) and all(
            any(
                candidate.address == address
                and world.held.on_host.get((host, address)) in (None, "vm")
                and world.held.everywhere.get(address) in (None, "vm")
                for candidate in fitting
            )
            for host, fitting in served.items()
            if fitting
        )
        assert portable(request.choice, address, "vm", world.hosts, world.held) == expected


@given(worlds(), worlds())
def test_placement_is_stable_against_changes_elsewhere(world: World, another: World) -> None:
    """Placed once, a VM stays where it is: whatever comes, goes or is held on other hosts, and whatever
    else changes on its own."""
    found = placed(world)
    if found is None:
        return
    hosts = {**another.hosts, "h1": world.hosts["h1"]}
    theirs = {place: who for place, who in another.held.on_host.items() if place[1] not in found.values()}
    changed = world._replace(hosts=hosts, held=world.held._replace(on_host=theirs), current=found)
    assert placed(changed) == found


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_what_is_given_plays_no_part(world: World, shuffler: random.Random) -> None:
    def shuffled(things: Any) -> Any:
        things = list(things)
        shuffler.shuffle(things)
        return things

    other = World(
        {host: shuffled(world.hosts[host]) for host in shuffled(world.hosts)},
        Held(*(dict(shuffled(part.items())) for part in world.held)),
        shuffled(world.requests),
        dict(shuffled(world.current.items())),
    )
    assert placed(other) == placed(world)
    assert chosen_of(other) == chosen_of(world)


def chosen_of(world: World, preferred: Optional[str] = None) -> Any:
    return chosen(world.requests, world.hosts, world.held, preferred)


@given(worlds(), st.sampled_from(["h1", "h2", "h3", None]))
def test_the_chosen_host_has_vfs_for_all_and_only_a_pool_without_one_has_none(
    world: World, preferred: Optional[str]
) -> None:
    able = [host for host in world.hosts if all_ways(world, host, {})]
    host = chosen_of(world, preferred)
    assert (host in able) if able else isinstance(host, tuple)
    if preferred in able:
        assert host == preferred


@given(worlds(), st.sampled_from(["h1", "h2", None]), st.sets(st.sampled_from(["h1", "h2", "h3"])))
def test_the_chosen_host_is_the_one_with_most_vfs_that_nobody_else_is_to_have(
    world: World, preferred: Optional[str], last: Set[str]
) -> None:
    def order(host: str) -> Tuple[bool, bool, int, str]:
        free = {one for request in world.requests for one in may_have(world, host, request, {})}
        for_vm = [one for one in free if {*world.held.by_hand.get(one, ())} <= {"vm"}]
        return host != preferred, host in last, -len(for_vm), host

    able = [host for host in world.hosts if all_ways(world, host, {})]
    found = chosen(world.requests, world.hosts, world.held, preferred, *last)
    if able:
        assert found == min(able, key=order)
    else:
        assert isinstance(found, tuple)
        assert found[1] == min(world.hosts, key=order)


@given(worlds())
def test_hosts_with_one_list_of_vfs_are_as_those_with_a_list_each(world: World) -> None:
    shared = {**world.hosts, "h3": world.hosts["h1"], "h4": world.hosts["h1"]}
    alike = world._replace(hosts=shared)
    apart = world._replace(hosts={host: [*candidates] for host, candidates in shared.items()})
    assert placed(alike) == placed(apart)
    assert chosen_of(alike) == chosen_of(apart)
    for choice in {request.choice for request in world.requests}:
        assert placement.serving(choice, alike.hosts) == placement.serving(choice, apart.hosts)


def test_a_large_pool_is_no_matter_of_seconds() -> None:
    """64 hosts with 126 VFs each, all but the last two held."""
    hosts = {f"h{number:02}": vfs(FIRST, 126) for number in range(64)}
    held = Held({(host, vf.address): "db" for host in hosts for vf in hosts[host][:-2]}, {})
    requests = asks(ANY_OF_NETWORK, ANY_OF_NETWORK)
    assert chosen(requests, hosts, held, None) == "h00"
    assert sorted(place(requests, "vm", "h00", hosts, held, {}).values()) == [
        "0000:07:10.124",
        "0000:07:10.125",
    ]
