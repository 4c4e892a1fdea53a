"""HA in the box: a dead host's VMs start elsewhere, failed attempts wait (virtual time). That hooks re-place
them meanwhile is in tests/pool."""

import os
import sys
from typing import Iterator

import pytest
from box import PoolInABox
from machine_description import default_description
from values import NULL

REFUSES_ONCE = """#!/bin/sh
[ -e {done} ] && exit 0
touch {done}
echo 'not yet'
exit 2
"""


@pytest.fixture
def box() -> Iterator[PoolInABox]:
    """A master and two members."""
    with PoolInABox([default_description(number) for number in (1, 2, 3)], interpreter=sys.executable) as box:
        yield box


def started_vm(box: PoolInABox, priority: str, name: str = "web") -> str:
    """On the second host."""
    vm = box.add_vm(name)
    box.xapi.call("VM.set_ha_restart_priority", vm, priority)
    box.start(vm, box.hosts[1])
    return vm


def host_of(box: PoolInABox, vm: str) -> str:
    return str(box.xapi.database.get("VM", vm, "resident_on"))


def test_ha_restarts_protected_vms_and_halts_the_rest(box: PoolInABox) -> None:
    vm, best_effort, other = (started_vm(box, priority) for priority in ("restart", "best-effort", ""))
    box.lose(box.hosts[1], noticed=False)
    assert box.run_ha() == {vm: None, best_effort: None}
    assert host_of(box, vm) in (box.hosts[0].ref, box.hosts[2].ref)
    assert (box.power_state(other), host_of(box, other)) == ("Halted", NULL)
    box.shut_down(best_effort, hard=True)
    assert box.run_ha() == {}  # best effort is made once


def test_ha_leaves_vms_down_that_their_user_shut_down(box: PoolInABox) -> None:
    vm = started_vm(box, "restart")
    box.shut_down(vm)
    box.lose(box.hosts[1], noticed=False)
    assert box.run_ha() == {}
    assert box.power_state(vm) == "Halted"


def test_ha_restarts_vms_that_shut_themselves_down(box: PoolInABox) -> None:
    vm = started_vm(box, "restart")
    box.shut_down_from_inside(vm)
    assert box.run_ha() == {vm: None}
    box.xapi.database.set("pool", box.xapi.pool, "ha_reboot_vm_on_internal_shutdown", False)
    box.shut_down_from_inside(vm)
    assert box.run_ha() == {}


def test_a_failed_attempt_is_not_made_again_within_two_minutes(box: PoolInABox) -> None:
    vm, done = started_vm(box, "restart"), os.path.join(box.folder, "done")
    for host in (box.hosts[0], box.hosts[2]):
        box.put_hook(host, "vm-pre-start", REFUSES_ONCE.format(done=done))
    box.lose(box.hosts[1], noticed=False)
    failure = box.run_ha()[vm]
    assert failure is not None
    assert (failure[0], failure[3]) == ("XAPI_HOOK_FAILED", "not yet\n")
    rounds = box.pass_time(100)
    assert ["delayed" in str(outcome[vm]) for outcome in rounds] == [True] * 5
    assert {vm: None} in box.pass_time(40)


def test_vms_start_in_their_order_spread_over_the_hosts(box: PoolInABox) -> None:
    notes = os.path.join(box.folder, "notes")
    vms = [started_vm(box, "restart", f"vm{number}") for number in range(6)]
    for number, vm in enumerate(vms):
        box.xapi.call("VM.set_order", vm, number // 3)
    for host in (box.hosts[0], box.hosts[2]):
        box.put_hook(host, "vm-pre-start", f"#!/bin/sh\necho $2 >> {notes}\n")
    box.lose(box.hosts[1], noticed=False)
    assert box.run_ha() == dict.fromkeys(vms)
    with open(notes) as file:
        started = file.read().split()
    assert set(started[:3]) == {box.xapi.database.get("VM", vm, "uuid") for vm in vms[:3]}
    assert sorted(host_of(box, vm) for vm in vms) == sorted([box.hosts[0].ref, box.hosts[2].ref] * 3)
