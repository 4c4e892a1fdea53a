"""VM.pool_migrate of the box: what goes along, which hooks run, and what is left where it fails."""

import json
import os
import sys
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from box import PoolInABox
from box_host import BoxHost
from checks import refused, until
from machine_description import default_description
from values import NULL

VF, NONE_THERE = "0000:07:10.0", "0000:99:00.0"
HOOKS = ("vm-pre-migrate", "vm-post-migrate", "vm-pre-shutdown", "vm-post-destroy", "vm-pre-start")
NOTES = """#!/usr/bin/python3
import os, sys
with open({notes!r}, "a") as file:
    file.write(" ".join([{host!r}, os.path.basename(os.path.dirname(sys.argv[0])), *sys.argv[3:]]) + "\\n")
"""


@pytest.fixture
def box() -> Iterator[PoolInABox]:
    """Two hosts whose Xen uses the IOMMU, with VFs on pciback."""
    hosts = [default_description(number, xen_options="iommu=1") for number in (1, 2)]
    with PoolInABox(hosts, interpreter=sys.executable) as box:
        for host in box.hosts:
            box.call(host, "load_pciback")
            box.call(host, "set_vf_count", pf="0000:07:00.0", count="3")
        yield box


def running(box: PoolInABox, pci: str = "", **values: Any) -> str:
    vm = box.add_vm("web", other_config={"pci": pci} if pci else {}, **values)
    box.start(vm, box.hosts[1])  # a member's
    return vm


def begin(box: PoolInABox, vm: str, **options: str) -> str:
    """The task of a migration to the first host."""
    return str(box.xapi.call("Async.VM.pool_migrate", vm, box.hosts[0].ref, options))


def migrate(box: PoolInABox, vm: str) -> Dict[str, Any]:
    return box.wait_for_task(begin(box, vm))


def has(box: PoolInABox, vm: str, host: BoxHost) -> Tuple[bool, List[str]]:
    """Whether that host has a domain of it, and with which devices."""
    uuid = box.xapi.database.get("VM", vm, "uuid")
    hypervisor = box.xapi.life.hypervisor(box.xapi, host.ref)
    return hypervisor.domain(uuid) is not None, hypervisor.plugged(uuid)


def domains(host: BoxHost) -> List[Dict[str, Any]]:
    with host.machine.changed() as sysfs:
        return list(sysfs.state["domains"].values())


def known(box: PoolInABox, vm: str, host: BoxHost) -> Any:
    return box.xapi.life.xenopsd(box.xapi, host.ref).find(box.xapi.database.get("VM", vm, "uuid"))


def shown(box: PoolInABox, vm: str) -> Tuple[str, str]:
    """What xapi says of it, once nothing goes on: its power state and the name of its host."""
    record = box.xapi.database.record("VM", vm)
    assert (record["scheduled_to_be_resident_on"], record["current_operations"]) == (NULL, {})
    names = {host.ref: host.name for host in box.hosts}
    return record["power_state"], names.get(record["resident_on"], "")


def tell_passthrough(box: PoolInABox, vm: str) -> None:
    """As who keeps the flag does, by xenopsd's own calls."""
    xenopsd = box.xapi.life.xenopsd(box.xapi, box.hosts[1].ref)
    metadata = xenopsd.export_metadata(box.xapi.database.get("VM", vm, "uuid"))
    del metadata["domains"]
    metadata["vm"]["ty"] = ["HVM", {"pci_passthrough": True}]
    xenopsd.import_metadata(json.loads(json.dumps(metadata)))


# -- a move that comes to its end ----------------------------------------------------------------------


def test_hooks_run_in_xenopsds_order_with_its_reasons(box: PoolInABox) -> None:
    vm, notes = running(box), os.path.join(box.folder, "notes")
    for host in box.hosts:
        for hook in HOOKS:
            box.put_hook(host, hook, NOTES.format(notes=notes, host=host.name), "99-notes")
    assert migrate(box, vm)["status"] == "success"
    with open(notes) as file:
        ran = [" ".join(word for word in line.split() if not word.isdigit()) for line in file]
    there, source = (host.name for host in box.hosts)
    assert ran == [
        f"{source} vm-pre-migrate -reason source -vmdomid",
        f"{there} vm-post-migrate -reason destination -vmdomid",
        f"{source} vm-pre-shutdown -reason suspend -vmdomid",
        f"{source} vm-post-destroy -reason suspend",
    ]
    assert shown(box, vm) == ("Running", there)


def test_it_takes_what_xenopsd_was_told_not_what_the_record_says(box: PoolInABox) -> None:
    vm, (there, source) = running(box), box.hosts
    tell_passthrough(box, vm)
    with box.migration_held_at("copy") as held:
        task = begin(box, vm)
        held.wait()
        box.xapi.call("VM.set_other_config", vm, {"pci": f"0/{VF}"})
    assert box.wait_for_task(task)["status"] == "success"
    assert has(box, vm, there) == (True, [])
    assert (has(box, vm, source), known(box, vm, source)) == ((False, []), None)
    assert [domain["passthrough"] for domain in domains(there)] == [True]  # it came along


def test_without_the_flag_the_domain_there_takes_no_device(box: PoolInABox) -> None:
    vm = running(box)
    migrate(box, vm)
    assert [domain["passthrough"] for domain in domains(box.hosts[0])] == [False]


def test_xapi_there_tells_its_own_text_when_it_has_taken_over(box: PoolInABox) -> None:
    vm = running(box)
    tell_passthrough(box, vm)
    migrate(box, vm)
    until(lambda: not known(box, vm, box.hosts[0]).passthrough)


def test_back_where_it_was_an_unchanged_text_is_not_told(box: PoolInABox) -> None:
    """xapi forgets its text of a VM only if xenopsd still knew the VM, which after a move it does not."""
    vm = running(box)
    migrate(box, vm)
    box.let_xenopsd_know(vm)
    there = box.xapi.life.xenopsd(box.xapi, box.hosts[0].ref)
    metadata = there.export_metadata(box.xapi.database.get("VM", vm, "uuid"))
    metadata["vm"]["ty"] = ["HVM", {"pci_passthrough": True}]
    there.import_metadata(metadata)
    box.xapi.call("VM.pool_migrate", vm, box.hosts[1].ref, {})
    box.let_xenopsd_know(vm)
    assert known(box, vm, box.hosts[1]).passthrough


# -- what forbids it ---------------------------------------------------------------------------------


def test_devices_that_xapi_knows_of_forbid_it_at_once_and_force_changes_nothing(box: PoolInABox) -> None:
    box.xapi.restart_toolstack(box.hosts[1].ref)  # so that it has objects of the VFs
    vm = running(box, f"0/{VF}")
    task = box.wait_for_task(begin(box, vm, force="true"))
    assert task["error_info"] == ["VM_HAS_PCI_ATTACHED", vm]


def test_xen_refuses_the_copy_of_a_guest_with_a_device(box: PoolInABox) -> None:
    """One that xapi has no object of, so does not know of."""
    vm = running(box, f"0/{VF}")
    (code, text) = migrate(box, vm)["error_info"]
    assert (code, "xenguest Invalid argument" in text) == ("INTERNAL_ERROR", True)
    assert shown(box, vm) == ("Running", box.hosts[1].name)
    assert (has(box, vm, box.hosts[1]), has(box, vm, box.hosts[0])) == ((True, [VF]), (False, []))


def test_a_host_without_iommu_takes_no_guest_that_may_have_devices() -> None:
    hosts = [default_description(1, xen_options="iommu=0"), default_description(2, xen_options="iommu=1")]
    with PoolInABox(hosts, interpreter=sys.executable) as box:
        vm = running(box)
        tell_passthrough(box, vm)
        (_, text) = migrate(box, vm)["error_info"]
        assert "IOMMU unavailable" in text
        assert shown(box, vm) == ("Running", box.hosts[1].name)


@pytest.mark.parametrize(
    ("features", "why"), [("3-1", ""), ("1-1", "features"), ("", "features")], ids=["more", "less", "none"]
)
def test_the_cpu_there_must_have_what_the_guest_has_seen(box: PoolInABox, features: str, why: str) -> None:
    there, source = box.hosts
    seen = {"vendor": "GenuineIntel", "features_hvm": "2-1"}
    box.xapi.database.set("host", source.ref, "cpu_info", seen)
    box.xapi.database.set("host", there.ref, "cpu_info", {**seen, "features_hvm": features})
    vm = running(box)
    if not why:
        box.xapi.call("VM.assert_can_boot_here", vm, there.ref)
        assert migrate(box, vm)["status"] == "success"
        return
    for attempt in ("VM.assert_can_boot_here", "VM.pool_migrate"):
        failure = refused(box.xapi.call, attempt, vm, there.ref, *([{}] if "pool" in attempt else []))
        assert failure[0] == "VM_INCOMPATIBLE_WITH_THIS_HOST"
        assert why in failure[3]
    assert box.wait_for_task(begin(box, vm, force="true"))["status"] == "success"


def test_a_hook_may_refuse_it_at_the_source(box: PoolInABox) -> None:
    vm = running(box)
    box.put_hook(box.hosts[1], "vm-pre-migrate", "#!/bin/sh\nexit 2\n")
    assert migrate(box, vm)["error_info"] == [
        *("XAPI_HOOK_FAILED", "vm-pre-migrate/50-test", "source", "", "2"),
    ]
    assert shown(box, vm) == ("Running", box.hosts[1].name)
    assert has(box, vm, box.hosts[1])[0]


# -- what ends it in the middle ------------------------------------------------------------------------


def test_a_cancelled_copy_leaves_the_guest_where_it_is(box: PoolInABox) -> None:
    vm = running(box)
    with box.migration_held_at("copy") as held:
        task = begin(box, vm)
        held.wait()
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
    with box.migration_held_at("suspended") as held:
        task = begin(box, vm)
        held.wait()
        assert box.xapi.database.get("task", task, "allowed_operations") == []
        box.xapi.call("task.cancel", task)
    assert box.wait_for_task(task)["status"] == "success"
    assert shown(box, vm) == ("Running", box.hosts[0].name)


def test_a_failed_copy_leaves_the_guest_where_it_is(box: PoolInABox) -> None:
    vm = running(box)
    with box.migration_held_at("copy") as held:
        task = begin(box, vm)
        held.wait()
        held.fail()
    assert box.wait_for_task(task)["error_info"][0] == "INTERNAL_ERROR"
    assert shown(box, vm) == ("Running", box.hosts[1].name)
    assert migrate(box, vm)["status"] == "success"


def test_a_guest_that_reboots_in_the_copy_does_so_and_is_moved_then(box: PoolInABox) -> None:
    vm, notes = running(box), os.path.join(box.folder, "notes")
    box.put_hook(box.hosts[1], "vm-pre-start", NOTES.format(notes=notes, host="source"), "99-notes")
    with box.migration_held_at("copy") as held:
        task = begin(box, vm)
        held.wait()
        held.guest_reboots()
    assert box.wait_for_task(task)["status"] == "success"
    assert shown(box, vm) == ("Running", box.hosts[0].name)
    with open(notes) as file:
        assert len(file.readlines()) == 1


def test_a_guest_that_shuts_down_in_the_copy_is_halted(box: PoolInABox) -> None:
    vm = running(box)
    with box.migration_held_at("copy") as held:
        task = begin(box, vm)
        held.wait()
        held.guest_shuts_down()
    assert "does not exist in xenopsd" in box.wait_for_task(task)["error_info"][1]
    assert shown(box, vm) == ("Halted", "")
    assert not has(box, vm, box.hosts[0])[0]


@pytest.mark.parametrize("stage", ["copy", "suspended"])
def test_a_source_that_dies_takes_the_guest_along(box: PoolInABox, stage: str) -> None:
    vm, (there, source) = running(box), box.hosts
    with box.migration_held_at(stage) as held:
        task = begin(box, vm)
        held.wait()
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
    with box.migration_held_at("arrived") as held:
        task = begin(box, vm)
        held.wait()
        box.lose(source)
    assert box.wait_for_task(task)["error_info"] == ["CANNOT_CONTACT_HOST", source.ref]
    box.declare_dead(source)
    assert shown(box, vm) == ("Halted", "")
    assert has(box, vm, there)[0]
    box.xapi.restart_toolstack(there.ref)
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
    with box.migration_held_at("copy") as held:
        task = box.xapi.call("Async.VM.pool_migrate", vm, there.ref, {})
        held.wait()
        box.lose(there)
    assert box.wait_for_task(task)["error_info"][0] == "INTERNAL_ERROR"
    assert (shown(box, vm), has(box, vm, source)[0]) == (("Running", source.name), True)


@pytest.mark.parametrize("stage", ["suspended", "plugged"])
def test_a_destination_that_dies_after_the_last_page_takes_the_guest_along(
    box: PoolInABox, on_master: Tuple[str, BoxHost, BoxHost], stage: str
) -> None:
    """And xapi goes on saying that it runs, until the source's xapi looks."""
    vm, source, there = on_master
    with box.migration_held_at(stage) as held:
        task = box.xapi.call("Async.VM.pool_migrate", vm, there.ref, {})
        held.wait()
        box.lose(there)
    assert "does not exist in xenopsd" in box.wait_for_task(task)["error_info"][1]
    assert (shown(box, vm), has(box, vm, source)[0]) == (("Running", source.name), False)
    box.xapi.restart_toolstack(source.ref)
    assert shown(box, vm) == ("Halted", "")


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


# -- pool_migrate_complete ---------------------------------------------------------------------------


def test_complete_reads_the_devices_anew_that_xenopsd_was_told_of(box: PoolInABox) -> None:
    box.xapi.restart_toolstack(box.hosts[1].ref)
    vm, host = running(box, f"0/{VF}"), box.hosts[1]
    box.xapi.database.set("VM", vm, "attached_PCIs", [])
    box.add_user("mover", "vm-power-admin")
    with box.session("mover") as session:
        session.xenapi.VM.pool_migrate_complete(vm, host.ref)
    (pci,) = box.xapi.database.get("VM", vm, "attached_PCIs")
    assert box.xapi.database.get("PCI", pci, "pci_id") == VF
    assert "pool_migrate" not in box.xapi.database.get("VM", vm, "allowed_operations")


def test_complete_of_a_host_that_does_not_know_the_vm_changes_nothing(box: PoolInABox) -> None:
    vm = running(box)
    box.xapi.call("VM.pool_migrate_complete", vm, box.hosts[0].ref)
    assert shown(box, vm) == ("Running", box.hosts[1].name)


# -- suspended -----------------------------------------------------------------------------------------


def test_a_checkpoint_suspends_and_resumes_and_the_flag_is_gone(box: PoolInABox) -> None:
    vm, host = running(box), box.hosts[1]
    tell_passthrough(box, vm)
    made = box.xapi.call("VM.checkpoint", vm, "before the change")
    assert box.power_state(made) == "Suspended"
    assert shown(box, vm) == ("Running", host.name)
    assert not known(box, vm, host).passthrough
    box.xapi.call("VM.revert", made)
    assert shown(box, vm) == ("Suspended", "")


@pytest.mark.parametrize(("pci", "passthrough"), [("", False), (f"0/{VF}", True)])
def test_a_resumed_domain_may_have_devices_if_there_are_entries_then(
    box: PoolInABox, pci: str, passthrough: bool
) -> None:
    """Whatever xenopsd was told before: that is gone with the domain."""
    vm, host = running(box), box.hosts[1]
    tell_passthrough(box, vm)
    box.xapi.database.set("VM", vm, "suspend_SR", "OpaqueRef:any")
    box.xapi.call("VM.suspend", vm)
    assert known(box, vm, host) is None
    box.xapi.call("VM.set_other_config", vm, {"pci": pci} if pci else {})
    box.xapi.call("VM.resume_on", vm, host.ref, False, False)
    assert known(box, vm, host).passthrough is passthrough
    assert has(box, vm, host) == (True, [pci[2:]] if pci else [])


def test_running_guests_have_drivers(box: PoolInABox) -> None:
    metrics = box.xapi.database.get("VM", running(box), "guest_metrics")
    assert box.xapi.database.get("VM_guest_metrics", metrics, "PV_drivers_detected")
