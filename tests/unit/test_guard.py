"""What a start may not take: nothing that dom0 or another VM has, whoever wrote the entry, and nothing that
is not what the VM asked for."""

import random
from typing import Any, Dict, List, Optional, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sriovlib.machine.pci import VirtualFunction
from sriovlib.machine.ports import VfPort
from sriovlib.pool import pci_entries
from sriovlib.pool.ledger import Choice, Entry, Lease, Request
from sriovlib.pool.placement import Candidate, Held
from sriovlib.starts import judge, start
from sriovlib.starts.judge import Device, OwnLease, Refusal

VM, HERE, THERE = "d58d9323-dddc-4624-a482-9f6ceb10670c", "host-here", "host-there"
NETWORK, VF, PF = "network-a", "8086:10ed", "8086:10fb"
NOBODY = Held({}, {})

VFS = [f"0000:07:10.{index}" for index in range(5)]
PORT, MANAGEMENT, DISKS, GPU = "0000:07:00.0", "0000:02:00.0", "0000:03:00.0", "0000:81:00.0"
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
    plain = Device(address, True, is_vf, PORT if is_vf else None, VF if is_vf else PF, (), None)
    return plain._replace(**changes)


MACHINE = {
    **{address: device(address) for address in VFS},
    PORT: device(PORT, carries=("the network interface eth1, which an attached PIF uses",)),
    MANAGEMENT: device(MANAGEMENT, carries=("the management interface eth0",)),
    DISKS: device(DISKS, carries=("the mounted file system /", "the storage repository Local storage")),
    GPU: device(GPU, device="10de:1eb8"),
    "0000:99:00.0": device("0000:99:00.0", exists=False, device=""),
}


def entry_of(vfs: Dict[int, str], host: str = HERE, past: Sequence[str] = ()) -> Entry:
    """A VM with a request by network for each VF of its lease."""
    requests = tuple(Request(number, Choice("network", NETWORK), {}) for number in sorted(vfs))
    pci = pci_entries.derive("", [], list(vfs.values()))
    known = tuple(sorted({*vfs.values(), *past}))
    return Entry(requests, Lease(host, vfs, 7, {}, {}), 9, True, pci, known)


TWO_VFS = entry_of({1: VFS[0], 2: VFS[1]})
PCI = f"0/{VFS[0]},1/{VFS[1]}"


def judged(
    entry: Optional[Entry],
    pci: str,
    held: Held = NOBODY,
    candidates: Sequence[Candidate] = CANDIDATES,
    own_lease: Optional[Dict[str, OwnLease]] = None,
    **changes: Any,
) -> List[Refusal]:
    """On this machine; `changes` are those of the first VF."""
    devices = {**MACHINE, VFS[0]: device(VFS[0], **changes)}
    return judge.judge(VM, entry, pci, HERE, candidates, devices, held, own_lease or {})


def only(refusals: List[Refusal]) -> Refusal:
    (refusal,) = refusals
    return refusal


def test_leased_here_and_free_is_right() -> None:
    assert judged(TWO_VFS, PCI, Held({(HERE, VFS[0]): VM, (HERE, VFS[1]): VM}, {})) == []


def test_the_same_addresses_free_on_another_host_than_the_leases_are_right_too() -> None:
    assert judged(entry_of({1: VFS[0]}, host=THERE), f"0/{VFS[0]}", Held({(THERE, VFS[0]): VM}, {})) == []


@pytest.mark.parametrize("pci", [f"0/{VFS[0]},0/{VFS[1]}", f"1/{VFS[0]},0/{VFS[1]}"])
def test_vfs_that_would_be_plugged_in_another_order_than_the_requests(pci: str) -> None:
    refusal = only(judged(TWO_VFS, pci))
    assert (refusal.code, refusal.curable) == ("SRIOV_NOT_PLACED", True)
    assert f"would plug {VFS[1]}, {VFS[0]} in this order" in refusal.message


def test_entries_of_others_may_stand_anywhere_between() -> None:
    assert judged(TWO_VFS, f"5/{VFS[1]},3/{GPU},0/{VFS[0]}") == []


def test_a_vm_without_entries_starts_whatever_it_asked_for() -> None:
    assert judged(TWO_VFS, "") == []
    assert judged(None, "") == []


def test_a_device_that_is_nobodys_may_be_taken_by_hand() -> None:
    assert judged(None, f"0/{GPU},1/{VFS[3]}, 2/{VFS[4]},3/0000:99:00.0") == []
    assert judged(TWO_VFS, f"{PCI},2/{GPU}") == []


def test_the_management_nic_is_never_taken_from_dom0() -> None:
    refusal = only(judged(TWO_VFS, f"{PCI},7/0:2:0.0"))
    assert refusal == Refusal(
        "SRIOV_NEEDED_BY_DOM0",
        MANAGEMENT,
        "The entry `7/0:2:0.0` names 0000:02:00.0 (8086:10fb), which dom0 needs for the management interface "
        "eth0.",
        f"Take the entry out: `xe vm-param-set uuid={VM} other-config:pci={PCI}`.",
        curable=False,
    )


def test_nor_the_disks_that_it_lives_on() -> None:
    refusal = only(judged(None, f"0/{DISKS}"))
    assert "needs for the mounted file system / and the storage repository Local storage." in refusal.message
    assert refusal.hint.endswith(f"`xe vm-param-remove uuid={VM} param-name=other-config param-key=pci`.")
    assert not refusal.curable


def test_a_hint_is_no_command_that_a_shell_would_take_apart() -> None:
    refusal = only(judged(None, f"0/{DISKS},1/{GPU};reboot"))
    assert refusal.hint == "Take the entry out of the VM's other_config:pci."


def test_a_hand_written_entry_does_not_take_another_vms_vf() -> None:
    running = only(judged(None, f"0/{VFS[0]}", held_by="the running VM db"))
    assert (running.code, running.curable) == ("SRIOV_VF_IN_USE", False)
    assert running.message.endswith(
        f"names 0000:07:10.0 (8086:10ed, a VF of {PORT}), which is held by the running VM db."
    )
    leased = only(judged(None, f"0/{VFS[0]}", Held({(HERE, VFS[0]): "the VM db"}, {})))
    assert (leased.code, leased.curable) == ("SRIOV_VF_IN_USE", False)


def test_what_is_held_elsewhere_or_only_written_down_by_hand_does_not_stop_a_hand_written_entry() -> None:
    assert judged(None, f"0/{VFS[0]}", Held({(THERE, VFS[0]): "db"}, {VFS[0]: "db"})) == []


def test_an_entry_of_ours_that_another_vm_holds_is_given_up_for_another() -> None:
    helds = [Held({(HERE, VFS[0]): "the VM db"}, {}), Held({}, {VFS[0]: "the VM db"})]
    refusals = [only(judged(TWO_VFS, PCI, held)) for held in helds]
    refusals.append(only(judged(TWO_VFS, PCI, held_by="the VM db")))
    for refusal in refusals:
        assert (refusal.code, refusal.address, refusal.curable) == ("SRIOV_VF_IN_USE", VFS[0], True)
        assert refusal.message.endswith("which is held by the VM db.")
        assert f"`reinstate_vfs` with vm_uuid={VM} and host_uuid={HERE}" in refusal.hint


def test_on_another_host_the_address_of_ours_is_dom0s_nic() -> None:
    """The VM has 0000:02:00.0 as a VF on its own host; here that is the management interface."""
    entry = entry_of({1: MANAGEMENT}, host=THERE)
    refusal = only(judged(entry, f"0/{MANAGEMENT}"))
    assert (refusal.code, refusal.curable) == ("SRIOV_NEEDED_BY_DOM0", True)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("0000:99:00.0", "is for request 1, and this host has no device 0000:99:00.0."),
        (GPU, "is for request 1, and 0000:81:00.0 (10de:1eb8) is no VF that this host could give."),
    ],
)
def test_on_another_host_the_address_of_ours_is_something_else(address: str, why: str) -> None:
    refusal = only(judged(entry_of({1: address}, host=THERE), f"0/{address}"))
    assert (refusal.code, refusal.curable) == ("SRIOV_NOT_PLACED", True)
    assert refusal.message == f"The entry `0/{address}` {why}"


def test_on_another_host_the_vf_is_one_of_another_network_or_not_to_be_had() -> None:
    other = [CANDIDATES[0]._replace(networks=frozenset(["network-b"]))]
    refusal = only(judged(entry_of({1: VFS[0]}), f"0/{VFS[0]}", candidates=other))
    assert (refusal.code, refusal.curable) == ("SRIOV_NOT_PLACED", True)
    assert refusal.message.endswith(
        "is for request 1, which 0000:07:10.0 (8086:10ed, a VF of 0000:07:00.0) of this host does not fit."
    )
    blocked = [CANDIDATES[0]._replace(blocked="dom0's driver igbvf has it")]
    refusal = only(judged(entry_of({1: VFS[0]}), f"0/{VFS[0]}", candidates=blocked))
    assert (refusal.code, refusal.curable) == ("SRIOV_NEEDED_BY_DOM0", True)
    assert refusal.message.endswith("is not to be had: dom0's driver igbvf has it.")


def test_each_request_needs_its_entry() -> None:
    refusal = only(judged(TWO_VFS, f"0/{VFS[0]}, 1/{VFS[1]}"))
    assert refusal == Refusal(
        "SRIOV_NOT_PLACED",
        VFS[1],
        "Request 2 has no entry in other_config:pci: its VF 0000:07:10.1 is not named.",
        refusal.hint,
        curable=True,
    )
    no_lease = only(judged(entry_of({1: VFS[0]})._replace(lease=None, past=()), f"0/{GPU}"))
    assert no_lease.message == "Request 1 has no entry in other_config:pci: no VF is leased for it."


def test_entries_that_a_revert_brought_back_are_written_anew() -> None:
    entry = entry_of({1: VFS[0]}, past=[VFS[2]])
    refusal = only(judged(entry, f"0/{VFS[0]},1/{VFS[2]}"))
    assert (refusal.code, refusal.address, refusal.curable) == ("SRIOV_NOT_PLACED", VFS[2], True)
    assert "is left from an earlier lease" in refusal.message
    taken = only(judged(entry, f"0/{VFS[0]},1/{VFS[2]}", Held({(HERE, VFS[2]): "the VM db"}, {})))
    assert (taken.code, taken.curable) == ("SRIOV_VF_IN_USE", True)
    gave_all_back = entry._replace(requests=(), lease=None)
    assert only(judged(gave_all_back, f"0/{VFS[2]}")).curable


def test_an_address_that_another_vm_is_lent_takes_a_lease_of_ones_own() -> None:
    """Also where it is lent to it of another host, and free here: the entry may be a copy."""
    lent = {VFS[0]: OwnLease("uuid-of-web", "web (uuid-of-web)")}
    refusal = only(judged(None, f"0/{VFS[0]},1/{GPU}", own_lease=lent))
    assert (refusal.code, refusal.address, refusal.curable) == ("SRIOV_VF_IN_USE", VFS[0], False)
    assert "web (uuid-of-web) is lent a VF of that address" in refusal.message
    for call in (f"`adopt_vm` with vm_uuid={VM} and origin_uuid=uuid-of-web", f"none and host_uuid={HERE}"):
        assert call in refusal.hint
    assert refusal.hint.endswith(f"other-config:pci=1/{GPU}`.")
    assert judged(TWO_VFS, PCI, own_lease=lent) == []  # its own, of another host or this

    more = {VFS[2]: OwnLease("uuid-of-web", "web (uuid-of-web)")}
    refusal = only(judged(TWO_VFS, f"{PCI},2/{VFS[2]}", own_lease=more))
    assert refusal.hint == f"Take the entry out: `xe vm-param-set uuid={VM} other-config:pci={PCI}`."


def test_a_vf_in_a_network_with_vlans_takes_one_too() -> None:
    opens = {VFS[3]: OwnLease(None, "lan")}
    refusal = only(judged(None, f"0/{VFS[3]}", own_lease=opens))
    assert (refusal.code, refusal.curable) == ("SRIOV_NOT_ASSIGNED", False)
    assert "VMs have VFs in VLANs in its network, lan," in refusal.message
    assert f"`adopt_vm` with vm_uuid={VM} and host_uuid={HERE}" in refusal.hint
    refusal = only(judged(TWO_VFS, f"{PCI},2/{VFS[3]}", own_lease=opens))
    assert f"`assign_vf` with vm_uuid={VM}, vf={VFS[3]} and host_uuid={HERE}" in refusal.hint
    taken = only(judged(None, f"0/{VFS[3]}", Held({(HERE, VFS[3]): "the VM db"}, {}), own_lease=opens))
    assert taken.code == "SRIOV_VF_IN_USE"  # the nearer reason


def test_all_that_is_wrong_is_said_at_once_and_each_address_once() -> None:
    pci = f"0/{VFS[0]},1/{MANAGEMENT},2/{VFS[0]},3/{MANAGEMENT},4/{DISKS}"
    refusals = judged(TWO_VFS, pci, held_by="the VM db")
    assert [(refusal.code, refusal.address, refusal.curable) for refusal in refusals] == [
        ("SRIOV_VF_IN_USE", VFS[0], True),
        ("SRIOV_NEEDED_BY_DOM0", MANAGEMENT, False),
        ("SRIOV_NEEDED_BY_DOM0", DISKS, False),
        ("SRIOV_NOT_PLACED", VFS[1], True),
    ]
    assert pci.replace(f"1/{MANAGEMENT},", "").replace(f"3/{MANAGEMENT},", "") in refusals[1].hint


def test_a_device_that_nobody_looked_at_is_not_judged_right() -> None:
    with pytest.raises(KeyError):
        judged(None, "0/0000:44:00.0")


def test_ten_thousand_entries_are_judged_and_only_some_refusals_are_shown() -> None:
    addresses = [
        f"{number // 8192 + 16:04x}:{number // 32 % 256:02x}:{number % 32:02x}.0" for number in range(10000)
    ]
    pci = ",".join(f"{number}/{address}" for number, address in enumerate(addresses))
    free = {address: device(address) for address in addresses}
    assert judge.judge(VM, None, pci, HERE, [], free, NOBODY, {}) == []
    taken = {address: device(address, held_by="the VM db") for address in addresses}
    refusals = judge.judge(VM, None, pci, HERE, [], taken, NOBODY, {})
    assert len(refusals) == len(addresses)
    said = start.refused(refusals)
    assert said.message.count("held by the VM db") == start.SHOWN
    assert said.message.endswith(f" And {len(addresses) - start.SHOWN} more.")
    assert len(str(said)) < 1500


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
        who: Dict[Any, str] = {
            (HERE, address): maybe("db") or VM for address in everything if maybe(True, 0.5)
        }
        self.held = Held(who, {address: "db" for address in VFS if maybe(True, 0.1)})
        named = list(self.leased.values()) if self.entry and chance.random() < 0.7 else []
        named += [address for address in everything if maybe(True)]
        chance.shuffle(named)
        self.pci = ",".join(f"{number}/{address}" for number, address in enumerate(named))

    def judge(self) -> List[Refusal]:
        return judge.judge(VM, self.entry, self.pci, HERE, self.candidates, self.devices, self.held, {})


worlds = st.integers(0, 2**32).map(lambda seed: World(random.Random(seed)))


@given(worlds)
def test_a_start_that_is_right_takes_from_nobody_and_gives_each_request_its_vf(world: World) -> None:
    if world.judge():
        return
    plugged = pci_entries.plugging_order(world.pci)
    for address in plugged:
        assert not world.devices[address].carries
        assert world.devices[address].held_by is None
        assert world.held.on_host.get((HERE, address), VM) == VM
    if world.entry is not None and plugged:
        fitting = {vf.address for vf in world.candidates if vf.blocked is None and NETWORK in vf.networks}
        assert set(world.leased.values()) <= fitting.intersection(plugged)
        own = [world.leased[number] for number in sorted(world.leased)]
        assert [address for address in plugged if address in own] == own
        assert not set(plugged) & (set(world.entry.past) - set(world.leased.values()))


@given(worlds)
def test_what_is_refused_has_a_reason_and_ours_can_be_cured(world: World) -> None:
    known = set(world.entry.past) if world.entry else set()
    for refusal in world.judge():
        assert refusal.curable == (refusal.address in known)
        if refusal.code == "SRIOV_NEEDED_BY_DOM0" and not refusal.curable:
            assert world.devices[str(refusal.address)].carries
        if refusal.code == "SRIOV_VF_IN_USE" and not refusal.curable:
            taken = (
                world.devices[str(refusal.address)].held_by,
                world.held.on_host.get((HERE, str(refusal.address))),
            )
            assert set(taken) - {None, VM}


@given(worlds)
def test_with_all_its_foreign_refusals_followed_only_curable_ones_are_left(world: World) -> None:
    for refusal in world.judge():
        if not refusal.curable:
            rest = [one.text for one in pci_entries.entries(world.pci) if one.address != refusal.address]
            world.pci = ",".join(rest)
    assert all(refusal.curable for refusal in world.judge())
