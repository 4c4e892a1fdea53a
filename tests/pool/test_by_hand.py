"""Entries by hand: whoever brings a halted VM into the pool can write any, so only a running VM's keep a VF
from others; and all that they name is said."""

import pytest
from interference import Gate
from managed_pool import OTHER_SLOTS, Pool
from refusals import is_conflict

pytestmark = pytest.mark.story

VFS = [f"0000:07:10.{number}" for number in (0, 2, 4, 6)]
ALL = ",".join(f"{number}/{vf}" for number, vf in enumerate(VFS))


def test_a_halted_vm_that_names_all_vfs_keeps_none_from_others(pool: Pool) -> None:
    """It came by an import, which takes no pool-admin."""
    greedy = pool.vm("greedy", ALL)
    advice = f"`xe vm-param-remove uuid={greedy} param-name=other-config param-key=pci`"
    pool.conflict("ENTRY_NOT_LEASED", *VFS, advice)
    web = pool.vm("web")
    got = [pool.assign(web, pf="eth1", on=pool.one)["vf"] for _ in VFS]
    assert sorted(got) == VFS
    for conflict, vf in zip(pool.conflicts(), VFS):
        is_conflict(conflict, "ENTRY_NOT_LEASED", f"uuid={greedy}", address=vf)


def test_vfs_that_entries_by_hand_name_are_given_last(pool: Pool) -> None:
    """An estate by hand that is adopted one VM after the other."""
    pool.vm("old", f"0/{VFS[0]}")
    pool.vm("asleep", f"0/{VFS[2]}", power_state="Suspended")
    web = pool.vm("web")
    got = [pool.assign(web, pf="eth1")["vf"] for _ in VFS[:3]]
    assert got == [VFS[1], VFS[3], VFS[0]]


def test_a_vm_gets_a_vf_of_its_own_entries_only_by_address(pool: Pool) -> None:
    own = pool.vm("own", ALL)
    pool.refused("assign_vf", vm=own, pf="eth1", on=pool.one).says(
        "SRIOV_NO_FREE_VF", "entries", "vf=ADDRESS"
    )
    pool.assign(own, vf=VFS[0], on=pool.one)
    assert pool.requests(own)[0]["vf"] == VFS[0]
    pool.set_pci(own, f"0/{VFS[0]},1/{VFS[1]}")
    assert pool.assign(own, pf="eth1")["vf"] == VFS[2]


@OTHER_SLOTS
def test_a_halted_vms_entries_by_hand_hinder_no_re_placement(pool: Pool) -> None:
    pool.vm("greedy", ",".join(f"{number}/{vf.replace(':07:', ':09:')}" for number, vf in enumerate(VFS)))
    vm = pool.with_vf("web")
    assert pool.restarts(vm, pool.other) == ["0000:09:10.0"]


def test_entries_of_a_running_vm_count_on_its_host_only(pool: Pool) -> None:
    """Its entry was added while it ran, and is plugged when it reboots."""
    vm = pool.vm("by hand", f"0/{VFS[0]}")
    pool.start(vm, pool.one)
    pool.set_pci(vm, f"0/{VFS[0]},1/{VFS[1]}")
    web = pool.vm("web")
    pool.refused("assign_vf", vm=web, vf=VFS[1], on=pool.one).says("SRIOV_NO_FREE_VF")
    assert pool.assign(web, vf=VFS[1], on=pool.other)["vf"] == VFS[1]
    assert not any("while it does not run" in one["message"] for one in pool.conflicts())


def test_a_start_that_will_be_refused_keeps_no_vf_from_others(pool: Pool) -> None:
    """Or who may start VMs would block all VFs, one refused start after the other."""
    pool.with_vf("web", vlan="12")
    greedy, mail = pool.vm("greedy", ALL), pool.vm("mail")
    with Gate(pool.one, "00-before-ours") as gate:
        gate.hold(pool.start_refused, greedy)
        assert pool.assign(mail, network=pool.network("eth1"), on=pool.one)["vf"] == VFS[1]
        gate.result()


def test_a_start_that_was_let_through_keeps_its_vf(pool: Pool) -> None:
    """Its domain is not there yet."""
    by_hand, web = pool.vm("by hand", f"0/{VFS[1]}"), pool.vm("web")
    with Gate(pool.one, "99-after-ours") as gate:
        gate.hold(pool.start, by_hand)
        pool.refused("assign_vf", vm=web, vf=VFS[1], on=pool.one).says("SRIOV_NO_FREE_VF")
        assert pool.assign(web, vf=VFS[1], on=pool.other)["vf"] == VFS[1]
        gate.result()
    assert pool.devices(by_hand) == [VFS[1]]
