"""assign_vf in the place of a request that the VM has, and for a VM that is as its caller has seen it."""

from typing import Any, Dict, List

import pytest
from interference import all_cuts
from managed_pool import Pool

pytestmark = pytest.mark.story

VF, NEXT = "0000:07:10.0", "0000:07:10.2"
MAC = "02:16:3e:00:00:05"


def macs(pool: Pool, vm: str) -> List[str]:
    return [settings["mac"] for _, settings in pool.asked(vm)]


def test_other_settings(pool: Pool) -> None:
    """The request keeps number, VF, MAC and place; what the call does not name it has no more."""
    web, network = pool.vm("web"), pool.network("eth1")
    pool.assign(web, network=network, vlan="12", trust="on")
    pool.assign(web, network=network)
    before, pci, lease = macs(pool, web), pool.pci(web), pool.lease(web)
    told = pool.assign(web, request="1", network=network, vlan="13", dry_run="true")
    assert (told["request"], told["vf"], told["would_change"]) == (1, VF, True)
    assert pool.asked(web)[0][1]["vlan"] == "12"
    assert pool.assign(web, request="1", network=network, vlan="13")["changed"]
    assert pool.asked(web) == [
        ("network", {"mac": before[0], "vlan": "13"}),
        ("network", {"mac": before[1]}),
    ]
    assert (pool.pci(web), pool.lease(web)) == (pci, lease)
    assert pool.assign(web, request="1", network=network, vlan="13")["changed"] is False
    pool.start(web, pool.one)
    assert pool.settings(pool.one, VF) == (before[0], 13)


def test_another_mac(pool: Pool, web: str) -> None:
    """Its own may be named; that of another request may not."""
    network = pool.network("eth1")
    pool.assign(web, network=network)
    pool.assign(web, network=network, mac=MAC)
    pool.refused("assign_vf", vm=web, request="1", network=network, mac=MAC).says(
        "SRIOV_BAD_ARGUMENT", "request 2 of VM web"
    )
    assert pool.assign(web, request="2", network=network, mac=MAC)["changed"] is False
    pool.assign(web, request="2", network=network, mac="02:16:3e:00:00:06")
    assert macs(pool, web)[1] == "02:16:3e:00:00:06"


def test_another_vf(pool: Pool) -> None:
    """It keeps number and MAC; the VF that it had is set back, and free for others. The guest has shut itself
    down, so no hook has done that."""
    web = pool.vm("web")
    pool.assign(web, network=pool.network("eth1"), vlan="12")
    (mac,) = macs(pool, web)
    pool.start(web, pool.one)
    fresh = pool.settings(pool.one, NEXT)
    pool.guest_shuts_down(web)
    assert pool.settings(pool.one, VF) == (mac, 12)
    assert pool.assign(web, request="1", vf=NEXT)["vf"] == NEXT
    assert pool.asked(web) == [("vf", {"mac": mac})]
    assert pool.pci(web) == f"0/{NEXT}"
    assert pool.settings(pool.one, VF) != (mac, 12)
    assert pool.settings(pool.one, NEXT) == fresh
    assert pool.assign(pool.vm("db"), vf=VF, on=pool.one)["vf"] == VF


def test_port_that_gets_a_vlan(pool: Pool, web: str) -> None:
    """The lease knows the networks of a VF in a VLAN whose request names none, as one that had it from the
    beginning."""
    db = pool.vm("db")
    pool.assign(web, pf="eth1", on=pool.one)
    pool.assign(web, request="1", pf="eth1", vlan="12")
    pool.assign(db, pf="eth1", vlan="12", on=pool.one)
    assert pool.lease(web)["networks"] == pool.lease(db)["networks"] == {"1": [pool.network("eth1")]}


@pytest.mark.pool(hosts=1)
def test_call_that_is_cut_off(pool: Pool, web: str) -> None:
    """The request is the old one or the new one at each moment, and the same call completes it."""
    for mac in (None, MAC):
        pool.act("assign_vf", vm=web, pf="eth1", vlan="12", **({"mac": mac} if mac else {}))
    before, pci = pool.asked(web), pool.pci(web)
    wanted = [("pf", {**before[0][1], "vlan": "13"}), before[1]]
    for number in all_cuts(lambda: pool.act("assign_vf", vm=web, request="1", pf="eth1", vlan="13")):
        assert pool.asked(web) in (before, wanted), number
        pool.act("assign_vf", vm=web, request="1", pf="eth1", vlan="13")
        assert (pool.asked(web), pool.pci(web), len(pool.key_names(web))) == (wanted, pci, 1), number
        pool.act("assign_vf", vm=web, request="1", pf="eth1", vlan="12")
        assert pool.asked(web) == before


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ({"request": "2"}, "SRIOV_NOT_FOUND", ["has no request 2.", f"Its requests: 1 ({VF})."]),
        ({"request": "first"}, "SRIOV_BAD_ARGUMENT", ["request"]),
        ({"if_requests": "none"}, "SRIOV_OTHER_REQUESTS", ["has request 1", "one that has no request"]),
        ({"if_requests": "1,2"}, "SRIOV_OTHER_REQUESTS", ["has request 1", "one that has requests 1 and 2"]),
        (
            {"if_requests": "1;2"},
            "SRIOV_BAD_ARGUMENT",
            ["if_requests", "numbers with commas between, or none"],
        ),
        ({"if_requests": ""}, "SRIOV_BAD_ARGUMENT", ["if_requests"]),
    ],
)
def test_what_is_refused(pool: Pool, web: str, args: Dict[str, Any], code: str, words: List[str]) -> None:
    pool.assign(web, pf="eth1", on=pool.one)
    pool.refused("assign_vf", vm=web, pf="eth1", **args).says(code, *words)


def test_only_for_the_requests_that_were_seen(pool: Pool, web: str) -> None:
    """The number of one that was taken back is never used again, so it is not taken for another."""
    assert pool.assign(web, pf="eth1", on=pool.one, if_requests="none")["request"] == 1
    assert pool.assign(web, pf="eth1", if_requests=" 1 ")["request"] == 2
    pool.unassign(web, request="1")
    pool.refused("assign_vf", vm=web, pf="eth1", if_requests="1,2").says("SRIOV_OTHER_REQUESTS")
    assert pool.assign(web, pf="eth1", if_requests="2")["request"] == 3
    assert pool.assign(web, pf="eth1", if_requests="3,2")["request"] == 4


@pytest.mark.pool(hosts=1)
def test_one_more_after_a_call_that_is_cut_off(pool: Pool, web: str) -> None:
    """Who has seen the request of that call gets another one; who has not completes it."""
    half = 0
    for number in all_cuts(lambda: pool.act("assign_vf", vm=web, pf="eth1")):
        numbers = [one["request"] for one in pool.requests(web)] if pool.asked(web) else []
        half += bool(numbers) and "0000:07:" not in str(pool.pci(web))
        told = pool.act("assign_vf", vm=web, pf="eth1", if_requests=",".join(map(str, numbers)) or "none")
        assert (told["request"] in numbers, len(pool.asked(web))) == (False, len(numbers) + 1), number
        assert str(pool.pci(web)).count("0000:07:") == len(numbers) + 1, number
        pool.act("unassign_vf", vm=web, all="true")
    assert half


@pytest.mark.pool(hosts=1)
def test_cut_off_call_of_one_who_has_not_seen_it(pool: Pool, web: str) -> None:
    for number in all_cuts(lambda: pool.act("assign_vf", vm=web, pf="eth1", if_requests="none")):
        if pool.asked(web) and "0000:07:" not in str(pool.pci(web)):
            assert pool.act("assign_vf", vm=web, pf="eth1", if_requests="none")["changed"], number
            assert len(pool.asked(web)) == 1, number
        pool.act("unassign_vf", vm=web, all="true")


def test_vf_that_it_gives_up_is_not_said_to_be_lost(pool: Pool, web: str) -> None:
    pool.assign(web, pf="eth1", on=pool.one)
    assert pool.assign(web, request="1", vf=NEXT)["warnings"] == []


def test_vf_of_another_host(pool: Pool, web: str) -> None:
    """All VFs of a VM are of one host, which another call changes."""
    pool.assign(web, pf="eth1", on=pool.one)
    pool.refused("assign_vf", vm=web, request="1", pf="eth1", on=pool.other).says(
        "SRIOV_BAD_ARGUMENT", "are on host host1, not on host host2."
    )
