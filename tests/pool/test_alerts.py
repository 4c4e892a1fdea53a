"""What needs a person: one message of xapi's for each thing and object, which goes when that is over."""

import json
import os
import time
from typing import Any, Callable

import pytest
from alerted import (
    CONF,
    REPLACED_TWICE,
    RESTORE_FAILED,
    VF,
    VF_MISSING,
    WITHOUT_PLUGIN,
    again,
    cannot_be_restored,
    checked,
    keys,
    moved_long_ago,
    put_right,
    text,
    told,
)
from box_host import PLUGIN, BoxHost, plugin_of_version, set_plugin
from live_moves import UNCONFIRMED, running_with_vf, suspended
from machine_description import default_description
from managed_pool import OTHER_SLOTS, Pool, other_slot
from sriovlib.errors import SriovError
from sriovlib.pool.alerts import Alert, check, messages
from sriovlib.vf import inventory, restore, start_notes
from sriovlib.xapi.own_session import OwnSession
from sriovlib.xapi.session import Xapi

pytestmark = pytest.mark.story

NEXT_VF = "0000:07:10.2"
NAMES = "we\"b' <&>\n\x85x"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found is looked at once more without waiting."""
    monkeypatch.setattr(check, "AGAIN_SECONDS", 0)


# -- what is told ----------------------------------------------------------------------------------------


def test_nothing_is_told_of_a_pool_without_troubles(pool: Pool) -> None:
    pool.start(pool.with_vf("web"), pool.one)
    assert checked(pool) == {}
    assert keys(pool) == []


def test_a_restore_that_failed(pool: Pool) -> None:
    cannot_be_restored(pool.other)
    assert checked(pool) == {pool.other.uuid: RESTORE_FAILED}
    assert all(word in text(pool) for word in ("Host host2", "0000:0e:00.0", "sriov-restore"))
    (record,) = pool.api("message.get_all_records").values()
    assert (record["cls"], record["priority"]) == ("Host", 3)
    put_right(pool.other)
    assert checked(pool) == {}
    assert keys(pool) == []


def test_a_line_of_the_file_that_is_wrong(pool: Pool) -> None:
    pool.one.machine.replace_file(CONF, b"[host]\npciback = perhaps\n")
    restore.restore(pool.one.machine)
    assert checked(pool) == {pool.one.uuid: RESTORE_FAILED}
    assert "pciback" in text(pool)


def test_a_restore_that_ends_in_the_middle(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_args: Any) -> None:
        raise OSError("sysfs is gone")

    with monkeypatch.context() as during:
        during.setattr(inventory, "look_to_act", fails)
        with pytest.raises(OSError, match="sysfs"):
            restore.restore(pool.one.machine)
    assert checked(pool) == {pool.one.uuid: RESTORE_FAILED}
    restore.restore(pool.one.machine)
    assert checked(pool) == {}


@pytest.mark.pool(hooks=False)
def test_a_host_without_the_package(pool: Pool) -> None:
    new = pool.box.add_host(default_description(3), plugin=None)
    assert checked(pool) == {}  # no VM could miss it
    vm = pool.with_vf("web")
    assert checked(pool) == {new.uuid: WITHOUT_PLUGIN}
    assert all(word in text(pool) for word in ("host3", "web", "on that host"))
    set_plugin(new, PLUGIN)
    assert checked(pool) == {}
    set_plugin(new, None)
    assert checked(pool) == {new.uuid: WITHOUT_PLUGIN}
    pool.unassign(vm)
    assert checked(pool) == {}


@pytest.mark.pool(hooks=False)
def test_a_host_without_the_package_where_a_vm_may_have_requests(pool: Pool) -> None:
    """As far as can be read no VM has, and that is not known to be over."""
    new = pool.box.add_host(default_description(3), plugin=None)
    vm = pool.with_vf("web")
    assert checked(pool) == {new.uuid: WITHOUT_PLUGIN}
    pool.set_ledger(vm, "{")
    assert checked(pool) == {new.uuid: WITHOUT_PLUGIN}
    pool.set_ledger(vm, None)
    assert checked(pool) == {}


def test_a_host_with_another_version(pool: Pool, tmp_path: Any) -> None:
    pool.with_vf("web")
    set_plugin(pool.other, plugin_of_version(str(tmp_path / "plugins"), "0.0.9"))
    assert checked(pool) == {pool.other.uuid: WITHOUT_PLUGIN}
    assert "0.0.9" in text(pool)


def test_a_running_vm_whose_vf_is_gone(pool: Pool) -> None:
    vm = pool.with_vf("web")
    pool.start(vm, pool.one)
    gone(pool.one)
    assert checked(pool) == {vm: VF_MISSING}
    assert all(word in text(pool) for word in ("web", "host1", VF, "sriov-restore", "Shut it down"))
    pool.shut_down(vm)
    assert checked(pool) == {}


def test_a_running_vm_that_was_started_without_its_vf(pool: Pool) -> None:
    vm = pool.with_vf("web")
    pool.set_pci(vm, None)
    pool.start(vm, pool.one)
    assert checked(pool) == {vm: VF_MISSING}
    assert f"its domain does not have {VF}" in text(pool)
    pool.shut_down(vm)
    pool.reinstate(vm)
    pool.start(vm, pool.one)
    assert checked(pool) == {}


def test_a_running_vm_that_went_elsewhere_without_its_vf(pool: Pool) -> None:
    """xapi moves it, as it has none."""
    vm = pool.with_vf("web")
    pool.set_pci(vm, None)
    pool.start(vm, pool.one)
    pool.api("VM.pool_migrate", pool.ref(vm), pool.other.ref, {"live": "true"})
    assert checked(pool) == {vm: VF_MISSING}
    assert all(word in text(pool) for word in ("web", "runs on host2", "those are of host1", "Shut it down"))
    pool.shut_down(vm)
    assert checked(pool) == {}


def test_a_running_vm_whose_move_did_not_come_to_its_end(pool: Pool) -> None:
    """A move takes minutes, in which nobody is told; nor is it over that the VM was without its VFs."""
    vm, has_its_vfs = pool.with_vf("web"), pool.with_vf("db")
    pool.set_pci(vm, None)
    for one in (vm, has_its_vfs):
        pool.start(one, pool.one)
    left = {**pool.ledger(has_its_vfs), "move": {"state": "arrived", "since": 1000}}
    pool.set_ledger(has_its_vfs, json.dumps(left))
    before = pool.ledger(vm)
    now = int(time.time())
    for since, expected in ((now, {}), (now - 1000, {vm: VF_MISSING}), (now, {vm: VF_MISSING})):
        pool.set_ledger(vm, json.dumps({**before, "move": {"state": "arrived", "since": since}}))
        assert checked(pool) == expected
    assert "attach_vfs" in text(pool)
    pool.shut_down(vm)
    assert checked(pool) == {}


def test_a_guest_that_takes_minutes_to_reboot(pool: Pool) -> None:
    """xapi says that it runs, and its domain is made anew: both looks see none."""
    vm = pool.with_vf("web")
    pool.start(vm, pool.one)
    machine = pool.one.machine
    machine.stop_domain(vm)
    assert checked(pool) == {}
    note = start_notes.read(machine, vm)
    assert note is not None
    long_ago = note.time - start_notes.STALE_SECONDS - 1
    start_notes.write(machine, vm, note.devices, note.settings, note.requests, long_ago)
    assert checked(pool) == {vm: VF_MISSING}
    start_notes.mark_reboot(machine, vm)
    assert checked(pool) == {vm: VF_MISSING}  # it is not over yet
    machine.start_domain(vm, "web", [VF])
    assert checked(pool) == {}


@pytest.mark.parametrize("at_rest", [Pool.shut_down, suspended])
def test_a_vm_whose_vfs_are_away_wants_nobody_while_it_does_not_run(
    pool: Pool, at_rest: Callable[[Pool, str], None]
) -> None:
    """`sriovctl suspend` leaves it so, for as long as somebody wants."""
    vm = running_with_vf(pool)
    pool.call("detach_vfs", vm=vm)
    moved_long_ago(pool, vm)
    assert checked(pool) == {vm: VF_MISSING}
    at_rest(pool, vm)
    assert checked(pool) == {}
    assert pool.ledger(vm)["move"]
    assert keys(pool) == []


@pytest.mark.pool(describe=other_slot)
def test_a_vm_that_xapi_takes_for_halted_and_that_runs_where_it_was_going(pool: Pool) -> None:
    """A start would make a second copy of it."""
    vm = running_with_vf(pool)
    with pool.hook(pool.other, "#!/bin/sh\nexit 3\n", "vm-post-migrate"), pytest.raises(SriovError):
        pool.act("migrate_vm", vm=vm, on=pool.other, **UNCONFIRMED)
    pool.box.xapi.restart_toolstack(pool.one.ref)
    assert pool.power_state(vm) == "Halted"
    moved_long_ago(pool, vm)
    assert checked(pool) == {vm: VF_MISSING}
    assert all(word in text(pool) for word in ("runs on host host2", "Do not start it"))
    pool.box.xapi.restart_toolstack(pool.other.ref)
    pool.call("attach_vfs", vm=vm)
    assert checked(pool) == {}


def gone(host: BoxHost) -> None:
    """The driver of its PF has ended its VFs, whoever has them."""
    for name in (VF, NEXT_VF, "0000:07:10.4", "0000:07:10.6"):
        os.unlink(host.machine.path(f"/sys/bus/pci/devices/{name}"))


@OTHER_SLOTS
def test_a_vm_that_would_be_given_other_vfs_twice(pool: Pool) -> None:
    vm = pool.with_vf("web")
    pool.restarts(vm, pool.other)
    pool.shut_down(vm)
    assert told(pool) == {}
    for _ in range(2):
        again(pool, vm)
    assert told(pool) == {vm: REPLACED_TWICE}
    assert all(word in text(pool) for word in ("web", "host2", "stays halted", "other_config:pci"))
    assert checked(pool) == {vm: REPLACED_TWICE}
    pool.reinstate(vm, on=pool.one)
    pool.start(vm, pool.one)
    assert checked(pool) == {}
    assert keys(pool) == []


# -- objects that go, and odd texts ----------------------------------------------------------------------


def test_a_vm_that_is_destroyed(pool: Pool) -> None:
    vm = pool.with_vf("web")
    pool.set_pci(vm, None)
    pool.start(vm, pool.one)
    assert checked(pool) == {vm: VF_MISSING}
    pool.shut_down(vm)
    pool.destroy(vm)
    assert checked(pool) == {}
    assert keys(pool) == []


def test_a_host_that_is_ejected(pool: Pool) -> None:
    cannot_be_restored(pool.other)
    checked(pool)
    pool.box.eject(pool.other)
    assert checked(pool) == {}
    assert keys(pool) == []


def test_names_with_quotes_and_line_breaks(pool: Pool) -> None:
    vm = pool.with_vf(NAMES)
    pool.set_pci(vm, None)
    pool.start(vm, pool.one)
    assert checked(pool) == {vm: VF_MISSING}
    assert text(pool).startswith("VM we\"b' <&>")
    assert text(pool).isprintable()


@pytest.mark.pool(hooks=False)
def test_names_of_many_pages(pool: Pool) -> None:
    """Who may name VMs is not to fill what others are to read."""
    pool.box.add_host(default_description(3), plugin=None)
    for number in range(7):
        pool.vm(f"{number}" + "x" * 3000, f"0/{VF}")
    pool.with_vf("web")
    checked(pool)
    assert len(text(pool)) < 600
    assert "and 3 more" in text(pool)


def test_a_text_that_xapi_could_write_and_not_read(pool: Pool) -> None:
    """Its file is XML."""
    with pool.box.session() as session:
        xapi = Xapi(pool.one.machine, OwnSession(session._session))
        messages.tell(pool.one.machine, xapi, Alert(RESTORE_FAILED, pool.one.uuid), "a\x01b")
    assert text(pool) == "a\ufffdb"


def test_keys_that_somebody_has_written(pool: Pool) -> None:
    """What such a key is about is over; one of a kind that this version does not know stays."""
    (ref,) = pool.api("pool.get_all")
    written = {
        f"{RESTORE_FAILED}.{pool.one.uuid}": "",
        f"{WITHOUT_PLUGIN}.": "x",
        f"{VF_MISSING}.x.y": "a b c",
        f"{REPLACED_TWICE}.x": "OpaqueRef:NULL " * 9,
    }
    others = {"SRIOV_NEW.x": "x", REPLACED_TWICE: "x", "": "x"}
    for name, value in {**written, **others}.items():
        pool.api("pool.add_to_other_config", ref, messages.PREFIX + name, value)
    assert checked(pool) == {}
    assert sorted(keys(pool)) == [messages.PREFIX + name for name in sorted(others)]
