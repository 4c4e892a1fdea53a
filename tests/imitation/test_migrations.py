"""VM.pool_migrate of the box: what goes along, which hooks run, what forbids it, what suspending does."""

import os
import sys

import pytest
from box import PoolInABox
from checks import refused, until
from machine_description import default_description
from migrating import (
    NOTES,
    VF,
    begin,
    domains,
    has,
    held_at,
    known,
    migrate,
    running,
    shown,
    tell_passthrough,
)

HOOKS = ("vm-pre-migrate", "vm-post-migrate", "vm-pre-shutdown", "vm-post-destroy", "vm-pre-start")


@pytest.fixture
def box(iommu_box: PoolInABox) -> PoolInABox:
    return iommu_box


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
    with held_at(box, vm, "copy") as (_, task):
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


def test_to_its_own_host_it_goes_from_one_domain_to_another(box: PoolInABox) -> None:
    """That of a checkpointed VM takes no device, the next one does."""
    vm, host = running(box), box.hosts[1]
    box.xapi.call("VM.checkpoint", vm, "before the change")
    (before,) = domains(host)
    tell_passthrough(box, vm)
    box.xapi.call("VM.pool_migrate", vm, host.ref, {})
    assert shown(box, vm) == ("Running", host.name)
    assert [(before["passthrough"], domain["passthrough"]) for domain in domains(host)] == [(False, True)]
    assert len(box.xapi.life.xenopsd(box.xapi, host.ref).uuids()) == 1


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


def test_a_host_without_the_vms_network_takes_it_not(box: PoolInABox) -> None:
    vm, (there, source) = running(box), box.hosts
    database = box.xapi.database
    network = database.create("network", {"name_label": "storage"})
    database.create("PIF", {"host": source.ref, "network": network})
    database.create("VIF", {"VM": vm, "network": network, "device": "0"})
    for method, further in (("VM.assert_can_boot_here", ()), ("VM.pool_migrate", ({},))):
        failure = refused(box.xapi.call, method, vm, there.ref, *further)
        assert failure == ["VM_REQUIRES_NETWORK", vm, network]


def test_qemu_may_have_a_device_whose_state_it_cannot_send(box: PoolInABox) -> None:
    """xapi refuses once it knows, xenopsd anyhow, before any hook."""
    vm = running(box)
    box.set_unmigratable(vm, "State blocked", xapi_knows=False)
    uuid = box.xapi.database.get("VM", vm, "uuid")
    assert migrate(box, vm)["error_info"] == ["DEVICE_DETACH_REJECTED", "VM", uuid, "State blocked"]
    box.set_unmigratable(vm, "State blocked")
    assert migrate(box, vm)["error_info"] == ["VM_NON_SUSPENDABLE", vm, "State blocked"]
    box.set_unmigratable(vm, "")
    assert migrate(box, vm)["status"] == "success"


def test_a_hook_may_refuse_it_at_the_source(box: PoolInABox) -> None:
    vm = running(box)
    box.put_hook(box.hosts[1], "vm-pre-migrate", "#!/bin/sh\nexit 2\n")
    assert migrate(box, vm)["error_info"] == [
        *("XAPI_HOOK_FAILED", "vm-pre-migrate/50-test", "source", "", "2"),
    ]
    assert shown(box, vm) == ("Running", box.hosts[1].name)
    assert has(box, vm, box.hosts[1])[0]


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


def test_a_resume_that_names_no_host(box: PoolInABox) -> None:
    """xapi chooses one, as for a start."""
    vm = running(box)
    box.xapi.database.set("VM", vm, "suspend_SR", "OpaqueRef:any")
    box.xapi.call("VM.suspend", vm)
    box.xapi.database.set("host", box.hosts[0].ref, "enabled", False)
    box.xapi.call("VM.resume", vm, False, False)
    record = box.xapi.call("VM.get_record", vm)
    assert (record["power_state"], record["resident_on"]) == ("Running", box.hosts[1].ref)


def test_running_guests_have_drivers(box: PoolInABox) -> None:
    metrics = box.xapi.database.get("VM", running(box), "guest_metrics")
    assert box.xapi.database.get("VM_guest_metrics", metrics, "PV_drivers_detected")
