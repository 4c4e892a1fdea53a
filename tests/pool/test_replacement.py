"""A VM starts where its addresses are wrong: it is started again there, with VFs of that host."""

import pytest
from interference import Gate, xapi_fails
from managed_pool import OTHER_SLOTS, Pool

pytestmark = [pytest.mark.story, OTHER_SLOTS]

VF, NEXT_VF = "0000:07:10.0", "0000:09:10.0"


def test_a_vm_is_started_again_with_vfs_of_the_host(pool: Pool) -> None:
    vm = pool.with_vf("web", vlan="12")
    mac, host = pool.mac(vm), pool.other
    refusal = pool.start_refused(vm, host).says("SRIOV_RESTARTING", "web", host.name)
    assert pool.box.wait_for_calls()
    assert pool.devices(vm) == [NEXT_VF]
    assert pool.record(vm)["resident_on"] == host.ref
    assert pool.settings(host, NEXT_VF) == (mac, 12)
    assert pool.conflicts() == []
    tasks = pool.api("task.get_all_records").values()
    (task,) = [task for task in tasks if task["uuid"] in refusal.hint]
    assert task["status"] == "success"
    (message,) = [one for one in pool.api("message.get_all_records").values() if one["obj_uuid"] == vm]
    assert (message["name"], message["cls"]) == ("SRIOV_RESTARTING", "VM")
    assert "web" in message["body"]


def test_a_queued_start_counts_where_its_task_cannot_be_named(pool: Pool) -> None:
    vm = pool.with_vf("web")
    with xapi_fails(pool.box, pool.other, "task.get_uuid"):
        assert pool.restarts(vm, pool.other) == [NEXT_VF]


def test_a_vm_is_not_placed_twice_within_two_minutes(pool: Pool) -> None:
    """Somebody else writes the wrong entries back each time; but for that it may be moved meanwhile."""
    vm = pool.with_vf("web")
    pool.restarts(vm, pool.other)
    pool.shut_down(vm)
    pool.xenopsd_has_heard(vm)
    pool.set_pci(vm, f"0/{VF}")
    pool.start_refused(vm, pool.other).says("SRIOV_NOT_PLACED", " ago, and its entries have changed again")
    pool.reinstate(vm, on=pool.one)
    assert pool.restarts(vm, pool.other) == [NEXT_VF]
    pool.shut_down(vm)
    pool.xenopsd_has_heard(vm)
    pool.set_pci(vm, f"0/{VF}")
    pool.box.pass_time(120)
    assert pool.restarts(vm, pool.other) == [NEXT_VF]


def test_a_host_without_a_free_vf(pool: Pool) -> None:
    for number in range(4):
        pool.start(pool.with_vf(f"other{number}", on=pool.other), pool.other)
    vm = pool.with_vf("web")
    assert pool.start_refused(vm, pool.other).says("SRIOV_NO_FREE_VF", "other").hint
    assert pool.power_state(vm) == "Halted"
    pool.start(vm, pool.one)


def test_a_vm_stays_halted_where_its_host_was_disabled_meanwhile(pool: Pool) -> None:
    vm, host = pool.with_vf("web"), pool.other
    with Gate(host, "10-before") as gate:
        gate.hold(pool.start_refused, vm)
        pool.api("host.disable", host.ref)
        gate.result().says("SRIOV_NOT_PLACED", "stays halted")
    pool.api("host.enable", host.ref)
    assert pool.box.wait_for_calls()
    assert pool.power_state(vm) == "Halted"
    pool.start(vm, host)  # it has VFs of that host already
    assert pool.devices(vm) == [NEXT_VF]


def test_a_start_that_was_cancelled_is_not_queued_again(pool: Pool) -> None:
    vm, host = pool.with_vf("web"), pool.other
    with Gate(host, "10-before") as gate:
        task = pool.api("Async.VM.start_on", pool.ref(vm), host.ref, False, False)
        gate.wait_for(vm)
        pool.api("task.cancel", task)
        gate.open()
        assert pool.box.wait_for_calls()
    assert pool.power_state(vm) == "Halted"
    assert "This start was cancelled" in pool.log(pool.other)
    pool.start(vm, pool.other)  # as the hint says
    assert pool.devices(vm) == [NEXT_VF]


def test_names_do_not_make_lines(pool: Pool) -> None:
    vm = pool.with_vf("we\nSRIOV_RESTARTING b")
    pool.start_refused(vm, pool.other).says("SRIOV_RESTARTING", "we SRIOV_RESTARTING b")
