"""Running VMs go to other hosts with VFs: what is done in which order, and what becomes of them at each step
that fails or is cut off."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import kernel_xen
import pytest
from interference import calls_told, cut_at, meanwhile
from live_moves import (
    THERE,
    UNCONFIRMED,
    VF,
    driven,
    has_left,
    is_whole,
    migrate,
    qemu,
    refused_code,
    running_with_vf,
)
from managed_pool import Pool, other_slot
from sriovlib.errors import SriovError
from sriovlib.machine import xenstore
from sriovlib.pool import host_answers, settling
from values import NULL

pytestmark = pytest.mark.story


@pytest.fixture
def web(pool: Pool) -> str:
    return running_with_vf(pool)


@pytest.mark.pool(describe=other_slot)
def test_a_running_vm_goes_with_its_vf(pool: Pool, web: str) -> None:
    answer = migrate(pool, web, pool.other)
    seconds = answer.pop("seconds")
    assert answer == {
        "vm_uuid": web,
        "host_uuid": pool.other.uuid,
        "from_uuid": pool.one.uuid,
        "changed": True,
        "vfs": [{"request": 1, "vf": THERE, "before": VF}],
        "warnings": [],
    }
    assert sorted(seconds) == ["copy", "plug", "unplug", "without_vf"]
    is_whole(pool, web, pool.other, THERE)
    has_left(pool, web, pool.one, VF)
    assert migrate(pool, web, pool.other)["changed"] is False
    migrate(pool, web, pool.one)
    is_whole(pool, web, pool.one, VF)
    has_left(pool, web, pool.other, THERE)
    pool.guest_reboots(web)
    is_whole(pool, web, pool.one, VF)
    pool.shut_down(web)
    assert pool.conflicts() == []


def test_dry_run_looks_and_changes_nothing(pool: Pool, web: str) -> None:
    before = pool.everything()
    answer = migrate(pool, web, pool.other, dry_run="true")
    assert (answer["changed"], answer["would_change"], answer["seconds"]) == (False, True, {})
    assert answer["vfs"] == [{"request": 1, "vf": VF, "before": VF}]
    assert pool.everything() == before
    is_whole(pool, web, pool.one, VF)


def test_move_to_where_it_runs_says_whether_it_gave_the_vm_its_vf(pool: Pool, web: str) -> None:
    assert migrate(pool, web, pool.one, dry_run="true")["would_change"] is False
    pool.call("detach_vfs", vm=web)
    assert migrate(pool, web, pool.one)["changed"] is True
    is_whole(pool, web, pool.one, VF)
    assert migrate(pool, web, pool.one)["changed"] is False


def test_paused_vm_is_to_run_first(pool: Pool, web: str) -> None:
    pool.call("detach_vfs", vm=web)
    pool.box.xapi.database.set("VM", pool.ref(web), "power_state", "Paused")
    pool.refused("attach_vfs", vm=web).says("SRIOV_BUSY", "web is paused", "xe vm-unpause")
    assert pool.listed(web)["move"]["state"] == "detached"


def test_vm_that_was_reverted_to_its_time_without_vfs_is_told_how_it_gets_them(pool: Pool, web: str) -> None:
    pool.call("detach_vfs", vm=web)
    snapshot = pool.snapshot(web)
    pool.call("attach_vfs", vm=web)
    pool.shut_down(web)
    pool.revert(snapshot)
    pool.start(web, pool.one)
    pool.refused("detach_vfs", vm=web).says("SRIOV_CANNOT_MOVE", VF, "`reinstate_vfs`")
    pool.shut_down(web)
    pool.reinstate(web)
    pool.start(web, pool.one)
    is_whole(pool, web, pool.one, VF)


@pytest.mark.usefixtures("hurried")
def test_guest_that_keeps_its_vf_is_left_as_it_was(pool: Pool, web: str) -> None:
    qemu(web, pool.one).keeps = True
    with pytest.raises(SriovError) as refused:
        pool.act("migrate_vm", vm=web, on=pool.other, timeout="2", **UNCONFIRMED)
    assert refused.value.code == "SRIOV_GUEST_KEEPS_VF"
    assert VF in refused.value.message
    is_whole(pool, web, pool.one, VF)


@pytest.mark.pool(describe=other_slot)
def test_vms_that_xapi_does_not_move_have_their_vfs_again(pool: Pool, web: str) -> None:
    disabled = meanwhile("Async.VM.pool_migrate", lambda: pool.api("host.disable", pool.other.ref))
    with disabled, pytest.raises(SriovError) as refused:
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    assert refused.value.code == "SRIOV_NOT_MOVED"
    assert "HOST_DISABLED" in refused.value.message
    assert f"runs on {pool.one.name} with its VFs" in refused.value.message
    is_whole(pool, web, pool.one, VF)
    has_left(pool, web, pool.other, THERE)


@pytest.mark.pool(describe=other_slot)
def test_vf_that_is_taken_meanwhile_is_replaced_by_another(pool: Pool, web: str) -> None:
    def taken() -> None:
        pool.other.machine.start_domain(pool.vm("thief"), "thief", [THERE])

    with meanwhile("task.destroy", taken):
        answer = pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    assert answer["vfs"] == [{"request": 1, "vf": "0000:09:10.2", "before": VF}]
    assert driven(web, pool.other) == ["0000:09:10.2"]


def other_has_the_name(pool: Pool, vm: str, is_there: bool) -> None:
    """Of the VF: its QEMU on the other host has a device of that name, so plugging fails there."""
    named = "pci-pt-09_10.0"
    (domid,) = xenstore.domains_of(pool.other.machine, vm) or []
    with pool.other.machine.changed() as sysfs:
        found: Any = kernel_xen.find(sysfs, domid)
        found["qemu"].pop(named, None)
        if is_there:
            found["qemu"][named] = "0001:09:10.0"


@pytest.fixture
def degraded(pool: Pool, web: str) -> str:
    """It has come to the other host, and could not have its VF there."""
    fails = meanwhile("task.destroy", lambda: other_has_the_name(pool, web, True))
    with fails, pytest.raises(SriovError) as refused:
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    assert refused.value.code == "SRIOV_MOVED_WITHOUT_VF"
    assert "Duplicate ID" in refused.value.message
    return web


@pytest.mark.pool(describe=other_slot)
def test_vm_without_its_vf_is_moved_on_to_where_it_can_have_one(pool: Pool, degraded: str) -> None:
    assert migrate(pool, degraded, pool.one, dry_run="true")["would_change"]
    migrate(pool, degraded, pool.one)
    is_whole(pool, degraded, pool.one, VF)
    has_left(pool, degraded, pool.other, THERE)


@pytest.mark.pool(describe=other_slot)
def test_vm_without_its_vf_keeps_no_host_from_being_evacuated(pool: Pool, degraded: str) -> None:
    """xapi makes its next domain as one that takes no device; the move after that as one that does."""
    pool.api("VM.set_name_label", pool.ref(degraded), "renamed")
    pool.box.let_xenopsd_know(pool.ref(degraded))
    pool.api("VM.pool_migrate", pool.ref(degraded), pool.one.ref, {"live": "true"})
    assert refused_code(pool, "attach_vfs", degraded) == "SRIOV_MOVED_WITHOUT_VF"
    migrate(pool, degraded, pool.other)
    is_whole(pool, degraded, pool.other, THERE)


@pytest.mark.pool(describe=other_slot)
def test_plugging_that_fails_leaves_the_vm_running_and_is_tried_again(pool: Pool, degraded: str) -> None:
    web = degraded
    assert (pool.power_state(web), driven(web, pool.other), pool.pci(web)) == ("Running", [], None)
    pool.conflict("VF_DEGRADED", "VM web", pool.other.name, vms=[web], host=pool.other)
    assert pool.listed(web)["move"]["state"] == "arrived"
    assert refused_code(pool, "attach_vfs", web) == "SRIOV_MOVED_WITHOUT_VF"
    other_has_the_name(pool, web, False)
    assert pool.call("attach_vfs", vm=web)["vfs"] == [{"request": 1, "vf": THERE}]
    is_whole(pool, web, pool.other, THERE)


STRIDE = 4  # all cuts take two minutes


@pytest.mark.pool(describe=other_slot)
def test_cut_off_anywhere_the_next_call_ends_it(pool: Pool, web: str) -> None:
    """Before calls that the master makes to xapi: wherever the VM is then, it is whole after one more call,
    and nobody has a VF twice."""
    places = [(pool.one, VF), (pool.other, THERE)]
    for number in itertools.count(1, STRIDE):
        if resides(pool, web) != places[0][0].ref:
            places.reverse()
        target = places[1][0]
        cut = cut_at(number, partial(pool.act, "migrate_vm", vm=web, on=target, **UNCONFIRMED))
        wait_until_still(pool, web)
        said_is_so(pool, web)
        pool.act("attach_vfs", vm=web)
        if resides(pool, web) == target.ref:
            places.reverse()
        is_whole(pool, web, *places[0])
        has_left(pool, web, *places[1])
        if not cut:
            assert number > 40
            return


def said_is_so(pool: Pool, vm: str) -> None:
    """Of whether it has its VFs, while its move is not over."""
    (here,) = [host for host in pool.hosts if host.ref == resides(pool, vm)]
    has = "with its VFs" if driven(vm, here) else "without its VFs"
    said = [f"VM web ({vm}) runs on {here.name} {has}"] if pool.listed(vm)["move"] else []
    assert [one["message"][: len(said[0])] for one in pool.conflicts()] == said


def resides(pool: Pool, vm: str) -> Any:
    return pool.record(vm)["resident_on"]


def wait_until_still(pool: Pool, vm: str) -> None:
    """A move that xapi was asked for goes on without who asked."""
    assert pool.box.wait_for_calls()
    assert pool.record(vm)["current_operations"] == {}


def test_flag_that_is_lost_before_the_move_is_set_again(pool: Pool, web: str) -> None:
    """Somebody renames the VM after its VF was unplugged: xapi tells xenopsd that it takes no devices."""

    def rename() -> None:
        pool.api("VM.set_name_label", pool.ref(web), "renamed")
        pool.box.let_xenopsd_know(pool.ref(web))

    with meanwhile("Async.VM.pool_migrate", rename):
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    is_whole(pool, web, pool.other, VF)


def test_move_without_the_flag_is_refused_and_the_vm_has_its_vf_again(pool: Pool, web: str) -> None:
    def renamed(_number: int, method: str, *_params: Any) -> None:
        if method == "Async.VM.pool_migrate":
            pool.api("VM.set_name_label", pool.ref(web), f"renamed {time.monotonic()}")
            pool.box.let_xenopsd_know(pool.ref(web))

    with calls_told(renamed), pytest.raises(SriovError) as refused:
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    assert refused.value.code == "SRIOV_NOT_MOVED"
    assert "record was changed" in refused.value.message
    is_whole(pool, web, pool.one, VF)


@pytest.mark.pool(describe=other_slot)
def test_vm_that_is_lost_in_the_copy_is_said_to_be_lost(
    pool: Pool, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other host dies when the copy is through: xapi goes on saying that the VM runs where it was, also
    after as long as a guest's reboot may take."""
    monkeypatch.setattr(settling, "REBOOT_SECONDS", 1)
    with pool.box.migration_held_at("suspended") as held, ThreadPoolExecutor(1) as threads:
        moved = threads.submit(pool.act, "migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
        held.wait()
        pool.box.lose(pool.other, noticed=False)
        with pytest.raises(SriovError) as refused:
            moved.result()
    assert refused.value.code == "SRIOV_NOT_MOVED"
    (degraded,) = [one for one in pool.conflicts() if one["code"] == "VF_DEGRADED"]
    assert "is not on host1, where xapi says that it runs" in degraded["message"]
    assert "`xe-toolstack-restart` on host1" in degraded["hint"]


@pytest.mark.pool(describe=other_slot)
def test_guest_that_reboots_in_the_copy_goes_with_its_vf(pool: Pool, web: str) -> None:
    """xapi begins anew with the guest as it has started by then: without a device, and as one that takes
    some. Our hooks have nothing against either."""
    with pool.box.migration_held_at("copy") as held, ThreadPoolExecutor(1) as threads:
        moved = threads.submit(pool.act, "migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
        held.wait()
        held.guest_reboots()
        held.go_on()
        assert [one["vf"] for one in moved.result()["vfs"]] == [THERE]
    is_whole(pool, web, pool.other, THERE)
    has_left(pool, web, pool.one, VF)


@pytest.mark.pool(describe=other_slot)
def test_guest_that_shuts_down_in_the_copy_is_halted(pool: Pool, web: str) -> None:
    with pool.box.migration_held_at("copy") as held, ThreadPoolExecutor(1) as threads:
        moved = threads.submit(pool.act, "migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
        held.wait()
        held.guest_shuts_down()
        held.go_on()
        with pytest.raises(SriovError) as refused:
            moved.result()
    assert refused.value.code == "SRIOV_NOT_MOVED"
    assert "It does not run any more" in refused.value.message
    pool.start(web, pool.one)
    is_whole(pool, web, pool.one, VF)
    has_left(pool, web, pool.other, THERE)


@pytest.mark.parametrize(
    ("values", "args", "words"),
    [
        ({}, {"unconfirmed": "false"}, "nobody has confirmed"),
        ({"VM_metrics": {"nomigrate": True}}, {}, "force=true"),
        ({"VM_metrics": {"nested_virt": True}}, {"force": "true"}, "nested virtualisation"),
        ({"VUSBs": ["OpaqueRef:1"]}, {}, "VUSBs"),
        ({"attached_PCIs": "0000:00:1b.0"}, {}, "0000:00:1b.0, which no request"),
        ({"blocked_operations": {"pool_migrate": "Its owner says so."}}, {}, "Its owner says so."),
        ({"VIFs": []}, {}, "no attached VIF in lan12"),
        ({"guest_metrics": NULL}, {}, "PV drivers"),
    ],
)
def test_what_is_in_the_way_is_said_before_anything_is_done(
    pool: Pool, web: str, values: Any, args: Any, words: str
) -> None:
    for field, value in values.items():
        if field == "VIFs":
            for vif in pool.record(web)["VIFs"]:
                pool.box.xapi.database.destroy("VIF", vif)
        elif field == "VM_metrics":
            for name, said in value.items():
                pool.box.xapi.database.set(field, pool.record(web)["metrics"], name, said)
        elif field == "attached_PCIs":
            device = pool.box.xapi.database.create("PCI", {"host": pool.one.ref, "pci_id": value})
            pool.box.xapi.database.set("VM", pool.ref(web), field, [device])
        else:
            pool.box.xapi.database.set("VM", pool.ref(web), field, value)
    refusal = pool.refused("migrate_vm", vm=web, on=pool.other, **{**UNCONFIRMED, **args})
    refusal.says("SRIOV_CANNOT_MOVE", words)
    assert driven(web, pool.one) == [VF]


def test_vm_of_an_earlier_version_is_moved_by_force(pool: Pool, web: str) -> None:
    """It was started with platform:nomigrate, which xapi goes by until it ends, be the key there or not."""
    intel, amd = ({"vendor": vendor, "features_hvm": "1-2"} for vendor in ("GenuineIntel", "AuthenticAMD"))
    pool.box.xapi.database.set("host", pool.one.ref, "cpu_info", intel)
    pool.shut_down(web)
    pool.xenopsd_has_heard(web)
    pool.api("VM.add_to_platform", pool.ref(web), "nomigrate", "true")
    pool.start(web, pool.one)
    pool.api("VM.remove_from_platform", pool.ref(web), "nomigrate")
    pool.box.xapi.database.set("host", pool.other.ref, "cpu_info", amd)
    for force, words in (("false", "force=true"), ("true", "CPU from a different vendor")):
        refusal = pool.refused("migrate_vm", vm=web, on=pool.other, force=force, **UNCONFIRMED)
        refusal.says("SRIOV_CANNOT_MOVE", words)
    pool.box.xapi.database.set("host", pool.other.ref, "cpu_info", intel)
    migrate(pool, web, pool.other, force="true")
    is_whole(pool, web, pool.other, VF)


def test_host_that_does_not_answer_is_named(pool: Pool, web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(pool, web, pool.other)
    monkeypatch.setattr(host_answers, "SECONDS", 0.5)
    with pool.box.hanging(pool.other), pytest.raises(SriovError) as refused:
        pool.act("migrate_vm", vm=web, on=pool.one, **UNCONFIRMED)
    assert refused.value.code == "SRIOV_HOST_SILENT"
    assert f"Host {pool.other.name} did not answer" in refused.value.message
    is_whole(pool, web, pool.other, VF)
