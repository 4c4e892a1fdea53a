"""Somebody else comes while a running VM is moved: another call for it, its owner, a new pool master."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List

import pytest
from interference import calls_told, meanwhile
from live_moves import THERE, UNCONFIRMED, VF, driven, has_left, is_whole, qemu, running_with_vf
from managed_pool import Pool, other_slot
from sriovlib.errors import SriovError
from values import Failure

pytestmark = [pytest.mark.story, pytest.mark.pool(describe=other_slot)]


@pytest.fixture
def web(pool: Pool) -> str:
    return running_with_vf(pool)


@contextmanager
def while_its_guest_is_asked(pool: Pool, vm: str) -> Iterator["Future[Any]"]:
    """A call of migrate_vm waits for the guest; at the end that lets its VF go."""
    guest = qemu(vm, pool.one)
    guest.keeps = True
    with ThreadPoolExecutor(1) as threads:
        moved = threads.submit(pool.act, "migrate_vm", vm=vm, on=pool.other, timeout="600", **UNCONFIRMED)
        try:
            wait_until(lambda: bool(guest.asked), moved)
            yield moved
        finally:
            guest.let_go()


def wait_until(is_so: Callable[[], bool], call: "Future[Any]") -> None:
    while not is_so():
        assert not call.done(), call.result()
        time.sleep(0.01)


@pytest.mark.usefixtures("hurried")
def test_second_call_that_moves_the_vm_is_told_who_is_at_it(pool: Pool, web: str) -> None:
    with while_its_guest_is_asked(pool, web) as moved:
        for function in ("migrate_vm", "attach_vfs", "detach_vfs"):
            to = {"on": pool.one} if function == "migrate_vm" else {}
            refusal = pool.refused(function, vm=web, **to)
            refusal.says("SRIOV_BUSY", f"VM web ({web}) is busy", "migrate_vm for web")
    assert moved.result()["vfs"] == [{"request": 1, "vf": THERE, "before": VF}]
    is_whole(pool, web, pool.other, THERE)
    has_left(pool, web, pool.one, VF)


@pytest.mark.usefixtures("hurried")
def test_second_call_is_told_so_while_xapi_copies_too(pool: Pool, web: str) -> None:
    with ThreadPoolExecutor(1) as threads, pool.box.migration_held_at("suspended") as held:
        moved = threads.submit(pool.call, "migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
        held.wait()
        pool.refused("attach_vfs", vm=web).says("SRIOV_BUSY", "migrate_vm for web")
    assert moved.result()["changed"]
    is_whole(pool, web, pool.other, THERE)


def test_nobody_changes_the_requests_of_a_vm_that_is_moved(pool: Pool, web: str) -> None:
    thief = pool.vm("thief")
    with while_its_guest_is_asked(pool, web) as moved:
        calls = {
            "assign_vf": {"network": "xenbr1"},
            "unassign_vf": {"all": "true"},
            "reinstate_vfs": {},
            "park_vm": {},
            "adopt_vm": {},
        }
        for function, args in calls.items():
            pool.refused(function, vm=web, **args).says("SRIOV_VM_NOT_HALTED", "web")
        for host, vf in ((pool.one, VF), (pool.other, THERE)):  # both are its own
            pool.refused("assign_vf", vm=thief, vf=vf, on=host).says("SRIOV_NO_FREE_VF", "held by web")
            pool.refused("set_vf_count", host=host, pf="eth1", count="0").says("SRIOV_VF_IN_USE", vf)
    moved.result()
    is_whole(pool, web, pool.other, THERE)
    has_left(pool, web, pool.one, VF)


def test_vm_that_is_started_elsewhere_meanwhile_stays_there(pool: Pool, web: str) -> None:
    """Its guest is shut down instead of letting the VF go, and its owner starts it on the other host."""

    def start() -> None:
        pool.shut_down(web)
        assert pool.restarts(web, pool.other) == [THERE]

    with meanwhile("VM.pool_migrate_complete", start), pytest.raises(SriovError) as refused:
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    assert refused.value.code == "SRIOV_BUSY"
    assert f"VM web ({web}) was stopped, started" in refused.value.message
    is_whole(pool, web, pool.other, THERE)
    has_left(pool, web, pool.one, VF)


@pytest.mark.usefixtures("hurried")
def test_vm_that_is_started_elsewhere_while_its_move_is_ended(pool: Pool, web: str) -> None:
    def start() -> None:
        pool.shut_down(web)
        assert pool.restarts(web, pool.one) == [VF]

    asked = meanwhile("host.call_plugin", start, number=4)
    with asked, pytest.raises(SriovError) as refused:
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    assert refused.value.code == "SRIOV_BUSY"
    assert f"VM web ({web}) was stopped, started" in refused.value.message
    is_whole(pool, web, pool.one, VF)


@contextmanager
def before_asking(function: str, act: Callable[[], Any]) -> Iterator[None]:
    """Just before the master first calls this function of a host, that is done."""
    done: List[str] = []

    def told(_number: int, method: str, *params: Any) -> None:
        if method == "host.call_plugin" and params[2] == function and not done:
            done.append(function)
            act()

    with calls_told(told):
        yield
    assert done


@pytest.mark.usefixtures("hurried")
def test_guest_that_keeps_its_vf_and_reboots_runs_on_with_it(pool: Pool, web: str) -> None:
    """It hangs, and somebody resets it just when the call gives up."""

    def reset() -> None:
        pool.box.let_xenopsd_know(pool.ref(web))
        pool.guest_reboots(web)

    qemu(web, pool.one).keeps = True
    with before_asking("plug_vfs", reset), pytest.raises(SriovError) as refused:
        pool.act("migrate_vm", vm=web, on=pool.other, timeout="2", **UNCONFIRMED)
    assert refused.value.code == "SRIOV_GUEST_KEEPS_VF"
    is_whole(pool, web, pool.one, VF)


def test_move_by_xapi_before_xenopsd_has_heard_of_the_unplug_is_refused(pool: Pool, web: str) -> None:
    """The other host would plug what has the VF's address there, and cannot: that would cost the VM."""
    refusals: List[str] = []

    def move() -> None:
        with pytest.raises(Failure) as failure:
            pool.api("VM.pool_migrate", pool.ref(web), pool.other.ref, {"live": "true"})
        refusals.append(pool.refusal(web, failure.value).message)
        pool.box.let_xenopsd_know(pool.ref(web))

    with pool.box.xapi_tells_late(), before_asking("keep_passthrough", move):
        pool.act("detach_vfs", vm=web)
    assert refusals[0].startswith(f"xenopsd has not heard yet that {VF} left the VM")
    pool.call("attach_vfs", vm=web)
    is_whole(pool, web, pool.one, VF)


FAILS = "#!/bin/sh\nexit 3\n"


def test_vm_that_arrived_without_xapis_knowing_is_not_given_up(pool: Pool, web: str) -> None:
    """A hook of somebody else's fails when the guest runs on the other host already: for xapi it runs where
    it was, and after a restart of the toolstack there nowhere. A start would make a second copy of it."""
    with pool.hook(pool.other, FAILS, "vm-post-migrate"), pytest.raises(SriovError) as refused:
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    one, other = pool.one.name, pool.other.name
    assert refused.value.code == "SRIOV_NOT_MOVED"
    assert f"runs on host {other}, where it was moved to" in refused.value.message
    assert f"`xe-toolstack-restart` on {one}, and when that is over on {other}" in refused.value.hint
    pool.refused("attach_vfs", vm=web).says("SRIOV_NOT_MOVED", f"for xapi it is running on {one}")
    there = f"runs on host {other}, where it was moved to"
    pool.conflict("VF_DEGRADED", there, f"running on {one}", "Do not start it", vms=[web], host=pool.other)
    pool.box.xapi.restart_toolstack(pool.one.ref)
    assert pool.power_state(web) == "Halted"
    pool.refused("attach_vfs", vm=web).says("SRIOV_NOT_MOVED", "for xapi it is halted")
    pool.conflict("VF_DEGRADED", there, "for xapi it is halted", "Do not start it", host=pool.other)
    pool.start_refused(web, pool.one).says("SRIOV_NOT_PLACED", f"runs on host {other}")
    pool.box.xapi.restart_toolstack(pool.other.ref)
    assert pool.call("attach_vfs", vm=web)["vfs"] == [{"request": 1, "vf": THERE}]
    is_whole(pool, web, pool.other, THERE)
    has_left(pool, web, pool.one, VF)


def test_halted_vm_that_xapi_has_at_the_other_host_is_not_given_up(pool: Pool, web: str) -> None:
    """xapi noted its end and where it had gone, in this order: its domain tells, not that."""
    with pool.hook(pool.other, FAILS, "vm-post-migrate"), pytest.raises(SriovError):
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    pool.box.xapi.restart_toolstack(pool.one.ref)
    pool.box.xapi.database.set("VM", pool.ref(web), "resident_on", pool.other.ref)
    pool.refused("attach_vfs", vm=web).says("SRIOV_NOT_MOVED", "for xapi it is halted")
    pool.start_refused(web, pool.one).says("SRIOV_NOT_PLACED", f"runs on host {pool.other.name}")
    pool.box.xapi.restart_toolstack(pool.other.ref)
    pool.call("attach_vfs", vm=web)
    is_whole(pool, web, pool.other, THERE)


@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("detach_vfs", {}),
        ("assign_vf", {"network": "xenbr1"}),
        ("unassign_vf", {"all": "true"}),
        ("park_vm", {}),
    ],
)
def test_no_other_call_forgets_where_a_vm_was_going(pool: Pool, web: str, function: str, args: Any) -> None:
    """It runs there, and xapi does not know: without its move nothing would keep a start from making a second
    copy of it."""
    with pool.hook(pool.other, FAILS, "vm-post-migrate"), pytest.raises(SriovError):
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    if function != "detach_vfs":  # which is of running VMs only, the others of halted ones
        pool.box.xapi.restart_toolstack(pool.one.ref)
    pool.refused(function, vm=web, **args).says("SRIOV_NOT_MOVED", f"runs on host {pool.other.name}")
    if function == "detach_vfs":
        pool.box.xapi.restart_toolstack(pool.one.ref)
    pool.start_refused(web, pool.one).says("SRIOV_NOT_PLACED", f"runs on host {pool.other.name}")
    pool.box.xapi.restart_toolstack(pool.other.ref)
    pool.call("attach_vfs", vm=web)
    is_whole(pool, web, pool.other, THERE)


def test_halted_vm_waits_for_the_host_that_it_was_going_to(pool: Pool, web: str) -> None:
    with pool.hook(pool.other, FAILS, "vm-post-migrate"), pytest.raises(SriovError):
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    pool.box.xapi.restart_toolstack(pool.one.ref)
    pool.box.lose(pool.other, noticed=False)
    pool.refused("attach_vfs", vm=web).says(
        "SRIOV_BUSY", f"moved to host {pool.other.name}, which does not tell"
    )
    pool.conflict_of("VF_DEGRADED", f"host {pool.other.name}, which does not tell", "its start is refused")
    pool.box.declare_dead(pool.other)
    assert pool.call("attach_vfs", vm=web)["host_uuid"] is None
    pool.start(web, pool.one)
    is_whole(pool, web, pool.one, VF)


def test_new_master_ends_what_the_former_one_began(pool: Pool, web: str) -> None:
    with meanwhile("Async.VM.pool_migrate", lambda: pool.box.make_master(pool.other)), pytest.raises(
        SriovError
    ):
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    assert driven(web, pool.one) == []
    pool.call("attach_vfs", vm=web)
    is_whole(pool, web, pool.one, VF)
    has_left(pool, web, pool.other, THERE)


def test_guest_that_reboots_before_xenopsd_has_its_new_entries_has_its_vf(pool: Pool, web: str) -> None:
    """It comes up without: its VF was plugged, and its entries were not written yet."""
    pool.call("detach_vfs", vm=web)
    plugged: List[str] = []

    def told(_number: int, method: str, *params: Any) -> None:
        if plugged == ["plug_vfs"]:
            plugged.append("rebooted")
            pool.guest_reboots(web)
        if method == "host.call_plugin" and params[2] == "plug_vfs" and not plugged:
            plugged.append("plug_vfs")

    with calls_told(told):
        pool.act("attach_vfs", vm=web)
    assert plugged == ["plug_vfs", "rebooted"]
    is_whole(pool, web, pool.one, VF)


def test_call_that_cannot_end_what_it_began_says_who_does(pool: Pool, web: str) -> None:
    """Another host is the master, in the midst of the copy: the VM is without its VFs."""
    with meanwhile("task.get_record", lambda: pool.box.make_master(pool.other)), pytest.raises(
        SriovError
    ) as refused:
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    assert refused.value.code == "SRIOV_XAPI_SILENT"
    assert f"`attach_vfs` with vm_uuid={web} ends its move" in refused.value.hint
    assert pool.box.wait_for_calls()
    pool.call("attach_vfs", vm=web)
    is_whole(pool, web, pool.other, THERE)


@pytest.mark.usefixtures("hurried")
def test_guest_that_kept_its_vf_is_not_said_to_have_it_where_that_is_not_known(pool: Pool, web: str) -> None:
    qemu(web, pool.one).keeps = True
    pool.box.make_master(pool.other)
    lost = before_asking("plug_vfs", lambda: pool.box.lose(pool.one, noticed=False))
    with lost, pytest.raises(SriovError) as refused:
        pool.act("migrate_vm", vm=web, on=pool.other, timeout="2", **UNCONFIRMED)
    assert refused.value.code == "SRIOV_GUEST_KEEPS_VF"
    assert "Its move is not over" in refused.value.message
    assert "runs with its VFs as before" not in refused.value.hint
