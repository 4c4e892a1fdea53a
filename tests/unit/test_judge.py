"""What a start may not take: nothing that dom0 or another VM has, whoever wrote the entry, and nothing that
is not what the VM asked for."""

import random
import time
from types import SimpleNamespace
from typing import Any, Dict, List, Mapping, Optional, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sriovlib.machine.pci import VirtualFunction
from sriovlib.machine.ports import VfPort
from sriovlib.machine.vgpus import UNTOLD
from sriovlib.machine.xenstore import Domain
from sriovlib.pool import pci_entries
from sriovlib.pool.hosts import Member, OwnHost
from sriovlib.pool.ledger import Choice, Entry, Lease, Request
from sriovlib.pool.placement import Candidate, Held
from sriovlib.pool.state import Pool, PoolState, Vm
from sriovlib.starts import judge, start
from sriovlib.starts.judge import Device, OwnLease, Refusal, View

VM, DB = "d58d9323-dddc-4624-a482-9f6ceb10670c", "d58d9323-dddc-4624-a482-000000000002"
HERE, THERE = "host-here", "host-there"
NETWORK, VF, PF = "network-a", "8086:10ed", "8086:10fb"

VFS = [f"0000:07:10.{index}" for index in range(5)]
PORT, MANAGEMENT, DISKS, GPU = "0000:07:00.0", "0000:02:00.0", "0000:03:00.0", "0000:81:00.0"
NOTHING = "0000:99:00.0"
CANDIDATES = [
    Candidate(
        VirtualFunction(address, index, PORT, "8086", "10ed", "pciback", None, VfPort(None)),
        PF,
        frozenset([NETWORK]),
        None,
    )
    for index, address in enumerate(VFS)
]


def device(address: str, **changes: Any) -> Device:
    is_vf = address in VFS
    plain = Device(address, True, PORT if is_vf else None, VF if is_vf else PF, (), None)
    return plain._replace(**changes)


MACHINE = {
    **{address: device(address) for address in VFS},
    PORT: device(PORT, carries=("the network interface eth1, which an attached PIF uses",)),
    MANAGEMENT: device(MANAGEMENT, carries=("the management interface eth0",)),
    DISKS: device(DISKS, carries=("the mounted file system /", "the storage repository Local storage")),
    GPU: device(GPU, device="10de:1eb8"),
    NOTHING: device(NOTHING, exists=False, device=""),
}


def entry_of(vfs: Dict[int, str], host: str = HERE, past: Sequence[str] = ()) -> Entry:
    """A VM with a request by network for each VF of its lease."""
    requests = tuple(Request(number, Choice("network", NETWORK), {}) for number in sorted(vfs))
    pci = pci_entries.derive("", [], list(vfs.values()))
    return Entry(requests, Lease(host, vfs, 7, {}, {}), 9, True, pci, tuple(sorted({*vfs.values(), *past})))


TWO_VFS = entry_of({1: VFS[0], 2: VFS[1]})
PCI = f"0/{VFS[0]},1/{VFS[1]}"


def vm_of(uuid: str, name: str, pci: Optional[str] = None) -> Vm:
    return Vm("ref", uuid, name, "Halted", (), None, None, pci, None, {})


def view(
    entry: Optional[Entry],
    pci: str,
    devices: Mapping[str, Device] = MACHINE,
    candidates: Sequence[Candidate] = CANDIDATES,
    own_lease: Optional[Dict[str, OwnLease]] = None,
) -> View:
    nobody: Any = SimpleNamespace(owners={})
    here = OwnHost(Member("ref-host", HERE, "host1", True, {}), {}, UNTOLD, {})
    vm, entries = vm_of(VM, "web", pci), {} if entry is None else {VM: entry}
    state = PoolState("pool", "ref-host", {}, entries, {}, {VM: vm, DB: vm_of(DB, "db")}, frozenset([VM, DB]))
    return View(vm, Pool(here, state), Held({}, {}), nobody, candidates, devices, own_lease or {}, {})


def judged(entry: Optional[Entry], pci: str, **more: Any) -> List[Refusal]:
    return judge.judge(view(entry, pci, **more))


def machine(address: str, **changes: Any) -> Dict[str, Device]:
    return {**MACHINE, address: device(address, **changes)}


def only(refusals: List[Refusal]) -> Refusal:
    (refusal,) = refusals
    return refusal


@pytest.mark.parametrize(
    ("entry", "pci"),
    [
        (TWO_VFS, PCI),
        (entry_of({1: VFS[0]}, host=THERE), f"0/{VFS[0]}"),  # the same address, free on this host
        (TWO_VFS, f"5/{VFS[1]},3/{GPU},0/{VFS[0]}"),
        (TWO_VFS, ""),
        (None, ""),
        (None, f"0/{GPU},1/{VFS[3]}, 2/{VFS[4]},3/{NOTHING}"),
    ],
)
def test_start_that_is_right(entry: Optional[Entry], pci: str) -> None:
    assert judged(entry, pci) == []


@pytest.mark.parametrize("pci", [f"0/{VFS[0]},0/{VFS[1]}", f"1/{VFS[0]},0/{VFS[1]}"])
def test_vfs_in_another_order_than_the_requests(pci: str) -> None:
    refusal = only(judged(TWO_VFS, pci))
    assert (refusal.code, refusal.curable) == ("SRIOV_NOT_PLACED", True)
    assert f"would plug {VFS[1]}, {VFS[0]} in this order" in refusal.message


@pytest.mark.parametrize(
    ("pci", "why", "hint"),
    [
        (
            f"{PCI},7/0:2:0.0",
            "The entry `7/0:2:0.0` names 0000:02:00.0 (8086:10fb), which dom0 needs for the management "
            "interface eth0.",
            f"Take the entry out: `xe vm-param-set uuid={VM} other-config:pci={PCI}`.",
        ),
        (
            f"{PCI},2/{DISKS},3/{GPU};reboot",
            f"The entry `2/{DISKS}` names {DISKS} (8086:10fb), which dom0 needs for the mounted file system "
            "/ and the storage repository Local storage.",
            "Take the entry out of the VM's other_config:pci.",  # no command that a shell would take apart
        ),
    ],
)
def test_start_never_takes_what_dom0_needs(pci: str, why: str, hint: str) -> None:
    refusal = only(judged(TWO_VFS, pci))
    assert (refusal.code, refusal.curable) == ("SRIOV_NEEDED_BY_DOM0", False)
    assert (refusal.message, refusal.hint) == (why, hint)


@pytest.mark.parametrize(("entry", "is_ours"), [(None, False), (entry_of({1: VFS[0]}), True)])
def test_entry_for_another_vms_vf(entry: Optional[Entry], is_ours: bool) -> None:
    refusal = only(judged(entry, f"0/{VFS[0]}", devices=machine(VFS[0], held_by="VM db")))
    assert (refusal.code, refusal.address, refusal.curable) == ("SRIOV_VF_IN_USE", VFS[0], is_ours)
    assert refusal.message.endswith(f"(8086:10ed, a VF of {PORT}), which is held by VM db.")
    assert (f"`reinstate_vfs` with vm_uuid={VM} and host_uuid={HERE}" in refusal.hint) == is_ours


@pytest.mark.parametrize(
    ("address", "changed", "code", "why"),
    [
        (NOTHING, {}, "SRIOV_NOT_PLACED", f"and this host has no device {NOTHING}."),
        (GPU, {}, "SRIOV_NOT_PLACED", "and 0000:81:00.0 (10de:1eb8) is not a VF that this host can give"),
        (VFS[0], {"networks": frozenset(["network-b"])}, "SRIOV_NOT_PLACED", "of this host does not fit."),
        (MANAGEMENT, {}, "SRIOV_NEEDED_BY_DOM0", "which dom0 needs for the management interface eth0."),
        (VFS[0], {"blocked": "dom0's driver has it"}, "SRIOV_NEEDED_BY_DOM0", "VM: dom0's driver has it."),
    ],
)
def test_entry_of_ours_is_something_else_on_this_host(
    address: str, changed: Dict[str, Any], code: str, why: str
) -> None:
    candidates = [CANDIDATES[0]._replace(**changed)]
    refusal = only(judged(entry_of({1: address}, host=THERE), f"0/{address}", candidates=candidates))
    assert (refusal.code, refusal.curable) == (code, True)
    assert why in refusal.message


def test_request_without_an_entry() -> None:
    refusal = only(judged(TWO_VFS, f"0/{VFS[0]}, 1/{VFS[1]}"))
    assert (refusal.code, refusal.address, refusal.curable) == ("SRIOV_NOT_PLACED", VFS[1], True)
    assert refusal.message == f"Request 2 has no entry in other_config:pci: its VF {VFS[1]} is not named."
    no_lease = only(judged(entry_of({1: VFS[0]})._replace(lease=None, past=()), f"0/{GPU}"))
    assert no_lease.message == "Request 1 has no entry in other_config:pci: no VF is leased for it."


def test_entries_that_a_revert_brought_back() -> None:
    entry, pci = entry_of({1: VFS[0]}, past=[VFS[2]]), f"0/{VFS[0]},1/{VFS[2]}"
    refusal = only(judged(entry, pci))
    assert (refusal.code, refusal.address, refusal.curable) == ("SRIOV_NOT_PLACED", VFS[2], True)
    assert "is left from an earlier lease" in refusal.message
    taken = only(judged(entry, pci, devices=machine(VFS[2], held_by="VM db")))
    assert (taken.code, taken.curable) == ("SRIOV_VF_IN_USE", True)
    gave_all_back = entry._replace(requests=(), lease=None)
    assert only(judged(gave_all_back, f"0/{VFS[2]}")).curable


def test_address_that_another_vm_has_a_lease_of() -> None:
    """Also where that is of another host, and the VF free here: the entry may be a copy."""
    leased = {VFS[0]: OwnLease(DB, "db")}
    refusal = only(judged(None, f"0/{VFS[0]},1/{GPU}", own_lease=leased))
    assert (refusal.code, refusal.address, refusal.curable) == ("SRIOV_VF_IN_USE", VFS[0], False)
    assert "VM db has or had a lease of that address" in refusal.message
    for call in (f"`adopt_vm` with vm_uuid={VM} and origin_uuid={DB}", f"none and host_uuid={HERE}"):
        assert call in refusal.hint
    assert refusal.hint.endswith(f"other-config:pci=1/{GPU}`.")
    assert judged(TWO_VFS, PCI, own_lease=leased) == []  # its own, of another host or this

    more = {VFS[2]: OwnLease(DB, "db")}
    refusal = only(judged(TWO_VFS, f"{PCI},2/{VFS[2]}", own_lease=more))
    assert refusal.hint == f"Take the entry out: `xe vm-param-set uuid={VM} other-config:pci={PCI}`."


def test_vf_in_a_network_with_vlans() -> None:
    opens = {VFS[3]: OwnLease(None, "lan")}
    refusal = only(judged(None, f"0/{VFS[3]}", own_lease=opens))
    assert (refusal.code, refusal.curable) == ("SRIOV_NOT_ASSIGNED", False)
    assert "VMs have VFs in VLANs in its network, lan" in refusal.message
    assert f"`adopt_vm` with vm_uuid={VM} and host_uuid={HERE}" in refusal.hint
    refusal = only(judged(TWO_VFS, f"{PCI},2/{VFS[3]}", own_lease=opens))
    assert f"`assign_vf` with vm_uuid={VM}, vf={VFS[3]} and host_uuid={HERE}" in refusal.hint
    unread = only(judged(None, f"0/{VFS[3]}", own_lease={VFS[3]: OwnLease(None, "lan", "db")}))
    assert "key of db cannot be read" in unread.message
    held = only(judged(None, f"0/{VFS[3]}", own_lease=opens, devices=machine(VFS[3], held_by="VM db")))
    assert held.code == "SRIOV_VF_IN_USE"  # the nearer reason


def test_all_that_is_wrong_is_said_at_once_and_each_address_once() -> None:
    pci = f"0/{VFS[0]},1/{MANAGEMENT},2/{VFS[0]},3/{MANAGEMENT},4/{DISKS}"
    refusals = judged(TWO_VFS, pci, devices=machine(VFS[0], held_by="VM db"))
    assert [(refusal.code, refusal.address, refusal.curable) for refusal in refusals] == [
        ("SRIOV_VF_IN_USE", VFS[0], True),
        ("SRIOV_NEEDED_BY_DOM0", MANAGEMENT, False),
        ("SRIOV_NEEDED_BY_DOM0", DISKS, False),
        ("SRIOV_NOT_PLACED", VFS[1], True),
    ]
    assert pci.replace(f"1/{MANAGEMENT},", "").replace(f"3/{MANAGEMENT},", "") in refusals[1].hint


def test_device_that_nobody_looked_at_is_not_judged_right() -> None:
    with pytest.raises(KeyError):
        judged(None, "0/0000:44:00.0")


def test_holder_in_words() -> None:
    """Whoever has the VF now comes before who has its lease."""
    seen = view(None, "")
    held = seen._replace(held=Held({(HERE, VFS[0]): DB}, {}))
    assert judge.holder(seen, VFS[0]) is None
    assert judge.holder(held, VFS[0]) == f"VM db ({DB}), which is starting"
    leases = held.pool.state._replace(entries={DB: entry_of({1: VFS[0]})})
    leased = held._replace(pool=held.pool._replace(state=leases))
    assert judge.holder(leased, VFS[0]) == f"VM db ({DB}), to which it is leased"
    domain: Any = SimpleNamespace(owners={VFS[0]: Domain(7, DB, "db")})
    runs = leased._replace(seen=domain)
    assert judge.holder(runs, VFS[0]) == f"the running VM db ({DB})"
    unknown: Any = SimpleNamespace(owners={VFS[0]: Domain(7, None, None)})
    unnamed = held._replace(seen=unknown, held=Held({(HERE, VFS[0]): ""}, {}))
    assert judge.holder(unnamed, VFS[0]) == "the running VM of domain 7"
    unread = held.pool.state._replace(unreadable={DB: "no JSON"})
    perhaps = seen._replace(pool=seen.pool._replace(state=unread), held=Held({}, {VFS[0]: DB}))
    assert judge.holder(perhaps, VFS[0]) == f"VM db ({DB}), whose key in the ledger cannot be read"


def test_ten_thousand_entries_are_judged_and_only_some_refusals_are_shown() -> None:
    addresses = [
        f"{number // 8192 + 16:04x}:{number // 32 % 256:02x}:{number % 32:02x}.0" for number in range(10000)
    ]
    pci = ",".join(f"{number}/{address}" for number, address in enumerate(addresses))
    assert judged(None, pci, devices={address: device(address) for address in addresses}) == []
    taken = {address: device(address, held_by="VM db") for address in addresses}
    refusals = judged(None, pci, devices=taken)
    assert len(refusals) == len(addresses)
    said = start.refused(refusals)
    assert said.message.count("held by VM db") == start.SHOWN
    assert said.message.endswith(f" And {len(addresses) - start.SHOWN} more.")
    assert len(str(said)) < 1500


def test_thousands_of_entries_of_another_pool_are_judged_in_time_proportional_to_them() -> None:
    """Lesser roles can bring such a VM; its mark is compared once, not for each entry."""
    addresses = [f"0000:{number // 32 % 256:02x}:{number % 32:02x}.0" for number in range(4000)]
    seen = view(None, ",".join(f"0/{address}" for address in addresses))
    marked = seen.vm._replace(other_config={"sriov-vm": "00000000-1111-4222-8333-444455556666"})
    devices = {address: device(address) for address in addresses}
    began = time.process_time()
    refusals = judge.judge(seen._replace(vm=marked, devices=devices))
    assert time.process_time() - began < 5  # 0.1 s; compared for each entry it was 67
    assert {refusal.code for refusal in refusals} == {judge.NOT_ASSIGNED}
    assert len(refusals) == len(addresses)


# Any entries, any ledger, any machine: made of random numbers, as strategies would take ten times as long.


class World:
    def __init__(self, chance: random.Random) -> None:
        def maybe(value: Any, odds: float = 0.15) -> Any:
            return value if chance.random() < odds else None

        everything = [*VFS, PORT, MANAGEMENT, DISKS, GPU]
        self.devices = {
            address: MACHINE[address]._replace(
                held_by=maybe("another VM"), carries=maybe(("a file system",)) or MACHINE[address].carries
            )
            for address in everything
        }
        self.candidates = [
            candidate._replace(
                blocked=maybe("held by dom0"), networks=frozenset([maybe("network-b") or NETWORK])
            )
            for candidate in CANDIDATES
            if not maybe(True)
        ]
        self.leased = dict(enumerate(chance.sample(VFS, chance.randrange(3))))
        host = chance.choice([HERE, HERE, THERE])
        entry = entry_of(self.leased, host, [address for address in VFS if maybe(True)])
        self.entry = entry if chance.random() < 0.7 else None
        named = list(self.leased.values()) if self.entry and chance.random() < 0.7 else []
        named += [address for address in everything if maybe(True)]
        chance.shuffle(named)
        self.pci = ",".join(f"{number}/{address}" for number, address in enumerate(named))

    def judge(self) -> List[Refusal]:
        return judged(self.entry, self.pci, devices=self.devices, candidates=self.candidates)


worlds = st.integers(0, 2**32).map(lambda seed: World(random.Random(seed)))


@given(worlds)
def test_right_start_takes_from_nobody_and_gives_each_request_its_vf(world: World) -> None:
    if world.judge():
        return
    plugged = pci_entries.plugging_order(world.pci)
    for address in plugged:
        assert not world.devices[address].carries
        assert world.devices[address].held_by is None
    if world.entry is not None and plugged:
        fitting = {vf.address for vf in world.candidates if vf.blocked is None and NETWORK in vf.networks}
        assert set(world.leased.values()) <= fitting.intersection(plugged)
        own = [world.leased[number] for number in sorted(world.leased)]
        assert [address for address in plugged if address in own] == own
        assert not set(plugged) & (set(world.entry.past) - set(world.leased.values()))


@given(worlds)
def test_refusal_has_a_reason_and_ours_can_be_cured(world: World) -> None:
    known = set(world.entry.past) if world.entry else set()
    for refusal in world.judge():
        assert refusal.curable == (refusal.address in known)
        if not refusal.curable:
            seen = world.devices[str(refusal.address)]
            assert seen.carries if refusal.code == "SRIOV_NEEDED_BY_DOM0" else seen.held_by


@given(worlds)
def test_with_all_foreign_refusals_followed_only_curable_ones_are_left(world: World) -> None:
    for refusal in world.judge():
        if not refusal.curable:
            rest = [one.text for one in pci_entries.entries(world.pci) if one.address != refusal.address]
            world.pci = ",".join(rest)
    assert all(refusal.curable for refusal in world.judge())
