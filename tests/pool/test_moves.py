"""What xapi makes of moving VMs with VFs, and what administrators and Xen Orchestra make of that."""

import json
import os
import time
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import xen_orchestra
from box_host import BoxHost
from managed_pool import Pool
from sriovlib.pool import pinning
from sriovlib.starts import pin
from sriovlib.vf import start_notes
from sriovlib.xapi.session import Xapi, XapiFailure
from values import Failure

pytestmark = pytest.mark.story

REFUSES = """from sriovlib.starts import handover
def refuse(*_): raise hooks.SriovError("SRIOV_BUSY", "Busy.", "Call again.")
handover.arrive = refuse"""
FULL = "def full(*_): raise OSError(28, 'No space')\nhooks.start_notes.write = full"  # of its note
MOVES = set(pinning.OPERATIONS)


def knows_vfs(pool: Pool, *hosts: BoxHost) -> None:
    """xapi starts again on these hosts, and finds the VFs that were made since."""
    for host in hosts:
        pool.box.xapi.restart_toolstack(host.ref)
        pin.lift_known(host.machine)


def prevents_evacuation(pool: Pool, vm: str, host: BoxHost) -> str:
    """The code by which xapi says that it cannot send this VM away from there."""
    ((ref, reason),) = pool.api("host.get_vms_which_prevent_evacuation", host.ref).items()
    assert ref == pool.ref(vm)
    return str(reason[0])


def test_a_vm_whose_vf_xapi_does_not_know_is_not_moved(pool: Pool) -> None:
    web = pool.with_vf("web", vlan="12")
    assert pool.blocks(web) == {}
    pool.api("VM.add_to_blocked_operations", pool.ref(web), "suspend", "Its owner says so.")
    pool.start(web, pool.one)
    assert set(pool.blocks(web)) == MOVES
    with pytest.raises(Failure) as refused:
        pool.api("VM.pool_migrate", pool.ref(web), pool.other.ref, {"force": "true"})
    code, _, text = refused.value.description
    assert code == "OPERATION_BLOCKED"
    assert all(word in text for word in ("VM web", "0000:07:10.0", pool.one.name, "xe-toolstack-restart"))
    assert prevents_evacuation(pool, web, pool.one) == "OPERATION_BLOCKED"
    with pytest.raises(xen_orchestra.Aborted):
        xen_orchestra.rolling_pool_update(pool)
    pool.reboot(web)
    assert set(pool.blocks(web)) == MOVES
    pool.shut_down(web)
    assert pool.blocks(web) == {"suspend": "Its owner says so."}


def test_moves_are_left_to_xapi_once_it_knows_the_vf(pool: Pool) -> None:
    web = pool.with_vf("web")
    pool.start(web, pool.one)
    pin.lift_known(pool.one.machine)  # xapi has found nothing new
    assert set(pool.blocks(web)) == MOVES
    knows_vfs(pool, pool.one)
    assert pool.blocks(web) == {}
    assert prevents_evacuation(pool, web, pool.one) == "VM_HAS_PCI_ATTACHED"
    pool.shut_down(web)
    pool.start(web, pool.one)
    assert pool.blocks(web) == {}


def test_our_unit_waits_until_xapi_has_looked_at_its_devices(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd takes xapi for started at once (Type=simple), so the unit comes long before that."""
    web = pool.with_vf("web")
    pool.start(web, pool.one)
    machine = pool.one.machine
    machine.remove_file(pin.INITIALISED)

    def is_through(_seconds: float) -> None:
        pool.box.xapi.restart_toolstack(pool.one.ref)
        machine.replace_file(pin.INITIALISED, b"")

    monkeypatch.setattr(pin, "time", SimpleNamespace(sleep=is_through, monotonic=time.monotonic))
    pin.lift_known(machine)
    assert pool.blocks(web) == {}


def test_blocks_of_a_vm_that_ended_while_xapi_was_away_go_when_it_is_back(pool: Pool) -> None:
    web, db = pool.with_vf("web"), pool.with_vf("db")
    for vm in (web, db):
        pool.start(vm, pool.one)
    with pool.box.silent_xapi(pool.one):
        pool.guest_shuts_down(web)
    assert set(pool.blocks(web)) == MOVES
    pin.lift_known(pool.one.machine)
    assert (pool.blocks(web), set(pool.blocks(db))) == ({}, MOVES)


def test_a_start_or_reboot_that_is_refused_leaves_no_block(pool: Pool) -> None:
    web = pool.with_vf("web")
    with pool.changed_hook(pool.one, REFUSES):
        assert pool.outcome(web, pool.one) == "SRIOV_BUSY"
    assert pool.blocks(web) == {}
    pool.start(web, pool.one)
    pool.set_pci(web, f"{pool.pci(web)},7/0000:02:00.0")  # the management NIC
    pool.reboot_refused(web)
    assert pool.blocks(web) == {}


def test_a_vm_is_blocked_where_that_cannot_be_noted(pool: Pool) -> None:
    """Root may do anything, so something that is no file stands in the note's place."""
    web = pool.with_vf("web")
    os.makedirs(pool.one.machine.path(f"{start_notes.BLOCKED}{web}/in-the-way"))
    pool.start(web, pool.one)
    assert set(pool.blocks(web)) == MOVES
    assert "its moves are blocked until its next start or change" in pool.log(pool.one)


def test_a_reboot_that_plugs_a_vf_more_blocks_the_moves(pool: Pool) -> None:
    web = pool.vm("web")
    pool.start(web, pool.one)
    pool.set_pci(web, "0/0000:07:10.0")
    pool.guest_reboots(web)
    assert pool.devices(web) == ["0000:07:10.0"]
    assert set(pool.blocks(web)) == MOVES


def test_a_refusal_of_a_starting_xapi_does_not_forget_a_block(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = pool.with_vf("web")
    pool.start(web, pool.one)
    pool.box.xapi.restart_toolstack(pool.one.ref)
    call, refusals = Xapi.call, [1, 2]

    def refuses(xapi: Xapi, method: str, *arguments: Any) -> Any:
        if method == "VM.get_by_uuid" and refusals:
            refusals.pop()
            raise XapiFailure(["HOST_STILL_BOOTING"])
        return call(xapi, method, *arguments)

    monkeypatch.setattr(Xapi, "call", refuses)
    with monkeypatch.context() as patch:
        patch.setattr(pin, "ATTACH_SECONDS", -1)
        with pytest.raises(XapiFailure):
            pin.lift_known(pool.one.machine)
    assert set(pool.blocks(web)) == MOVES
    pin.lift_known(pool.one.machine)  # is refused once more, and asks again
    assert (pool.blocks(web), refusals) == ({}, [])


def test_blocks_of_a_run_that_a_dead_host_ended_go_with_the_next_start_or_change(pool: Pool) -> None:
    web, db = pool.with_vf("web"), pool.with_vf("db")
    for vm in (web, db):
        pool.start(vm, pool.one)
    with pool.lost(pool.one):
        pool.box.declare_dead(pool.one)
    assert set(pool.blocks(web)) == MOVES
    pool.box.xapi.restart_toolstack(pool.one.ref)
    pool.start(web, pool.one)
    pool.unassign(db)
    assert (pool.blocks(web), pool.blocks(db)) == ({}, {})


def test_blocks_that_a_revert_brings_back_go_with_the_next_start(pool: Pool) -> None:
    """A snapshot has none itself, but keeps what its VM had then."""
    web = pool.with_vf("web")
    pool.start(web, pool.one)
    snapshot = pool.snapshot(web)
    assert pool.blocks(snapshot) == {}
    knows_vfs(pool, pool.one)
    pool.revert(snapshot)
    assert set(pool.blocks(web)) == MOVES
    pool.start(web, pool.one)
    assert pool.blocks(web) == {}


def test_an_earlier_builds_nomigrate_goes_with_the_next_start_or_change(pool: Pool) -> None:
    knows_vfs(pool, pool.one)
    web, db, own = pool.with_vf("web"), pool.with_vf("db"), pool.with_vf("own")
    for vm in (web, db, own):
        pool.api("VM.add_to_platform", pool.ref(vm), "nomigrate", "true")
    for vm in (web, db):
        pool.set_ledger(vm, json.dumps({**pool.ledger(vm), "nomigrate": True}))
    pool.start(web, pool.one)
    pool.reinstate(db)
    pool.reinstate(own)
    kept = [pool.record(vm)["platform"].get("nomigrate") for vm in (web, db, own)]
    assert kept == [None, None, "true"]  # the last one its owner has set


def test_a_rolling_update_shuts_vms_with_vfs_down_and_starts_them_where_they_were(pool: Pool) -> None:
    knows_vfs(pool, *pool.hosts)
    web, db = pool.with_vf("web", vlan="12"), pool.with_vf("db", on=pool.other, vlan="13")
    plain = pool.vm("plain")
    for vm, host in ((web, pool.one), (db, pool.other), (plain, pool.one)):
        pool.start(vm, host)
    had = {vm: (pool.devices(vm), pool.mac(vm)) for vm in (web, db)}

    xen_orchestra.rolling_pool_update(pool)

    for vm, host, vlan in ((web, pool.one, 12), (db, pool.other, 13)):
        (device,) = pool.devices(vm)
        assert ([device], pool.mac(vm)) == had[vm]
        assert pool.settings(host, device) == (pool.mac(vm), vlan)
    assert [pool.record(vm)["resident_on"] for vm in (web, db, plain)] == [
        *(pool.one.ref, pool.other.ref, pool.one.ref)
    ]
    assert "SRIOV_RESTARTING" not in pool.log(pool.one) + pool.log(pool.other)


def test_a_smart_reboot_suspends_no_vm_with_vfs(pool: Pool) -> None:
    web, plain = pool.with_vf("web"), pool.vm("plain", suspend_SR="OpaqueRef:a repository")
    for vm in (web, plain):
        pool.start(vm, pool.one)
    with pytest.raises(xen_orchestra.Aborted):
        xen_orchestra.smart_reboot(pool, pool.one)
    assert (pool.power_state(web), pool.power_state(plain)) == ("Running", "Running")
    xen_orchestra.smart_reboot(pool, pool.one, forced=True)
    assert (pool.power_state(web), pool.power_state(plain)) == ("Halted", "Running")
    assert set(pool.blocks(web)) == {"suspend"}
    pool.start(web, pool.one)  # its VF is there since before xapi started
    assert (pool.devices(web), pool.blocks(web)) == (["0000:07:10.0"], {})


def test_a_backup_of_xen_orchestra_around_a_start_leaves_no_hole(pool: Pool) -> None:
    """It takes its own blocks away at its end, and ours were kept out by them: the hook stops the move."""
    web = pool.with_vf("web")
    with xen_orchestra.backup(pool, web):
        pool.start(web, pool.one)
    assert set(pool.blocks(web)) == {"suspend", "checkpoint"}
    with pytest.raises(Failure) as refused:
        pool.api("VM.pool_migrate", pool.ref(web), pool.other.ref, {"live": "true"})
    assert pool.refusal(web, refused.value).code == "SRIOV_VM_NOT_HALTED"
    assert pool.devices(web) == ["0000:07:10.0"]


@pytest.mark.parametrize("note", ["has no settings", "could not be written"])
def test_no_vf_by_hand_or_without_a_note_stays_behind(pool: Pool, note: str) -> None:
    """Xen Orchestra's blocks kept ours out, and are gone."""
    is_by_hand = note == "has no settings"
    web = pool.vm("web", "0/0000:07:10.0") if is_by_hand else pool.with_vf("web")
    with xen_orchestra.backup(pool, web), ExitStack() as full:
        if not is_by_hand:
            full.enter_context(pool.changed_hook(pool.one, FULL))
        pool.start(web, pool.one)
    with pytest.raises(Failure) as refused:
        pool.api("VM.pool_migrate", pool.ref(web), pool.other.ref, {"live": "true"})
    assert pool.refusal(web, refused.value).says("SRIOV_VM_NOT_HALTED", "0000:07:10.0")
    assert pool.devices(web) == ["0000:07:10.0"]


def test_an_entry_that_is_not_plugged_yet_keeps_no_vm(pool: Pool) -> None:
    web = pool.vm("web")
    pool.start(web, pool.one)
    pool.set_pci(web, "0/0000:07:10.0")
    pool.api("VM.pool_migrate", pool.ref(web), pool.other.ref, {"live": "true"})
    assert pool.record(web)["resident_on"] == pool.other.ref


def test_blocks_that_a_backup_writes_back_go_again(pool: Pool) -> None:
    web = pool.with_vf("web")
    pool.start(web, pool.one)
    with xen_orchestra.backup(pool, web):
        knows_vfs(pool, pool.one)
    assert set(pool.blocks(web)) == {"pool_migrate", "migrate_send"}
    knows_vfs(pool, pool.one)
    assert pool.blocks(web) == {}

    db = pool.with_vf("db", on=pool.other)
    pool.start(db, pool.other)
    with xen_orchestra.backup(pool, db):
        pool.shut_down(db)
    pool.set_pci(db, None)
    pool.start(db, pool.other)
    assert pool.blocks(db) == {}
