"""Somebody else comes while a running VM is moved: another call for it, its owner, a new pool master."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Callable, Iterator

import pytest
from interference import meanwhile
from live_moves import THERE, UNCONFIRMED, VF, driven, has_left, is_whole, qemu, running_with_vf
from managed_pool import Pool, other_slot
from sriovlib.errors import SriovError

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


def test_new_master_ends_what_the_former_one_began(pool: Pool, web: str) -> None:
    with meanwhile("Async.VM.pool_migrate", lambda: pool.box.make_master(pool.other)), pytest.raises(
        SriovError
    ):
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    assert driven(web, pool.one) == []
    pool.call("attach_vfs", vm=web)
    is_whole(pool, web, pool.one, VF)
    has_left(pool, web, pool.other, THERE)
