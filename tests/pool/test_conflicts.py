"""What `list_assignments` says of things that do not fit together, and that what it advises helps."""

import json
from typing import Any

import pytest
from box_host import set_vfs
from machine_description import SATA
from managed_pool import BY_KERNEL, Pool
from refusals import is_conflict

pytestmark = pytest.mark.story

FIRST, SECOND = "0000:07:00.0", "0000:07:00.1"  # eth1 and eth2 of the usual host
NO_HOOKS = pytest.mark.pool(hooks=False)
VF, NEXT_VF, THIRD_VF = "0000:07:10.0", "0000:07:10.2", "0000:07:10.4"


def test_an_entry_by_hand_beside_a_vms_own(pool: Pool) -> None:
    """It has a VF of ours, and somebody wrote another VM's beside it."""
    web = pool.with_vf("web", vf=VF)
    db = pool.vm("db", pci=f"7/{VF}")
    pool.assign(db, vf=NEXT_VF, on=pool.one)
    advice = f"`xe vm-param-set uuid={db} other-config:pci=8/{NEXT_VF}`"
    twice = pool.conflict("ENTRY_NOT_LEASED", advice, vms=[web, db], host=pool.one, address=VF)
    assert "adopt_vm" not in twice["hint"]  # which is for VMs without requests


def holder(pool: Pool, state: str) -> Any:
    """The VM that has the VF of the first host, which is in that state."""
    (vf,) = [vf for vf in pool.vfs(pool.one, state=state) if vf["address"] == VF]
    return vf["assigned_to"]["vm_uuid"]


@NO_HOOKS
def test_two_leases_on_one_vf(pool: Pool) -> None:
    """A backup of the pool's database was restored: a key of then beside one of now."""
    web = pool.with_vf("web", vf=VF)
    old = json.dumps(pool.ledger(web))
    pool.with_vf("mail", vf=NEXT_VF)
    pool.unassign(web)
    db = pool.with_vf("db", vf=VF)
    pool.set_ledger(web, old)
    pool.set_pci(web, f"0/{VF}")
    pool.conflict("LEASE_STALE", vms=[web, db], host=pool.one, address=VF)
    assert holder(pool, "assigned") == db  # it was given it last
    assert not pool.reinstate(db)["changed"]
    pool.refused("reinstate_vfs", vm=web).says("SRIOV_NO_FREE_VF", f"db ({db})")
    pool.start(web, pool.one)
    assert holder(pool, "in-use") == web  # no hook of ours was there, and who runs keeps it
    twice, unlike = pool.conflicts()
    assert (twice["code"], twice["vm_uuids"]) == ("LEASE_STALE", sorted([web, db]))
    assert (unlike["code"], unlike["vm_uuids"]) == ("VF_UNLIKE_REQUEST", [web])  # nor has it its MAC


def test_entries_that_xapi_would_drop_or_that_no_host_has(pool: Pool) -> None:
    blank = pool.vm("blank", pci=f"0/{VF}, 1/{NEXT_VF}")
    by_hand, dropped = pool.conflicts()
    assert by_hand["code"] == "ENTRY_NOT_LEASED"
    is_conflict(dropped, "ENTRY_INVALID", f"` 1/{NEXT_VF}`", vms=[blank])
    pool.set_pci(blank, f"0/{VF},1/{NEXT_VF}")
    pool.conflict("ENTRY_NOT_LEASED", VF, NEXT_VF)
    pool.set_pci(blank, "0/0000:99:00.0")
    pool.conflict("ENTRY_INVALID", address="0000:99:00.0")


def test_thousands_of_entries_bury_no_other_conflict(pool: Pool) -> None:
    """Who may write VMs' other_config writes as much as he likes; what is wrong with others is still seen."""
    many = [
        f"{number}/0000:{0x40 + number // 256:02x}:{number // 8 % 32:02x}.{number % 8}"
        for number in range(1000)
    ]
    bombs = sorted(pool.vm(name, pci=",".join(many)) for name in ("bomb", "another"))
    blank = pool.vm("blank", pci=f" 0/{VF}")
    conflicts = pool.conflicts()
    assert len(json.dumps(conflicts)) < 60000  # their entries are 17,000 characters each
    assert "ENTRY_INVALID" in [one["code"] for one in conflicts if one["vm_uuids"] == [blank]]
    twice = [one for one in conflicts if one["code"] == "ENTRY_NOT_LEASED"]
    assert [one["vm_uuids"] for one in twice] == [bombs] * 21
    assert "980 more" in twice[-1]["message"]
    nowhere = [one for one in conflicts if one["code"] == "ENTRY_INVALID" and blank not in one["vm_uuids"]]
    assert (len(nowhere), "1960 more" in nowhere[-1]["message"]) == (41, True)
    refused = pool.refused("adopt_vm", vm=bombs[0])
    assert (refused[0], len(refused[1]) < 400) == ("SRIOV_NOT_FOUND", True)


def test_two_entries_by_hand_of_which_one_is_a_copy(pool: Pool) -> None:
    """A VM of the old plugin, and its clone: made before anybody called adopt_vm for either."""
    keys = {"sriovmacs": "0/02:16:3e:00:00:0b", "sriovvlans": "0/12"}
    old = pool.vm("old", pci=f"0/{VF}", other_config=keys, affinity=pool.one.ref)
    copy = pool.clone(old, "copy")
    pool.conflict("ENTRY_NOT_LEASED", "origin_uuid")
    pool.adopt(old, trust_keys="true")
    pool.conflict("ENTRY_NOT_LEASED", f"origin_uuid={old}")
    pool.refused("adopt_vm", vm=copy).says("SRIOV_VF_IN_USE", f"origin_uuid={old}")
    (own,) = pool.adopt(copy, origin_uuid=old)["vfs"]
    assert own["vf"] != VF
    assert own["settings"]["vlan"] == "12"
    assert pool.conflicts() == []


def test_a_revert_to_when_the_vm_had_a_vf_that_is_another_vms_now(pool: Pool) -> None:
    web = pool.with_vf("web", vf=VF)
    snapshot = pool.snapshot(web)
    pool.unassign(web)
    pool.with_vf("db", vf=VF)
    pool.revert(snapshot)
    pool.conflict("LEASE_STALE", VF, "reinstate_vfs", vms=[web])
    assert pool.reinstate(web)["pci_changed"]
    assert (pool.pci(web), pool.conflicts()) == (None, [])
    pool.revert(snapshot)
    assert pool.restarts(web, pool.one, "were removed") == []
    assert (pool.power_state(web), pool.pci(web)) == ("Running", None)
    assert pool.conflicts() == []


def test_an_entry_by_hand_for_a_vf_that_was_given_back(pool: Pool) -> None:
    """For what the VM was lent once, by hand now: no revert, for the mark did not come back with it."""
    web = pool.with_vf("web", vf=VF)
    pool.unassign(web)
    pool.set_pci(web, f"0/{VF}")
    assert pool.codes() == ["ENTRY_NOT_LEASED"]
    pool.start(web, pool.one)
    assert (pool.devices(web), pool.pci(web)) == ([VF], f"0/{VF}")
    pool.refused("assign_vf", vm=pool.vm("late"), vf=VF, on=pool.one).says("SRIOV_NO_FREE_VF")


def test_entries_for_what_dom0_needs(pool: Pool) -> None:
    """A port with an attached PIF, and the controller of dom0's disks."""
    greedy = pool.vm("greedy", pci=f"0/{SECOND},1/{SATA}")
    found = {(one["address"], one["host_uuid"]): one for one in pool.conflicts()}
    assert set(found) == {(address, host.uuid) for address in (SECOND, SATA) for host in pool.hosts}
    is_conflict(found[SECOND, pool.one.uuid], "ENTRY_INVALID", "eth2", "attached PIF")
    advice = f"xe vm-param-set uuid={greedy} other-config:pci=0/{SECOND}"
    is_conflict(found[SATA, pool.other.uuid], "ENTRY_INVALID", "host2", "the mounted file system /", advice)
    pool.api("PIF.unplug", pool.box.pif(pool.one, "eth2"))
    assert (SECOND, pool.one.uuid) not in {(one["address"], one["host_uuid"]) for one in pool.conflicts()}


@BY_KERNEL
def test_entries_of_a_lease_are_no_conflict_on_another_host(pool: Pool) -> None:
    """Where its address is dom0's on another host, or nothing: it is given others as it starts there."""
    pool.with_vf("web", vf=VF)
    pool.other.machine.run(["modprobe", "ixgbevf"])
    assert pool.conflicts() == []
    set_vfs(pool.other, FIRST, 0)
    assert pool.conflicts() == []
    pool.box.lose(pool.other)
    assert pool.conflicts() == []


@BY_KERNEL
def test_an_entry_for_a_device_of_a_host_that_is_down(pool: Pool) -> None:
    set_vfs(pool.one, FIRST, 0)
    old = pool.vm("old", pci=f"0/{THIRD_VF}")
    assert pool.codes() == ["ENTRY_NOT_LEASED"]
    pool.box.lose(pool.other)
    pool.conflict("ENTRY_INVALID", "host2", vms=[old], address=THIRD_VF)


@NO_HOOKS
def test_a_vm_that_runs_elsewhere_than_its_vfs_are(pool: Pool) -> None:
    """Its start could not reach the master, and went on."""
    web = pool.with_vf("web", vf=VF)
    pool.start(web, pool.other)
    pool.conflict("LEASE_STALE", "runs on host2", vms=[web], host=pool.one)
    pool.shut_down(web)
    assert pool.conflicts() == []
    pool.reinstate(web, on=pool.other)
    pool.box.link_hook(pool.other, "vm-pre-start")
    pool.start(web, pool.other)
    assert pool.conflicts() == []


def test_a_request_whose_network_goes(pool: Pool) -> None:
    """First from under the VF, then altogether."""
    network = pool.box.add_network("doomed")
    pool.box.add_vlan(pool.one, "eth1", 9, "doomed")
    web = pool.with_vf("web", network="doomed")
    for vlan in pool.api("VLAN.get_all"):
        pool.api("VLAN.destroy", vlan)
    advice = f"`unassign_vf` with vm_uuid={web} and request=1"
    pool.conflict("LEASE_STALE", "request 1", "doomed", advice, vms=[web], host=pool.one, address=VF)
    uuid = pool.api("network.get_uuid", network)
    pool.api("network.destroy", network)
    advice = f"`assign_vf` with vm_uuid={web}, request=1 and another network"
    pool.conflict("REQUEST_STALE", f"web ({web})", uuid, advice)
    pool.refused("assign_vf", vm=web, pf="eth1", on=pool.one).says(
        "SRIOV_NO_FREE_VF", "`assign_vf` with request=1", "`unassign_vf` with request=1"
    )
    ((_, settings),) = pool.asked(web)
    pool.assign(web, request="1", network="xenbr1")
    assert pool.asked(web) == [("network", {"mac": settings["mac"]})]
    assert pool.conflicts() == []


def test_one_of_two_requests_whose_network_goes(pool: Pool) -> None:
    """Changed or taken back, it is not in the way of the other."""
    network = pool.box.add_network("doomed")
    pool.box.add_vlan(pool.one, "eth1", 9, "doomed")
    web = pool.vm("web")
    pool.assign(web, network="xenbr1")
    pool.assign(web, network="doomed")
    pool.api("VLAN.destroy", *pool.api("VLAN.get_all"))
    pool.api("network.destroy", network)
    pool.conflict("REQUEST_STALE", f"Request 2 of VM web ({web})", "request=2")
    pool.assign(web, request="2", pf="eth1")
    assert pool.conflicts() == []


def test_a_network_that_was_made_anew_with_another_vlan(pool: Pool) -> None:
    pool.box.add_vlan(pool.one, "eth1", 9, "office")
    web, free = pool.vm("web"), pool.vm("free")
    pool.assign(web, network="office")
    pool.assign(free, network="xenbr1", vlan="12")  # no VLAN of the network's own
    (vlan,) = pool.api("VLAN.get_all")
    pool.api("VLAN.destroy", vlan)
    pool.box.add_vlan(pool.one, "eth1", 10, "office")
    ((_, settings),) = pool.asked(web)
    (network,) = pool.api("network.get_by_name_label", "office")
    office = pool.api("network.get_uuid", network)
    advice = f"`assign_vf` with vm_uuid={web}, request=1, network={office}"
    pool.conflict("REQUEST_STALE", "VLAN 9", "office", "VLAN 10", advice, vms=[web])
    pool.assign(web, request="1", network=office)
    assert pool.asked(web) == [("network", {"mac": settings["mac"], "vlan": "10"})]
    assert pool.conflicts() == []


@BY_KERNEL
def test_dom0_has_the_vf_that_a_vm_was_lent(pool: Pool) -> None:
    web = pool.with_vf("web", vf=VF)
    pool.one.machine.run(["modprobe", "ixgbevf"])
    pool.conflict("LEASE_STALE", "`set_vf_count`", vms=[web], address=VF)
    pool.call("set_vf_count", pool.one, pf=FIRST, count="4")
    assert pool.conflicts() == []


def test_leases_of_a_host_that_left_are_found_by_it(pool: Pool) -> None:
    goes = pool.other
    web = pool.with_vf("web", vf=VF, on=goes)
    pool.box.eject(goes)
    listed = pool.call("list_assignments", on=goes)
    assert [vm["vm_uuid"] for vm in listed["vms"]] == [web]
    is_conflict(*listed["conflicts"], "LEASE_STALE")
    pool.unassign(web)
    pool.refused("list_assignments", on=goes).says("SRIOV_NOT_FOUND")
