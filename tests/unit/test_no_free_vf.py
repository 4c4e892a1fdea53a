"""What has the VFs that a request could have, in the sentence that a user reads."""

from typing import List, Mapping

import pytest
from small_pools import ANY_OF_NETWORK, FIRST, NETWORK, OTHER_NETWORK, SECOND, VF, asks, vfs
from sriovlib.pool import no_free_vf, told
from sriovlib.pool.conflicts.view import Seen
from sriovlib.pool.hosts import Member, Topology
from sriovlib.pool.inventories import Survey, Surveyed
from sriovlib.pool.ledger import Choice
from sriovlib.pool.placement import Candidate, Held, NoFreeVf
from sriovlib.pool.state import PoolState
from sriovlib.vf.inventory_json import HostInventory

NOTHING = told.of_inventory(HostInventory("", None, True, {}, {}, [], {}, {}, {}))
MEMBER = Member("ref", "h1", "host1", True, {})
NETWORKS = {"OpaqueRef:a": {"uuid": NETWORK, "name_label": "lan", "bridge": "xenbr1"}}


def why(choice: Choice, candidates: List[Candidate], held: Held, *more_hosts: str) -> str:
    """For the second of two requests."""
    surveyed = {host: Surveyed(MEMBER, NOTHING, candidates, set()) for host in ("h1", *more_hosts)}
    pool = Topology("h1", {"h1": MEMBER}, NETWORKS)
    seen = Seen(pool, Survey(surveyed, {}), PoolState("", "", {}, {}, {}, {}), held)
    _, second = asks(choice, choice)
    error = no_free_vf.as_error(NoFreeVf(second, *surveyed), "vm", seen)
    assert error.code == "SRIOV_NO_FREE_VF"
    return error.message


def test_who_has_those_that_fit() -> None:
    candidates = vfs(FIRST, 6) + vfs(SECOND, 2, blocked="held by dom0")
    on_host: Mapping[str, str] = {f"0000:07:10.{index}": f"vm{index}" for index in range(4)}
    held = Held({("h1", address): vm for address, vm in on_host.items()}, {"0000:07:10.4": "other"})
    assert why(ANY_OF_NETWORK, candidates, held) == (
        "Host host1 has no free VF for request 2 (a VF of network lan): of 8 that fit, 5 held by other, "
        "vm0, vm1 and 2 more, 2 that no VM can have (held by dom0), 1 taken by the VM's other requests."
    )
    assert why(ANY_OF_NETWORK, candidates, held, "h2").endswith(
        "No other live host has VFs for all requests either."
    )


UNKNOWN = [vf._replace(networks=frozenset(), no_network=frozenset([NETWORK])) for vf in vfs(FIRST, 1)]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (
            ANY_OF_NETWORK,
            "(a VF of network lan). 0000:07:10.0: on both ports of the PF, or on one that is not known.",
        ),
        (Choice("network", OTHER_NETWORK), f"(a VF of network {OTHER_NETWORK})."),
        (Choice("vf", "0000:07:10.0", "15b3:1014"), "(VF 0000:07:10.0, 15b3:1014)."),
        (Choice("pf", SECOND, VF), f"(a VF of {SECOND}, {VF})."),
        (Choice("device", NETWORK), f"(a VF {NETWORK})."),
    ],
)
def test_that_none_fits(choice: Choice, expected: str) -> None:
    """VFs whose port is not known are named to who wants their network."""
    assert why(choice, UNKNOWN, Held({}, {})) == f"Host host1 has no VF that fits request 2 {expected}"
