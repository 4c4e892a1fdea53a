"""HA in the box: a dead host's VMs start elsewhere, hooks are asked, failed attempts wait (virtual time)."""

import json
import os
import sys
import time
from typing import Callable, Iterator

import pytest
from box import PoolInABox
from machine_description import default_description
from values import NULL, Failure

REFUSES_ONCE = """#!/bin/sh
[ -e {done} ] && exit 0
touch {done}
echo 'not yet'
exit 2
"""
STARTS_AGAIN = """#!/usr/bin/python3
import os, sys
import XenAPI
if os.path.exists({done!r}):
    sys.exit(0)
open({done!r}, "w").close()
session = XenAPI.xapi_local()
session.xenapi.login_with_password("root", "", "1.0", "a hook")
vm = session.xenapi.VM.get_by_uuid(sys.argv[2])
host = session.xenapi.session.get_this_host(session._session)
session.xenapi.VM.set_other_config(vm, {{"pci": "0/0000:07:10.2"}})
print(session.xenapi.Async.VM.start_on(vm, host, False, False))
session.xenapi.session.logout()
sys.exit(2)
"""
WRITES_A_KEY = """#!/usr/bin/python3
import json, sys
import XenAPI
session = XenAPI.xapi_local()
session.xenapi.login_with_password("root", "", "1.0", "a hook")
(vm,) = session.xenapi.VM.get_by_name_label("web")
session.xenapi.VM.set_other_config(vm, {"pci": "0/0000:07:10.4"})
json.dump([sys.argv[1:], session.xenapi.VM.get_power_state(vm)], open(%r, "w"))
session.xenapi.session.logout()
sys.exit(2)
"""
PRINT_TIME = "#!/usr/bin/python3\nimport time\nopen(%r, 'w').write(str(time.time()))\n"


@pytest.fixture
def box() -> Iterator[PoolInABox]:
    """A master and two members, each with VFs."""
    first, *others = [default_description(number, xen_options="iommu=1") for number in (1, 2, 3)]
    with PoolInABox([first], interpreter=sys.executable) as box:
        box.call(box.master, "load_pciback")
        box.call(box.master, "set_vf_count", pf="0000:07:00.0", count="3")
        for description in others:
            box.add_host(description, like=box.master)
        yield box


def protected_vm(box: PoolInABox, name: str = "web", pci: str = "0/0000:07:10.0") -> str:
    """On the second host."""
    vm = box.add_vm(name, other_config={"pci": pci})
    box.protect(vm)
    box.start(vm, box.hosts[1])
    return vm


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def host_of(box: PoolInABox, vm: str) -> str:
    return str(box.xapi.database.get("VM", vm, "resident_on"))


def test_ha_restarts_protected_vms_and_halts_the_rest(box: PoolInABox) -> None:
    vm, other = protected_vm(box), box.add_vm("other")
    box.start(other, box.hosts[1])
    box.lose(box.hosts[1], noticed=False)
    assert box.run_ha() == {vm: None}
    assert host_of(box, vm) in (box.hosts[0].ref, box.hosts[2].ref)
    assert box.devices(vm) == ["0000:07:10.0"]  # the same address, whatever it is there
    assert (box.power_state(other), host_of(box, other)) == ("Halted", NULL)
    assert box.run_ha() == {}


def test_best_effort_vms_come_last_and_once(box: PoolInABox) -> None:
    vm = box.add_vm("best effort")
    box.xapi.call("VM.set_ha_restart_priority", vm, "best-effort")
    box.start(vm, box.hosts[1])
    box.lose(box.hosts[1], noticed=False)
    assert box.run_ha() == {vm: None}
    box.shut_down(vm)
    assert box.run_ha() == {}


def test_ha_leaves_vms_down_that_their_user_shut_down(box: PoolInABox) -> None:
    vm = protected_vm(box)
    box.shut_down(vm)
    box.lose(box.hosts[1], noticed=False)
    assert box.run_ha() == {}
    assert box.power_state(vm) == "Halted"


def test_ha_restarts_vms_that_shut_themselves_down(box: PoolInABox) -> None:
    vm = protected_vm(box)
    box.shut_down_from_inside(vm)
    assert box.run_ha() == {vm: None}
    box.xapi.database.set("pool", box.xapi.pool, "ha_reboot_vm_on_internal_shutdown", False)
    box.shut_down_from_inside(vm)
    assert box.run_ha() == {}


def test_a_failed_attempt_is_not_made_again_within_two_minutes(box: PoolInABox) -> None:
    vm = protected_vm(box)
    done = os.path.join(box.folder, "done")
    for host in (box.hosts[0], box.hosts[2]):
        box.put_hook(host, "vm-pre-start", REFUSES_ONCE.format(done=done))
    box.lose(box.hosts[1], noticed=False)
    failure = box.run_ha()[vm]
    assert failure is not None
    assert (failure[0], failure[3]) == ("XAPI_HOOK_FAILED", "not yet\n")
    rounds = box.pass_time(100)
    assert len(rounds) == 5
    assert all("delayed" in str(outcome[vm]) for outcome in rounds)
    assert {vm: None} in box.pass_time(40)
    assert box.power_state(vm) == "Running"


def test_a_start_that_a_hook_has_queued_does_not_wait_for_ha(box: PoolInABox) -> None:
    vm = protected_vm(box)
    done = os.path.join(box.folder, "done")
    for host in (box.hosts[0], box.hosts[2]):
        box.put_hook(host, "vm-pre-start", STARTS_AGAIN.format(done=done))
    box.lose(box.hosts[1], noticed=False)
    failure = box.run_ha()[vm]
    assert failure is not None
    assert failure[0] == "XAPI_HOOK_FAILED"
    task = box.wait_for_task(failure[3].strip())
    assert (task["name_label"], task["status"]) == ("Async.VM.start_on", "success")
    assert box.devices(vm) == ["0000:07:10.2"]
    assert box.pass_time(200) == [{}] * 10  # HA has nothing left to do


def test_the_pool_hook_comes_before_the_starts_and_its_failure_is_ignored(box: PoolInABox) -> None:
    vm = protected_vm(box)
    said = os.path.join(box.folder, "said")
    box.put_hook(box.hosts[0], "pool-pre-ha-vm-restart", WRITES_A_KEY % said)
    assert box.run_ha() == {}
    assert not os.path.exists(said)  # nothing is to be started
    box.lose(box.hosts[1], noticed=False)
    assert box.run_ha() == {vm: None}
    with open(said) as file:
        assert json.load(file) == [["-reason", "none"], "Halted"]
    assert box.devices(vm) == ["0000:07:10.4"]


def test_vms_start_in_their_order_and_twenty_at_once(box: PoolInABox) -> None:
    notes = os.path.join(box.folder, "notes")
    vms = [protected_vm(box, f"vm{number}", "") for number in range(20)]
    for number, vm in enumerate(vms):
        box.xapi.call("VM.set_order", vm, number // 10)
    for host in (box.hosts[0], box.hosts[2]):
        box.put_hook(host, "vm-pre-start", f"#!/bin/sh\necho $2 >> {notes}\n")
    box.lose(box.hosts[1], noticed=False)
    assert box.run_ha() == dict.fromkeys(vms)
    with open(notes) as file:
        started = file.read().split()
    uuids = [box.xapi.database.get("VM", vm, "uuid") for vm in vms]
    assert sorted(started[:10]) == sorted(uuids[:10])
    hosts = [host_of(box, vm) for vm in vms]
    assert hosts.count(box.hosts[0].ref) == hosts.count(box.hosts[2].ref) == 10


def test_without_ha_an_administrator_declares_the_host_dead(box: PoolInABox) -> None:
    vm = protected_vm(box)
    with pytest.raises(Failure, match="HOST_IS_LIVE"):
        box.declare_dead(box.hosts[1])
    box.lose(box.hosts[1])
    assert box.power_state(vm) == "Running"  # as far as anybody knows
    box.declare_dead(box.hosts[1])
    assert box.power_state(vm) == "Halted"
    box.start(vm)
    box.bring_back(box.hosts[1])
    assert host_of(box, vm) != box.hosts[1].ref
    uuid = box.xapi.database.get("VM", vm, "uuid")
    assert box.xapi.life.hypervisor(box.xapi, box.hosts[1].ref).domain(uuid) is None


def test_a_start_ends_with_its_host(box: PoolInABox) -> None:
    vm = box.add_vm("web")
    gate = os.path.join(box.folder, "gate")
    box.put_hook(box.hosts[1], "vm-pre-start", f"#!/bin/sh\ntouch {gate}\nexec sleep 600\n")
    task = box.xapi.call("Async.VM.start_on", vm, box.hosts[1].ref, False, False)
    until(lambda: os.path.exists(gate))
    box.lose(box.hosts[1])
    assert box.wait_for_task(task)["error_info"] == ["CANNOT_CONTACT_HOST", box.hosts[1].ref]
    assert box.power_state(vm) == "Halted"
    assert box.xapi.database.get("VM", vm, "current_operations") == {}


def test_a_user_may_start_the_vm_before_the_queued_start_has_its_turn(box: PoolInABox) -> None:
    vm = box.add_vm("web", other_config={"pci": "0/0000:07:10.0"})
    script = box.put_hook(
        box.hosts[1], "vm-pre-start", STARTS_AGAIN.format(done=os.path.join(box.folder, "done"))
    )
    with box.waiting_calls_are_late():
        with pytest.raises(Failure) as caught:
            box.start(vm, box.hosts[1])
        os.unlink(script)
        box.start(vm, box.hosts[2])
    task = box.wait_for_task(caught.value.description[3].strip())
    assert task["error_info"] == ["VM_BAD_POWER_STATE", vm, "halted", "running"]
    assert host_of(box, vm) == box.hosts[2].ref


def test_a_hook_that_is_killed_fails_its_start(box: PoolInABox) -> None:
    vm = box.add_vm("web")
    gate = os.path.join(box.folder, "gate")
    box.put_hook(box.hosts[1], "vm-pre-start", f"#!/bin/sh\ntouch {gate}\nexec sleep 600\n")
    task = box.xapi.call("Async.VM.start_on", vm, box.hosts[1].ref, False, False)
    until(lambda: os.path.exists(gate))
    until(lambda: box.kill_programs(box.hosts[1]) == 1)
    assert box.wait_for_task(task)["error_info"][0] == "INTERNAL_ERROR"
    assert box.power_state(vm) == "Halted"


def test_a_hook_that_meets_a_silent_xapi_is_on_its_own(box: PoolInABox) -> None:
    vm = box.add_vm("web")
    box.put_hook(box.hosts[1], "vm-pre-start", STARTS_AGAIN.format(done=os.path.join(box.folder, "done")))
    with box.silent_xapi(box.hosts[1]):
        box.start(vm, box.hosts[1])  # its exception is status 1, which nobody minds
    assert box.power_state(vm) == "Running"
    with box.silent_xapi(box.hosts[0]), pytest.raises(OSError, match="refused"):
        box.call(box.hosts[1], "status")
    assert box.call(box.hosts[0], "status")["problems"] is not None


def test_time_that_passes_at_once_has_passed_for_hooks_too(box: PoolInABox) -> None:
    said = os.path.join(box.folder, "said")
    box.put_hook(box.hosts[0], "vm-pre-start", PRINT_TIME % said)
    times = []
    for _ in range(2):
        vm = box.add_vm("web")
        box.start(vm, box.hosts[0])
        with open(said) as file:
            times.append(float(file.read()))
        box.pass_time(1000)
    assert 1000 <= times[1] - times[0] < 1500
