"""Hooks that are killed, a master that fails, a xapi that is away: no VM runs with a VF that is not its own,
none is lost, and the next start makes good what was left."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, List, Sequence

import pytest
from box_host import BoxHost
from interference import Gate, calls_watched
from managed_pool import OTHER_SLOTS, Pool
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.xapi import kept_session
from values import Failure

pytestmark = [pytest.mark.story, OTHER_SLOTS]

VFS = ("0000:07:10.0", "0000:09:10.0")  # of the first host and of the second


def is_sound(pool: Pool, vm: str) -> None:
    """Nobody has what is not his, nothing is lost, and whoever is gone has left nothing."""
    running = pool.devices(vm)
    codes = {conflict["code"] for conflict in pool.conflicts()}
    assert codes <= (set() if running else {"LEASE_STALE"})  # which its next start will see to
    vfs = list(pool.lease(vm)["vfs"].values())
    assert len(vfs) == 1
    assert running in ([], vfs)
    for number, vf in enumerate(VFS):
        is_here = running and pool.lease(vm)["host"] == pool.hosts[number].uuid
        if not is_here:
            assert pool.settings(pool.hosts[number], vf)[0] == NO_MAC


def gets_there(pool: Pool, vm: str) -> None:
    """To the second host, by starting it again as an administrator would who reads what he is told. A VM
    whose entries are out altogether would start without VFs, and list_assignments names it."""
    told = []
    if pool.pci(vm) is None:
        assert [conflict["code"] for conflict in pool.conflicts()] == ["LEASE_STALE"]
        pool.reinstate(vm, on=pool.other)
    for _ in range(3):
        assert pool.box.wait_for_calls()
        if pool.power_state(vm) == "Running":
            break
        pool.box.pass_time(120)
        told.append(pool.outcome(vm, pool.other))
    assert pool.devices(vm) == [VFS[1]], told
    is_sound(pool, vm)


def cut_at(pool: Pool, host: BoxHost, names: Sequence[str], act: Callable[[], None]) -> None:
    """A VM of the first host is started on the second, again and again; each time `act` is done before the
    first call of another one of these names that programs of `host`'s dom0 make."""
    vm = pool.with_vf("web", vlan="12")
    mac = pool.mac(vm)
    for name in names:
        before: List[str] = []
        host.machine.try_to_remove(kept_session.PATH)  # each story begins with a login

        def at(_number: int, now: str, wanted: str = name, before: List[str] = before) -> None:
            before.append(now)
            if before.count(wanted) == 1 and now == wanted:
                act()

        with calls_watched(pool.box, host, at):
            try:
                pool.start(vm, pool.other)
            except Failure:
                pass
            assert pool.box.wait_for_calls()
        assert name in before
        is_sound(pool, vm)
        gets_there(pool, vm)
        assert pool.settings(pool.other, VFS[1]) == (mac, 12)
        pool.shut_down(vm)
        pool.reinstate(vm, on=pool.one)
        pool.box.pass_time(120)


def kill(pool: Pool, host: BoxHost) -> None:
    pool.box.kill_programs(host)
    raise Failure("INTERNAL_ERROR", "whoever called is no more")


HOOK_ASKS = ("session.login_with_password", "VM.get_all_records_where", "host.call_plugin")
HOOK_ENDS = ("VM.start_on", "message.create")
MASTER_WRITES = (
    *("pool.add_to_other_config", "pool.remove_from_other_config"),
    *("VM.remove_from_other_config", "VM.add_to_other_config"),
)


def test_the_hook_is_killed(pool: Pool) -> None:
    """As it begins to ask xapi and the master, as it queues the start, and after that."""
    cut_at(pool, pool.other, HOOK_ASKS + HOOK_ENDS, lambda: kill(pool, pool.other))


def test_xapi_fails_the_hook(pool: Pool) -> None:
    def fail() -> None:
        raise Failure("HOST_OFFLINE")

    cut_at(pool, pool.other, HOOK_ENDS, fail)


def test_the_master_dies_before_each_of_its_writes(pool: Pool) -> None:
    cut_at(pool, pool.one, MASTER_WRITES, lambda: kill(pool, pool.one))


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("first", "code"),
    [
        ("session.login_with_password", "SRIOV_XAPI_SILENT"),
        ("host.call_plugin", "SRIOV_NOT_PLACED"),
        ("VM.get_other_config", "SRIOV_XAPI_SILENT"),  # the master has given it VFs
    ],
)
def test_the_member_does_not_reach_the_master_from_then_on(pool: Pool, first: str, code: str) -> None:
    names: List[str] = []

    def act(_number: int, name: str) -> None:
        names.append(name)
        if first in names:
            raise Failure("CANNOT_CONTACT_HOST", pool.box.master.ref)

    vm = pool.with_vf("web")
    with calls_watched(pool.box, pool.other, act):
        refusal = pool.start_refused(vm, pool.other)
    assert refusal.says(code, "CANNOT_CONTACT_HOST").hint
    is_sound(pool, vm)
    gets_there(pool, vm)


def test_xapi_is_away_for_some_seconds(pool: Pool) -> None:
    vm = pool.with_vf("web")
    pool.reinstate(vm, on=pool.other)
    with Gate(pool.other, "10-before") as gate:
        gate.hold(pool.start, vm)
        with pool.box.silent_xapi(pool.other):
            gate.open()
            time.sleep(2)
            assert pool.power_state(vm) == "Halted"
        gate.result()
    assert pool.devices(vm) == [VFS[1]]
    is_sound(pool, vm)


def test_two_hosts_start_it_at_once(pool: Pool) -> None:
    """A user there and HA here, say: each start finds the VFs of the other host, and has the VM started
    again. Neither goes on with that for ever."""
    vm = pool.with_vf("web")
    with pool.box.waiting_calls_are_late():
        for host in (pool.other, pool.one):
            pool.start_refused(vm, host).says("SRIOV_RESTARTING")
        # as the start that the first one has queued would find it
        pool.start_refused(vm, pool.other).says(
            "SRIOV_NOT_PLACED", " ago, and its entries have changed again"
        )
    assert pool.box.wait_for_calls()
    assert pool.devices(vm) == [VFS[0]]
    is_sound(pool, vm)


def test_eight_vms_of_a_dead_host_start_at_once(pool: Pool) -> None:
    for host in pool.hosts:
        pool.call("set_vf_count", host, pf="eth1", count="10")
    vms = [pool.with_vf(f"vm{number}", on=pool.other, vlan=str(number + 1)) for number in range(8)]
    for vm in vms:
        pool.box.protect(pool.ref(vm))
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda vm: pool.outcome(vm, pool.other), vms)) == ["started"] * 8
    with pool.lost(pool.other):
        failures = pool.box.run_ha()
        assert sorted(failures) == sorted(pool.ref(vm) for vm in vms)
        for vm in vms:
            pool.refusal(vm, Failure(*(failures[pool.ref(vm)] or []))).says("SRIOV_RESTARTING")
        assert pool.box.wait_for_calls(300)
        devices = {vm: pool.devices(vm) for vm in vms}
        assert len({tuple(device) for device in devices.values()}) == 8
        for number, vm in enumerate(vms):
            assert devices[vm] == list(pool.lease(vm)["vfs"].values())
            assert pool.settings(pool.one, devices[vm][0])[1] == number + 1
    assert pool.conflicts() == []
