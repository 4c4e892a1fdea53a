"""Assigning things to takers at the least sum of costs: knows nothing of what they are."""

from typing import Dict, Mapping, TypeVar

Taker = TypeVar("Taker")
Thing = TypeVar("Thing")


def cheapest(costs: Mapping[Taker, Mapping[Thing, int]]) -> Dict[Taker, Thing]:
    """A thing for each taker, none for two, of those that have a cost for it; at the least sum.

    Takers are served in their order; one is left out if it could have a thing only by another's going
    without. Of equal sums the one that comes first by the order of takers and of their things.

    Successive shortest augmenting paths: each taker comes in by the cheapest chain of exchanges with those
    before it, so what there is stays cheapest. It takes takers^3 x things steps at the very most.
    """
    taker_of: Dict[Thing, Taker] = {}
    for newcomer, row in costs.items():
        sums = dict(row)  # thing -> what the exchanges cost by which it becomes free for the newcomer
        came_from: Dict[Thing, Thing] = {}  # thing -> what its next taker gives up for it
        shorter = True
        while shorter:
            shorter = False
            for thing, taker in taker_of.items():
                if thing not in sums:
                    continue
                saved = sums[thing] - costs[taker][thing]
                for instead, cost in costs[taker].items():
                    if instead not in sums or saved + cost < sums[instead]:
                        sums[instead], came_from[instead], shorter = saved + cost, thing, True
        free = [thing for thing in sums if thing not in taker_of]
        if not free:
            continue
        thing = min(free, key=lambda one: sums[one])
        while thing in came_from:
            taker_of[thing] = taker_of[came_from[thing]]
            thing = came_from[thing]
        taker_of[thing] = newcomer
    return {taker: thing for thing, taker in taker_of.items()}
