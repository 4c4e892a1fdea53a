"""Which VFs take a lease of the VM's own: where others have the like, and where others have VLANs."""

from typing import Dict, List, Optional, Sequence, Set

import pytest
from sriovlib.machine.pci import VirtualFunction
from sriovlib.machine.ports import VfPort
from sriovlib.pool import own_lease
from sriovlib.pool.ledger import Choice, Entry, Lease, Request
from sriovlib.pool.placement import Candidate

HERE, THERE = "host-here", "host-there"
LAN, LAN_12, DMZ = "lan", "lan-vlan-12", "dmz"
VF, OTHER_VF, DMZ_VF = "0000:07:10.0", "0000:07:10.2", "0000:07:10.1"


def candidate(
    address: str, *networks: str, pf: str = "0000:07:00.0", perhaps: Sequence[str] = ()
) -> Candidate:
    vf = VirtualFunction(address, 0, pf, "8086", "10ed", "pciback", None, VfPort(None))
    return Candidate(vf, "8086:10fb", frozenset(networks), None, frozenset(perhaps))


CANDIDATES = [
    candidate(VF, LAN, LAN_12),
    candidate(OTHER_VF, LAN, LAN_12),
    candidate(DMZ_VF, DMZ, pf="0000:07:00.1"),
]
WIRES = {LAN: {LAN, LAN_12}, LAN_12: {LAN, LAN_12}, DMZ: {DMZ}}


def lent(
    choice: Choice,
    vlan: Optional[str],
    address: str = VF,
    host: str = HERE,
    networks: Optional[Dict[int, List[str]]] = None,
    past: Sequence[str] = (),
    serial: int = 1,
) -> Entry:
    request = Request(1, choice, {} if vlan is None else {"vlan": vlan})
    return Entry((request,), Lease(host, {1: address}, serial, {}, networks or {}), 2, True, "", tuple(past))


BY_LAN, BY_VLAN, BY_PF = (
    Choice("network", LAN),
    Choice("network", LAN_12),
    Choice("pf", "0000:07:00.0", "8086:10fb"),
)


def closed(*entries: Entry, candidates: Sequence[Candidate] = CANDIDATES, unread: bool = False) -> Set[str]:
    """The VFs of this host that an entry by hand may not name."""
    return set(own_lease.in_vlans(entries, HERE, candidates, WIRES, unread))


ALL = {VF, OTHER_VF, DMZ_VF}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], set()),
        ([lent(BY_LAN, None), lent(BY_PF, "0", host=THERE), lent(BY_PF, "default")], set()),
        ([lent(BY_LAN, "12")], {VF, OTHER_VF}),
        ([lent(BY_VLAN, "12", host=THERE)], {VF, OTHER_VF}),
        ([lent(BY_PF, "12")], {VF, OTHER_VF}),
        # on a port of another host: the ledger knows its networks, or it may be any
        ([lent(BY_PF, "12", host=THERE, networks={1: [DMZ]})], {DMZ_VF}),
        ([lent(BY_PF, "12", host=THERE, networks={1: []})], set()),
        ([lent(BY_PF, "12", host=THERE)], ALL),
        # a request without a VF is in its network only
        ([lent(BY_PF, "12")._replace(lease=None)], set()),
        ([lent(BY_LAN, "12")._replace(lease=None)], {VF, OTHER_VF}),
    ],
)
def test_vfs_in_networks_with_vlans(entries: List[Entry], expected: Set[str]) -> None:
    assert closed(*entries) == expected


def test_vlan_on_a_port_without_a_network_closes_the_port() -> None:
    alone = [candidate(VF), candidate(OTHER_VF), candidate(DMZ_VF, pf="0000:07:00.1")]
    assert closed(lent(BY_PF, "12"), candidates=alone) == {VF, OTHER_VF}


def test_vf_that_may_be_on_a_port_of_the_network() -> None:
    assert closed(lent(BY_LAN, "12"), candidates=[candidate(VF, perhaps=[DMZ, LAN])]) == {VF}


def test_key_that_cannot_be_read_may_be_about_any_network() -> None:
    disk = candidate("0000:0a:00.1", pf="0000:0a:00.0")  # in no network
    assert closed(candidates=[*CANDIDATES, disk], unread=True) == ALL


def test_last_lessee_of_an_address() -> None:
    entries = {
        "own": lent(BY_LAN, None, VF, serial=9),
        "first": lent(BY_LAN, None, VF, THERE, serial=1),
        "second": lent(BY_LAN, None, OTHER_VF, THERE, past=[VF], serial=2),
        "gave-all-back": Entry((), None, 2, False, "", (DMZ_VF,)),
    }
    found = own_lease.leased_to_others(own_lease.lessees(entries), "own", [VF, OTHER_VF, DMZ_VF])
    assert found == {VF: "second", OTHER_VF: "second"}
