"""Assigning at the least cost, held against trying all ways on small cases."""

import itertools
from typing import Dict, List, Optional, Tuple

from hypothesis import given
from hypothesis import strategies as st
from sriovlib.pool import least_cost

Costs = Dict[int, Dict[str, int]]

small = st.dictionaries(
    st.integers(1, 4), st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9)), max_size=4
)


def all_ways(costs: Costs) -> List[Tuple[Optional[str], ...]]:
    """A thing or none for each taker, in every way that gives none twice."""
    ways = []
    for way in itertools.product(*([None, *row] for row in costs.values())):
        things = [thing for thing in way if thing is not None]
        if len(set(things)) == len(things):
            ways.append(way)
    return ways


def served(costs: Costs, way: Tuple[Optional[str], ...]) -> List[int]:
    return [taker for taker, thing in zip(costs, way) if thing is not None]


@given(small)
def test_least_cost_assigns_nothing_twice_and_nothing_without_a_cost(costs: Costs) -> None:
    found = least_cost.cheapest(costs)
    assert all(thing in costs[taker] for taker, thing in found.items())
    assert len(set(found.values())) == len(found)


@given(small)
def test_least_cost_serves_as_many_as_possible_first_come_first(costs: Costs) -> None:
    found = least_cost.cheapest(costs)
    ways = [served(costs, way) for way in all_ways(costs)]
    assert len(found) == max(len(way) for way in ways)
    first: List[int] = []
    for taker in costs:  # each is in if all before it that are in can stay in
        if any(set(first + [taker]) <= set(way) for way in ways):
            first.append(taker)
    assert sorted(found) == sorted(first)


@given(small)
def test_nothing_is_cheaper(costs: Costs) -> None:
    found = least_cost.cheapest(costs)
    price = sum(costs[taker][thing] for taker, thing in found.items())
    for way in all_ways(costs):
        if sorted(served(costs, way)) == sorted(found):
            assert price <= sum(costs[taker][thing] for taker, thing in zip(costs, way) if thing is not None)


def test_a_long_chain_of_exchanges() -> None:
    """Each taker but the last would take its own, and the next one's for more: the last needs the first's."""
    costs = {taker: {f"{taker}": 0, f"{taker + 1}": 5} for taker in range(200)}
    costs[200] = {"0": 0}
    found = least_cost.cheapest(costs)
    assert found == {**{taker: f"{taker + 1}" for taker in range(200)}, 200: "0"}
