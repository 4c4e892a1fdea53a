"""VMs of the box start and end on fake machines as on hosts, beyond what the transcripts have."""

import os
from typing import List

import pytest
import vif_functions
from box import PoolInABox
from checks import refused, until
from values import Failure

NOTES = """#!/usr/bin/python3
import os, sys
with open({notes!r}, "a") as file:
    file.write(" ".join([os.path.basename(os.path.dirname(sys.argv[0])), *sys.argv[3:]]) + "\\n")
"""
HOOKS = ("vm-pre-start", "vm-pre-reboot", "vm-pre-shutdown", "vm-post-destroy")
WAITS = "#!/bin/sh\nwhile [ ! -e '{gate}' ]; do sleep 0.02; done\nexit {status}\n"


@pytest.fixture
def box(lone_iommu_box: PoolInABox) -> PoolInABox:
    return lone_iommu_box


class Recorder:
    """Scripts in hook folders of the host that note what they are given."""

    def __init__(self, box: PoolInABox) -> None:
        self._notes = os.path.join(box.folder, "notes")
        for hook in HOOKS:
            box.put_hook(box.master, hook, NOTES.format(notes=self._notes), "99-notes")

    def notes(self) -> List[str]:
        """Since the last time: hook, reason and further arguments, without the number of the domain."""
        if not os.path.exists(self._notes):
            return []
        with open(self._notes) as file:
            lines = file.read().splitlines()
        os.unlink(self._notes)
        return [" ".join(word for word in line.split() if not word.isdigit()) for line in lines]


@pytest.mark.parametrize("address", ["0000:99:00.0", "0000:07:10.0"], ids=["no device", "another VM's"])
def test_a_start_that_cannot_have_its_device_leaves_nothing(box: PoolInABox, address: str) -> None:
    other = box.add_vm("other", other_config={"pci": "0/0000:07:10.0"})
    vm = box.add_vm("web", other_config={"pci": f"0/{address}"})
    box.start(other)
    recorder = Recorder(box)
    code, reason = refused(box.start, vm)
    assert code == "INTERNAL_ERROR"
    assert address in reason
    record = box.xapi.database.record("VM", vm)
    assert (record["power_state"], record["current_operations"], record["domid"]) == ("Halted", {}, -1)
    assert recorder.notes() == ["vm-pre-start -reason none"]  # no further hook runs


def test_hooks_know_the_domain_while_there_is_one(box: PoolInABox) -> None:
    """And run where a guest reboots itself, but not where it shuts itself down."""
    vm, recorder = box.add_vm("web"), Recorder(box)
    box.start(vm)
    assert recorder.notes() == ["vm-pre-start -reason none"]
    box.reboot_from_inside(vm)
    assert recorder.notes() == [
        "vm-pre-shutdown -reason hard-reboot -vmdomid",
        "vm-post-destroy -reason hard-reboot",
        "vm-pre-reboot -reason none",
        "vm-pre-start -reason none",
    ]
    box.shut_down_from_inside(vm)
    assert recorder.notes() == []
    assert box.power_state(vm) == "Halted"


def test_a_refused_reboot_from_inside_halts_the_vm(box: PoolInABox) -> None:
    vm = box.add_vm("web")
    box.start(vm)
    box.put_hook(box.master, "vm-pre-start", "#!/bin/sh\necho no\nexit 2\n")
    failure = refused(box.reboot_from_inside, vm)
    assert failure == ["XAPI_HOOK_FAILED", "vm-pre-start/50-test", "none", "no\n", "2"]
    assert box.power_state(vm) == "Halted"


def test_a_queued_start_does_not_outlive_the_masters_xapi(box: PoolInABox) -> None:
    vm, gate = box.add_vm("web"), os.path.join(box.folder, "gate")
    box.put_hook(box.master, "vm-pre-start", WAITS.format(gate=gate, status=2))
    for _ in range(2):
        box.xapi.call("Async.VM.start", vm, False, False)
    until(lambda: box.xapi.life.waiting == 1)
    box.xapi.restart_toolstack(box.master.ref)
    until(lambda: box.xapi.life.waiting == 0)
    open(gate, "w").close()
    assert box.wait_for_calls()
    assert box.power_state(vm) == "Halted"


def test_a_hard_shutdown_ends_a_reboot_that_waits_for_its_hook(box: PoolInABox) -> None:
    vm, gate = box.add_vm("web"), os.path.join(box.folder, "gate")
    box.start(vm)
    box.put_hook(box.master, "vm-pre-reboot", WAITS.format(gate=gate, status=0))
    reboot = box.xapi.call("Async.VM.hard_reboot", vm)
    until(lambda: box.xapi.database.get("VM", vm, "allowed_operations") == ["hard_shutdown"])
    shutdown = box.xapi.call("Async.VM.hard_shutdown", vm)
    until(lambda: "hard_shutdown" in box.xapi.database.get("VM", vm, "current_operations").values())
    open(gate, "w").close()
    outcomes = [box.wait_for_task(task)["status"] for task in (reboot, shutdown)]
    assert (outcomes, box.power_state(vm)) == (["cancelled", "success"], "Halted")


def test_a_domain_that_ends_resets_what_xenstore_says_is_its_own(box: PoolInABox) -> None:
    """Whosesoever it is by then: here nobody has taken the key away, and another guest has the device."""
    machine, device = box.master.machine, "0000:07:10.0"
    first, second = (box.add_vm(name, other_config={"pci": f"0/{device}"}) for name in ("first", "second"))
    box.start(first)
    control = machine.xen_control()
    control.deassign(int(box.xapi.database.get("VM", first, "domid")), device)
    box.start(second)
    box.shut_down(first)
    assert box.resets_under_guests(box.master) == [device]


def test_a_vif_that_netback_serves(box: PoolInABox) -> None:
    """VIF.create, by a client: the hypervisor is told of its MAC and bridge."""
    vm = box.add_vm("web")
    network = box.xapi.call("network.get_all")[0]
    box.xapi.call("VIF.create", {"device": "0", "network": network, "VM": vm, "MAC": "02:16:3e:00:00:01"})
    (vif,) = vif_functions.of_netback(box.xapi, vm)
    assert vif == ("02:16:3e:00:00:01", box.xapi.call("network.get_bridge", network))
    with pytest.raises(Failure, match="HANDLE_INVALID"):
        box.xapi.call("VIF.create", {"device": "1", "network": "OpaqueRef:none", "VM": vm, "MAC": ""})
