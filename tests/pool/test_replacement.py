"""A VM starts where its addresses are wrong: it is started again there, with VFs of that host."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from estate import Estate, Gate, calls_watched
from values import Failure

pytestmark = pytest.mark.story

VF = "0000:07:10.0"


def test_where_they_differ_it_is_started_again_with_vfs_of_that_host(mixed: Estate) -> None:
    vm = mixed.with_vf("web", vlan="12")
    mac, uuid, host = mixed.mac(vm), mixed.uuid(vm), mixed.box.hosts[1]
    first, message, hint = mixed.refused(vm, 1)
    code, of_vm, of_host, task = first.split(" ")
    assert (code, of_vm, of_host) == ("SRIOV_RESTARTING", uuid, host.uuid)
    assert "web" in message
    assert host.name in message
    assert task in hint
    assert mixed.box.wait_for_calls()
    assert mixed.box.devices(vm) == ["0000:09:10.0"]
    assert mixed.box.xapi.database.get("VM", vm, "resident_on") == host.ref
    assert mixed.settings(1, "0000:09:10.0") == (mac, 12)
    assert mixed.conflicts() == []
    (record,) = mixed.box.xapi.call("task.get_all_records_where", f'field "uuid" = "{task}"').values()
    assert record["status"] == "success"


def test_the_pool_has_a_message_about_it(mixed: Estate) -> None:
    vm = mixed.with_vf("web")
    mixed.refused(vm, 1)
    messages = mixed.box.xapi.call("message.get_all_records").values()
    (message,) = [one for one in messages if one["obj_uuid"] == mixed.uuid(vm)]
    assert (message["name"], message["cls"], message["obj_uuid"]) == (
        "SRIOV_RESTARTING",
        "VM",
        mixed.uuid(vm),
    )
    assert "web" in message["body"]


def test_a_queued_start_counts_where_its_task_cannot_be_named(mixed: Estate) -> None:
    def act(_number: int, name: str) -> None:
        if name == "task.get_uuid":
            raise Failure("HANDLE_INVALID", "task")

    vm = mixed.with_vf("web")
    with calls_watched(mixed.box, mixed.box.hosts[1], act):
        assert mixed.refused(vm, 1)[0].startswith("SRIOV_RESTARTING ")
    assert mixed.box.wait_for_calls()
    assert mixed.box.devices(vm) == ["0000:09:10.0"]


def test_reinstate_vfs_spares_it_the_detour(mixed: Estate) -> None:
    vm = mixed.with_vf("web")
    mixed.call("reinstate_vfs", vm_uuid=mixed.uuid(vm), host_uuid=mixed.box.hosts[1].uuid)
    mixed.start(vm, 1)
    assert mixed.box.devices(vm) == ["0000:09:10.0"]


def test_it_is_not_placed_again_and_again(mixed: Estate) -> None:
    """Somebody else writes the wrong entries back each time."""
    vm = mixed.with_vf("web")
    mixed.refused(vm, 1)
    assert mixed.box.wait_for_calls()
    mixed.box.shut_down(vm, hard=True)
    mixed.set_pci(vm, f"0/{VF}")
    first, message, _ = mixed.refused(vm, 1)
    assert first.startswith("SRIOV_NOT_PLACED ")
    assert "seconds ago" in message
    mixed.box.pass_time(120)
    mixed.refused(vm, 1)
    assert mixed.box.wait_for_calls()
    assert mixed.box.devices(vm) == ["0000:09:10.0"]


def test_it_is_placed_again_at_once_where_somebody_moved_it_meanwhile(mixed: Estate) -> None:
    vm = mixed.with_vf("web")
    mixed.refused(vm, 1)
    assert mixed.box.wait_for_calls()
    mixed.box.shut_down(vm, hard=True)
    mixed.call("reinstate_vfs", vm_uuid=mixed.uuid(vm), host_uuid=mixed.box.hosts[0].uuid)
    assert mixed.refused(vm, 1)[0].startswith("SRIOV_RESTARTING ")
    assert mixed.box.wait_for_calls()
    assert mixed.box.devices(vm) == ["0000:09:10.0"]


def test_a_host_without_a_free_vf(mixed: Estate) -> None:
    for number in range(4):
        mixed.start(mixed.with_vf(f"other{number}", on=1), 1)
    vm = mixed.with_vf("web")
    first, message, hint = mixed.refused(vm, 1)
    assert first == f"SRIOV_NO_FREE_VF {mixed.uuid(vm)} {mixed.box.hosts[1].uuid}"
    assert "other" in message
    assert hint
    assert mixed.box.power_state(vm) == "Halted"
    mixed.start(vm, 0)


def test_a_host_that_takes_no_vms_any_more_leaves_it_halted_and_says_so(mixed: Estate) -> None:
    vm, host = mixed.with_vf("web"), mixed.box.hosts[1]
    disabled = host.machine.path("/tmp/disabled")
    waiting = f"#!/bin/sh\nfor n in $(seq 200); do [ -e {disabled} ] || sleep 0.05; done\n"
    script = mixed.box.put_hook(host, "vm-pre-start", waiting, name="10-before")
    with ThreadPoolExecutor(1) as threads:
        told = threads.submit(mixed.refused, vm, 1)
        while not mixed.box.xapi.reach.programs(host.ref):
            assert not told.done()
        mixed.box.xapi.call("host.disable", host.ref)
        os.close(os.open(disabled, os.O_CREAT))
        first, message, _ = told.result()
    mixed.box.xapi.call("host.enable", host.ref)
    os.unlink(script)
    assert first.startswith("SRIOV_NOT_PLACED ")
    assert "stays halted" in message
    assert mixed.box.wait_for_calls()
    assert mixed.box.power_state(vm) == "Halted"
    mixed.start(vm, 1)  # it has VFs of that host already
    assert mixed.box.devices(vm) == ["0000:09:10.0"]


def test_ha_does_not_wait_for_its_second_attempt(mixed: Estate) -> None:
    """HA tries again after 120 s; the start that the hook has queued is there at once."""
    vm = mixed.with_vf("web", on=1)
    mixed.box.protect(vm)
    mixed.start(vm, 1)
    with mixed.lost(1):
        (failure,) = mixed.box.run_ha().values()
        assert failure is not None
        assert mixed.lines(Failure(*failure))[0].startswith("SRIOV_RESTARTING ")
        assert mixed.box.wait_for_calls()
        assert mixed.box.devices(vm) == [VF]


def test_a_start_that_was_cancelled_is_not_queued_again(mixed: Estate) -> None:
    vm, host = mixed.with_vf("web"), mixed.box.hosts[1]
    with Gate(host, "10-before") as gate:
        task = mixed.box.xapi.call("Async.VM.start_on", vm, host.ref, False, False)
        gate.wait_for(mixed.uuid(vm))
        mixed.box.xapi.call("task.cancel", task)
        gate.open()
        assert mixed.box.wait_for_calls()
    assert mixed.box.power_state(vm) == "Halted"
    assert "This start was cancelled" in mixed.log(1)
    mixed.start(vm, 1)  # as the hint says
    assert mixed.box.devices(vm) == ["0000:09:10.0"]


def test_names_do_not_make_lines(mixed: Estate) -> None:
    vm = mixed.with_vf("we\nSRIOV_RESTARTING b")
    first, message, _hint = mixed.refused(vm, 1)
    assert first.startswith(f"SRIOV_RESTARTING {mixed.uuid(vm)} ")
    assert "we SRIOV_RESTARTING b" in message
