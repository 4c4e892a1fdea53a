"""Hooks that are killed, a master that fails, a xapi that is away: no VM runs with a VF that is not its own,
none is lost, and the next start makes good what was left."""

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, List

import pytest
from box_host import PLUGIN, set_plugin
from estate import Estate, calls_watched
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.vf import start_notes
from values import Failure

pytestmark = pytest.mark.story

EVERY = (
    1 if sys.version_info[:2] == (3, 6) else 5
)  # call is a place to cut on dom0's own Python: it takes long
VFS = ("0000:07:10.0", "0000:09:10.0")  # of the first host and of the second


def is_sound(estate: Estate, vm: str) -> None:
    """Nobody has what is not his, nothing is lost, and whoever is gone has left nothing."""
    running = estate.box.devices(vm)
    codes = {conflict["code"] for conflict in estate.conflicts()}
    assert codes <= (set() if running else {"LEASE_STALE"})  # which its next start will see to
    vfs = list(estate.lease(vm)["vfs"].values())
    assert len(vfs) == 1
    assert running in ([], vfs)
    for number, vf in enumerate(VFS):
        is_here = running and estate.lease(vm)["host"] == estate.box.hosts[number].uuid
        if not is_here:
            assert estate.settings(number, vf)[0] == NO_MAC


def gets_there(estate: Estate, vm: str) -> None:
    """To the second host, by starting it again as an administrator would who reads what he is told. A VM
    whose entries are out altogether would start without VFs, and list_assignments names it."""
    told = []
    if estate.pci(vm) is None:
        assert [conflict["code"] for conflict in estate.conflicts()] == ["LEASE_STALE"]
        estate.call("reinstate_vfs", vm_uuid=estate.uuid(vm), host_uuid=estate.box.hosts[1].uuid)
    for _ in range(3):
        assert estate.box.wait_for_calls()
        if estate.box.power_state(vm) == "Running":
            break
        estate.box.pass_time(120)
        told.append(outcome(estate, vm, 1))
    assert estate.box.devices(vm) == [VFS[1]], told
    is_sound(estate, vm)


def all_cuts(estate: Estate, host: int, act: Callable[[], None], step: int) -> List[str]:
    """A VM of the first host is started on the second, again and again; each time one call later of the
    programs of that host's dom0, or `step` calls, `act` is done. The names of all calls."""
    vm, number = estate.with_vf("web", vlan="12"), 1 - step
    mac = estate.mac(vm)
    while True:
        number += step

        def at(now: int, _name: str, wanted: int = number) -> None:
            if now == wanted:
                act()

        with calls_watched(estate.box, estate.box.hosts[host], at) as seen:
            try:
                estate.start(vm, 1)
            except Failure:
                pass
            assert estate.box.wait_for_calls()
        is_sound(estate, vm)
        gets_there(estate, vm)
        assert estate.settings(1, VFS[1]) == (mac, 12)
        if len(seen) < number:
            return seen
        estate.box.shut_down(vm, hard=True)
        estate.call("reinstate_vfs", vm_uuid=estate.uuid(vm), host_uuid=estate.box.hosts[0].uuid)
        estate.box.pass_time(120)


def kill(estate: Estate, host: int) -> None:
    estate.box.kill_programs(estate.box.hosts[host])
    raise Failure("INTERNAL_ERROR", "whoever called is no more")


def test_the_hook_is_killed_before_each_of_its_calls(mixed: Estate) -> None:
    seen = all_cuts(mixed, 1, lambda: kill(mixed, 1), EVERY)
    assert {"VM.start_on", "message.create", "session.logout"} <= set(seen)


def test_xapi_fails_each_call_of_the_hook(mixed: Estate) -> None:
    def fail() -> None:
        raise Failure("HOST_OFFLINE")

    assert "VM.start_on" in all_cuts(mixed, 1, fail, EVERY + 2)


def test_the_master_dies_before_each_of_its_calls(mixed: Estate) -> None:
    seen = all_cuts(mixed, 0, lambda: kill(mixed, 0), EVERY)
    assert {"pool.add_to_other_config", "VM.add_to_other_config"} <= set(seen)


def test_the_hook_is_killed_when_it_has_queued_the_start(mixed: Estate) -> None:
    def act(_number: int, name: str) -> None:
        if name == "message.create":
            kill(mixed, 1)

    vm = mixed.with_vf("web")
    with calls_watched(mixed.box, mixed.box.hosts[1], act), pytest.raises(Failure) as failure:
        mixed.start(vm, 1)
    assert failure.value.description[0] == "INTERNAL_ERROR"  # xapi's word for a hook that was killed
    assert mixed.box.wait_for_calls()
    assert mixed.box.devices(vm) == [VFS[1]]
    is_sound(mixed, vm)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("first", "code"),
    [
        ("session.login_with_password", "SRIOV_XAPI_SILENT"),
        ("host.call_plugin", "SRIOV_NOT_PLACED"),
        ("VM.get_other_config", "SRIOV_XAPI_SILENT"),  # the master has given it VFs
    ],
)
def test_the_member_does_not_reach_the_master_from_then_on(mixed: Estate, first: str, code: str) -> None:
    names: List[str] = []

    def act(_number: int, name: str) -> None:
        names.append(name)
        if first in names:
            raise Failure("CANNOT_CONTACT_HOST", mixed.box.master.ref)

    vm = mixed.with_vf("web")
    with calls_watched(mixed.box, mixed.box.hosts[1], act):
        line, message, hint = mixed.refused(vm, 1)
    assert line == f"{code} {mixed.uuid(vm)} {mixed.box.hosts[1].uuid}"
    assert "CANNOT_CONTACT_HOST" in message
    assert hint
    is_sound(mixed, vm)
    gets_there(mixed, vm)


def test_xapi_is_away_for_some_seconds(mixed: Estate) -> None:
    vm = mixed.with_vf("web")
    mixed.call("reinstate_vfs", vm_uuid=mixed.uuid(vm), host_uuid=mixed.box.hosts[1].uuid)
    host, done = mixed.box.hosts[1], threading.Event()
    script = mixed.box.put_hook(host, "vm-pre-start", "#!/bin/sh\nsleep 1\n", name="10-before")

    def start() -> None:
        mixed.start(vm, 1)
        done.set()

    thread = threading.Thread(target=start)
    thread.start()
    while not mixed.box.xapi.reach.programs(host.ref):
        assert thread.is_alive()
    with mixed.box.silent_xapi(host):
        assert not done.wait(3)
    thread.join()
    os.unlink(script)
    assert mixed.box.devices(vm) == [VFS[1]]
    is_sound(mixed, vm)


def test_the_master_cannot_place_it_and_then_it_can(mixed: Estate) -> None:
    vm = mixed.with_vf("web")
    set_plugin(mixed.box.hosts[0], None)
    try:
        first, message, _ = mixed.refused(vm, 1)
    finally:
        set_plugin(mixed.box.hosts[0], PLUGIN)
    assert first.startswith("SRIOV_NOT_PLACED ")
    assert "master" in message
    gets_there(mixed, vm)


def test_two_starts_of_vms_with_one_address(mixed: Estate) -> None:
    """By hand both name it, and the first has no domain yet when the other is judged."""
    one, other = [mixed.vm(name, f"0/{VFS[1]}") for name in ("one", "other")]
    host = mixed.box.hosts[1]
    here, go = [host.machine.path(f"/tmp/{name}") for name in ("here", "go")]
    waits = f"#!/bin/sh\ntouch {here}\nfor n in $(seq 200); do [ -e {go} ] || sleep 0.05; done\n"
    script = mixed.box.put_hook(host, "vm-pre-start", waits, name="60-after")
    with ThreadPoolExecutor(1) as threads:
        told = threads.submit(outcome, mixed, one, 1)
        while not os.path.exists(here):
            assert not told.done()
        first, message, _ = mixed.refused(other, 1)
        os.close(os.open(go, os.O_CREAT))
        assert told.result() == "started"
    os.unlink(script)
    assert first.startswith("SRIOV_VF_IN_USE ")
    assert "which is starting" in message
    assert mixed.box.devices(one) == [VFS[1]]


def test_a_start_that_another_hook_stopped_is_swept_up_later(mixed: Estate) -> None:
    vm, other, host = mixed.with_vf("web", on=1), mixed.with_vf("other", on=1), mixed.box.hosts[1]
    script = mixed.box.put_hook(host, "vm-pre-start", "#!/bin/sh\nexit 2\n", name="60-after")
    with pytest.raises(Failure):
        mixed.start(vm, 1)
    os.unlink(script)
    assert mixed.settings(1, VFS[1])[0] == mixed.mac(vm)  # nobody has told us
    path = f"/run/sriov/{start_notes.PREFIX}{mixed.uuid(vm)}"
    note = json.loads(host.machine.read(path))
    long_ago = json.dumps({**note, "time": note["time"] - start_notes.STALE_SECONDS})
    host.machine.replace_file(path, long_ago.encode())
    mixed.start(other, 1)
    assert mixed.settings(1, VFS[1])[0] == NO_MAC


def outcome(estate: Estate, vm: str, host: int) -> str:
    """What whoever starts it is told."""
    try:
        estate.start(vm, host)
    except Failure as failure:
        return "\n".join(estate.lines(failure))
    return "started"


def test_two_hosts_start_it_at_once(mixed: Estate) -> None:
    """A user there and HA here, say: each start finds the VFs of the other host, and has the VM started
    again. Neither goes on with that for ever."""
    vm = mixed.with_vf("web")
    with mixed.box.waiting_calls_are_late():
        codes = [mixed.refused(vm, host)[0].split(" ")[0] for host in (1, 0)]
        line, message, _ = mixed.refused(vm, 1)  # as the start that the first one has queued would find it
    assert codes == ["SRIOV_RESTARTING"] * 2
    assert line.startswith("SRIOV_NOT_PLACED ")
    assert "seconds ago" in message
    assert mixed.box.wait_for_calls()
    assert mixed.box.devices(vm) == [VFS[0]]
    is_sound(mixed, vm)


def test_twenty_vms_of_a_dead_host_start_at_once(mixed: Estate) -> None:
    for host in mixed.box.hosts:
        mixed.box.call(host, "set_vf_count", pf="eth1", count="24")
    vms = [mixed.with_vf(f"vm{number}", on=1, vlan=str(number + 1)) for number in range(20)]
    for vm in vms:
        mixed.box.protect(vm)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda vm: outcome(mixed, vm, 1), vms)) == ["started"] * 20
    with mixed.lost(1):
        failures = mixed.box.run_ha()
        assert sorted(failures) == sorted(vms)
        told = [mixed.lines(Failure(*failure))[0] for failure in failures.values() if failure is not None]
        assert [line.split(" ")[0] for line in told] == ["SRIOV_RESTARTING"] * 20
        assert mixed.box.wait_for_calls(300)
        devices = {vm: mixed.box.devices(vm) for vm in vms}
        assert len({tuple(device) for device in devices.values()}) == 20
        for number, vm in enumerate(vms):
            assert devices[vm] == list(mixed.lease(vm)["vfs"].values())
            assert mixed.settings(0, devices[vm][0])[1] == number + 1
    assert mixed.conflicts() == []
