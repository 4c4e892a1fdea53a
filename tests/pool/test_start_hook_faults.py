"""Hooks that are killed, a master that fails, a xapi that is away: no VM runs with a VF that is not its own,
none is lost, and the next start makes good what was left."""

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, List

import pytest
from box_host import PLUGIN, BoxHost, set_plugin
from interference import calls_watched
from managed_pool import OTHER_SLOTS, Pool
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.vf import start_notes
from values import Failure

pytestmark = [pytest.mark.story, OTHER_SLOTS]

# Each call is a place to cut on dom0's own Python only: it takes long.
EVERY = 1 if sys.version_info[:2] == (3, 6) else 5
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


def all_cuts(pool: Pool, host: BoxHost, act: Callable[[], None], step: int) -> List[str]:
    """A VM of the first host is started on the second, again and again; each time one call later of the
    programs of that host's dom0, or `step` calls, `act` is done. The names of all calls."""
    vm, number = pool.with_vf("web", vlan="12"), 1 - step
    mac = pool.mac(vm)
    while True:
        number += step

        def at(now: int, _name: str, wanted: int = number) -> None:
            if now == wanted:
                act()

        with calls_watched(pool.box, host, at) as seen:
            try:
                pool.start(vm, pool.other)
            except Failure:
                pass
            assert pool.box.wait_for_calls()
        is_sound(pool, vm)
        gets_there(pool, vm)
        assert pool.settings(pool.other, VFS[1]) == (mac, 12)
        if len(seen) < number:
            return seen
        pool.shut_down(vm)
        pool.reinstate(vm, on=pool.one)
        pool.box.pass_time(120)


def kill(pool: Pool, host: BoxHost) -> None:
    pool.box.kill_programs(host)
    raise Failure("INTERNAL_ERROR", "whoever called is no more")


def test_the_hook_is_killed_before_each_of_its_calls(pool: Pool) -> None:
    seen = all_cuts(pool, pool.other, lambda: kill(pool, pool.other), EVERY)
    assert {"VM.start_on", "message.create", "session.logout"} <= set(seen)


def test_xapi_fails_each_call_of_the_hook(pool: Pool) -> None:
    def fail() -> None:
        raise Failure("HOST_OFFLINE")

    assert "VM.start_on" in all_cuts(pool, pool.other, fail, EVERY + 2)


def test_the_master_dies_before_each_of_its_calls(pool: Pool) -> None:
    seen = all_cuts(pool, pool.one, lambda: kill(pool, pool.one), EVERY)
    assert {"pool.add_to_other_config", "VM.add_to_other_config"} <= set(seen)


def test_the_hook_is_killed_when_it_has_queued_the_start(pool: Pool) -> None:
    def act(_number: int, name: str) -> None:
        if name == "message.create":
            kill(pool, pool.other)

    vm = pool.with_vf("web")
    with calls_watched(pool.box, pool.other, act), pytest.raises(Failure) as failure:
        pool.start(vm, pool.other)
    assert failure.value.description[0] == "INTERNAL_ERROR"  # xapi's word for a hook that was killed
    assert pool.box.wait_for_calls()
    assert pool.devices(vm) == [VFS[1]]
    is_sound(pool, vm)


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
    host, done = pool.other, threading.Event()
    script = pool.box.put_hook(host, "vm-pre-start", "#!/bin/sh\nsleep 1\n", name="10-before")

    def start() -> None:
        pool.start(vm, pool.other)
        done.set()

    thread = threading.Thread(target=start)
    thread.start()
    while not pool.box.xapi.reach.programs(host.ref):
        assert thread.is_alive()
    with pool.box.silent_xapi(host):
        assert not done.wait(3)
    thread.join()
    os.unlink(script)
    assert pool.devices(vm) == [VFS[1]]
    is_sound(pool, vm)


def test_the_master_cannot_place_it_and_then_it_can(pool: Pool) -> None:
    vm = pool.with_vf("web")
    set_plugin(pool.one, None)
    try:
        code, message, _ = pool.start_refused(vm, pool.other)
    finally:
        set_plugin(pool.one, PLUGIN)
    assert code == "SRIOV_NOT_PLACED"
    assert "master" in message
    gets_there(pool, vm)


def test_two_starts_of_vms_with_one_address(pool: Pool) -> None:
    """By hand both name it, and the first has no domain yet when the other is judged."""
    one, other = [pool.vm(name, f"0/{VFS[1]}") for name in ("one", "other")]
    host = pool.other
    here, go = [host.machine.path(f"/tmp/{name}") for name in ("here", "go")]
    waits = f"#!/bin/sh\ntouch {here}\nfor n in $(seq 200); do [ -e {go} ] || sleep 0.05; done\n"
    script = pool.box.put_hook(host, "vm-pre-start", waits, name="60-after")
    with ThreadPoolExecutor(1) as threads:
        told = threads.submit(pool.outcome, one, pool.other)
        while not os.path.exists(here):
            assert not told.done()
        code, message, _ = pool.start_refused(other, pool.other)
        os.close(os.open(go, os.O_CREAT))
        assert told.result() == "started"
    os.unlink(script)
    assert code == "SRIOV_VF_IN_USE"
    assert "which is starting" in message
    assert pool.devices(one) == [VFS[1]]


def test_a_start_that_another_hook_stopped_is_swept_up_later(pool: Pool) -> None:
    vm, other, host = pool.with_vf("web", on=pool.other), pool.with_vf("other", on=pool.other), pool.other
    script = pool.box.put_hook(host, "vm-pre-start", "#!/bin/sh\nexit 2\n", name="60-after")
    with pytest.raises(Failure):
        pool.start(vm, pool.other)
    os.unlink(script)
    assert pool.settings(pool.other, VFS[1])[0] == pool.mac(vm)  # nobody has told us
    path = f"/run/sriov/{start_notes.PREFIX}{vm}"
    note = json.loads(host.machine.read(path))
    long_ago = json.dumps({**note, "time": note["time"] - start_notes.STALE_SECONDS})
    host.machine.replace_file(path, long_ago.encode())
    pool.start(other, pool.other)
    assert pool.settings(pool.other, VFS[1])[0] == NO_MAC


def test_two_hosts_start_it_at_once(pool: Pool) -> None:
    """A user there and HA here, say: each start finds the VFs of the other host, and has the VM started
    again. Neither goes on with that for ever."""
    vm = pool.with_vf("web")
    with pool.box.waiting_calls_are_late():
        for host in (pool.other, pool.one):
            pool.start_refused(vm, host).says("SRIOV_RESTARTING")
        # as the start that the first one has queued would find it
        pool.start_refused(vm, pool.other).says("SRIOV_NOT_PLACED", "seconds ago")
    assert pool.box.wait_for_calls()
    assert pool.devices(vm) == [VFS[0]]
    is_sound(pool, vm)


def test_twenty_vms_of_a_dead_host_start_at_once(pool: Pool) -> None:
    for host in pool.hosts:
        pool.call("set_vf_count", host, pf="eth1", count="24")
    vms = [pool.with_vf(f"vm{number}", on=pool.other, vlan=str(number + 1)) for number in range(20)]
    for vm in vms:
        pool.box.protect(pool.ref(vm))
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda vm: pool.outcome(vm, pool.other), vms)) == ["started"] * 20
    with pool.lost(pool.other):
        failures = pool.box.run_ha()
        assert sorted(failures) == sorted(pool.ref(vm) for vm in vms)
        for vm in vms:
            pool.refusal(vm, Failure(*(failures[pool.ref(vm)] or []))).says("SRIOV_RESTARTING")
        assert pool.box.wait_for_calls(300)
        devices = {vm: pool.devices(vm) for vm in vms}
        assert len({tuple(device) for device in devices.values()}) == 20
        for number, vm in enumerate(vms):
            assert devices[vm] == list(pool.lease(vm)["vfs"].values())
            assert pool.settings(pool.one, devices[vm][0])[1] == number + 1
    assert pool.conflicts() == []
