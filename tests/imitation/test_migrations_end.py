"""VM.pool_migrate of the box that ends in the middle: what is left then, and what xapi says."""

import os
from typing import Tuple

import pytest
from box import PoolInABox
from box_host import BoxHost
from checks import refused
from migrating import NOTES, VF, domains, has, held_at, migrate, running, shown, tell_passthrough

NONE_THERE = "0000:99:00.0"


@pytest.fixture
def box(iommu_box: PoolInABox) -> PoolInABox:
    return iommu_box


# -- what ends it in the middle ------------------------------------------------------------------------


def test_a_cancelled_copy_leaves_the_guest_where_it_is(box: PoolInABox) -> None:
    vm = running(box)
    with held_at(box, vm, "copy") as (_, task):
        record = box.xapi.database.record("task", task)
        assert (0 < record["progress"] < 1, record["allowed_operations"]) == (True, ["cancel"])
        assert box.xapi.database.get("VM", vm, "scheduled_to_be_resident_on") == box.hosts[0].ref
        assert box.xapi.database.get("VM", vm, "current_operations") == {task: "pool_migrate"}
        box.xapi.call("task.cancel", task)
    assert box.wait_for_task(task)["status"] == "cancelled"
    assert shown(box, vm) == ("Running", box.hosts[1].name)
    assert has(box, vm, box.hosts[1])[0]


def test_a_suspended_guest_is_moved_whoever_wants_to_cancel_that(box: PoolInABox) -> None:
    vm = running(box)
    with held_at(box, vm, "suspended") as (_, task):
        assert box.xapi.database.get("task", task, "allowed_operations") == []
        box.xapi.call("task.cancel", task)
    assert box.wait_for_task(task)["status"] == "success"
    assert shown(box, vm) == ("Running", box.hosts[0].name)


def test_a_failed_copy_leaves_the_guest_where_it_is(box: PoolInABox) -> None:
    vm = running(box)
    with held_at(box, vm, "copy") as (held, task):
        held.fail()
    assert box.wait_for_task(task)["error_info"][0] == "INTERNAL_ERROR"
    assert shown(box, vm) == ("Running", box.hosts[1].name)
    assert migrate(box, vm)["status"] == "success"


def test_a_guest_that_reboots_in_the_copy_does_so_and_is_moved_then(box: PoolInABox) -> None:
    vm, notes = running(box), os.path.join(box.folder, "notes")
    box.put_hook(box.hosts[1], "vm-pre-start", NOTES.format(notes=notes, host="source"), "99-notes")
    with held_at(box, vm, "copy") as (held, task):
        held.guest_reboots()
    assert box.wait_for_task(task)["status"] == "success"
    assert shown(box, vm) == ("Running", box.hosts[0].name)
    with open(notes) as file:
        assert len(file.readlines()) == 1


def test_a_guest_that_shuts_down_in_the_copy_is_halted(box: PoolInABox) -> None:
    vm = running(box)
    with held_at(box, vm, "copy") as (held, task):
        held.guest_shuts_down()
    assert "does not exist in xenopsd" in box.wait_for_task(task)["error_info"][1]
    assert shown(box, vm) == ("Halted", "")
    assert not has(box, vm, box.hosts[0])[0]


@pytest.mark.parametrize("stage", ["copy", "suspended"])
def test_a_source_that_dies_takes_the_guest_along(box: PoolInABox, stage: str) -> None:
    vm, (there, source) = running(box), box.hosts
    with held_at(box, vm, stage) as (_, task):
        box.lose(source)
    assert box.wait_for_task(task)["error_info"] == ["CANNOT_CONTACT_HOST", source.ref]
    assert not has(box, vm, there)[0]
    assert shown(box, vm) == ("Running", source.name)
    box.declare_dead(source)
    assert shown(box, vm) == ("Halted", "")


def test_a_source_that_dies_after_the_last_page_leaves_a_guest_that_xapi_does_not_know(
    box: PoolInABox,
) -> None:
    vm, (there, source) = running(box), box.hosts
    with held_at(box, vm, "arrived") as (_, task):
        box.lose(source)
    assert box.wait_for_task(task)["error_info"] == ["CANNOT_CONTACT_HOST", source.ref]
    box.declare_dead(source)
    assert shown(box, vm) == ("Halted", "")
    assert has(box, vm, there)[0]
    box.xapi.restart_toolstack(there.ref)
    assert shown(box, vm) == ("Running", there.name)


def test_a_start_where_it_runs_already_fails_and_tells_xapi_of_it(box: PoolInABox) -> None:
    vm, (there, source) = running(box), box.hosts
    with held_at(box, vm, "arrived"):
        box.lose(source)
    box.wait_for_calls()
    box.declare_dead(source)
    assert refused(box.start, vm, there) == ["VM_BAD_POWER_STATE", vm, "Running", "Halted"]
    assert shown(box, vm) == ("Running", there.name)


@pytest.fixture
def on_master(box: PoolInABox) -> Tuple[str, BoxHost, BoxHost]:
    """A VM that runs on the master, which stays; and where it is to go."""
    vm = box.add_vm("web")
    box.start(vm, box.hosts[0])
    return vm, box.hosts[0], box.hosts[1]


def test_a_destination_that_dies_in_the_copy_costs_nothing(
    box: PoolInABox, on_master: Tuple[str, BoxHost, BoxHost]
) -> None:
    vm, source, there = on_master
    with held_at(box, vm, "copy", to=1) as (_, task):
        box.lose(there)
    assert box.wait_for_task(task)["error_info"][0] == "INTERNAL_ERROR"
    assert (shown(box, vm), has(box, vm, source)[0]) == (("Running", source.name), True)


@pytest.mark.parametrize("stage", ["suspended", "plugged"])
def test_a_destination_that_dies_after_the_last_page_takes_the_guest_along(
    box: PoolInABox, on_master: Tuple[str, BoxHost, BoxHost], stage: str
) -> None:
    """And xapi goes on saying that it runs, until the source's xapi looks."""
    vm, source, there = on_master
    with held_at(box, vm, stage, to=1) as (_, task):
        box.lose(there)
    assert "does not exist in xenopsd" in box.wait_for_task(task)["error_info"][1]
    assert (shown(box, vm), has(box, vm, source)[0]) == (("Running", source.name), False)
    box.xapi.restart_toolstack(source.ref)
    assert shown(box, vm) == ("Halted", "")


def test_a_guest_that_xapi_took_for_halted_as_it_went_runs_where_it_has_come(box: PoolInABox) -> None:
    """Its source's xapi looks while the source's xenopsd knows it by another name."""
    vm, (there, source) = running(box), box.hosts
    with held_at(box, vm, "suspended") as (_, task):
        box.xapi.restart_toolstack(source.ref)
        assert box.power_state(vm) == "Halted"
    assert box.wait_for_task(task)["status"] == "success"
    assert shown(box, vm) == ("Running", there.name)


def test_a_device_that_cannot_be_plugged_there_costs_the_guest(box: PoolInABox) -> None:
    """Two domains are left, neither of which runs, and xapi says that it runs."""
    vm, (there, source) = running(box), box.hosts
    tell_passthrough(box, vm)
    box.xapi.call("VM.set_other_config", vm, {"pci": f"0/{VF},1/{NONE_THERE}"})
    box.let_xenopsd_know(vm)
    (_, text) = migrate(box, vm)["error_info"]
    assert "Failed during Synchronisation point 4" in text
    assert NONE_THERE in text
    assert (shown(box, vm), has(box, vm, source)[0]) == (("Running", source.name), False)
    assert has(box, vm, there) == (True, [VF])
    assert [len(domains(host)) for host in (source, there)] == [1, 1]
    box.xapi.restart_toolstack(source.ref)
    assert (shown(box, vm), domains(source)) == (("Halted", ""), [])
    box.xapi.restart_toolstack(there.ref)
    assert shown(box, vm) == ("Paused", there.name)


@pytest.mark.parametrize(
    ("number", "hook"), [(0, "vm-post-migrate"), (1, "vm-pre-shutdown"), (1, "vm-post-destroy")]
)
def test_a_hook_that_refuses_at_the_end_leaves_a_guest_that_xapi_does_not_know(
    box: PoolInABox, number: int, hook: str
) -> None:
    vm, (there, source) = running(box), box.hosts
    box.put_hook(box.hosts[number], hook, "#!/bin/sh\nexit 2\n")
    assert "XAPI_HOOK_FAILED" in " ".join(migrate(box, vm)["error_info"])
    assert (shown(box, vm), has(box, vm, there)[0]) == (("Running", source.name), True)
