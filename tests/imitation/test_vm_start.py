"""VMs of the box start and end on fake machines as on hosts: their devices, and what is left of them."""

import os
import sys
import time
from typing import Callable, Dict, Iterator, List

import pytest
from box import PoolInABox
from machine_description import default_description
from values import Failure

PORT = "0000:07:00.0"
MANAGEMENT = "0000:02:00.0"
VFS = ["0000:07:10.0", "0000:07:10.2", "0000:07:10.4"]
NOTES = """#!/usr/bin/python3
import os, sys
with open({notes!r}, "a") as file:
    file.write(" ".join([os.path.basename(os.path.dirname(sys.argv[0])), *sys.argv[3:]]) + "\\n")
"""
HOOKS = (
    *("vm-pre-start", "vm-pre-reboot", "vm-pre-shutdown", "vm-post-destroy", "vm-pre-suspend"),
    *("vm-pre-resume", "vm-post-resume", "vm-pre-migrate", "vm-post-migrate"),
)


@pytest.fixture(scope="module")
def pool() -> Iterator[PoolInABox]:
    """Two hosts whose Xen uses the IOMMU, with VFs on pciback; xapi has been restarted since."""
    descriptions = [default_description(number, xen_options="iommu=1") for number in (1, 2)]
    with PoolInABox(descriptions, interpreter=sys.executable) as box:
        for host in box.hosts:
            box.call(host, "load_pciback")
            box.call(host, "set_vf_count", pf=PORT, count="3")
            box.xapi.restart_toolstack(host.ref)
        yield box


@pytest.fixture
def box(pool: PoolInABox) -> Iterator[PoolInABox]:
    """Without VMs."""
    yield pool
    database = pool.xapi.database
    for vm in database.refs("VM"):
        if not database.get("VM", vm, "is_control_domain"):
            if pool.power_state(vm) != "Halted":
                pool.shut_down(vm, hard=True)
            pool.xapi.call("VM.destroy", vm)


def add_vm(box: PoolInABox, pci: str, name: str = "web") -> str:
    return box.add_vm(name, other_config={"pci": pci})


def set_pci(box: PoolInABox, vm: str, pci: str) -> None:
    box.xapi.call("VM.set_other_config", vm, {"pci": pci})


def drivers(box: PoolInABox, number: int = 0) -> Dict[str, str]:
    host = box.hosts[number]
    return {vf["address"]: vf["driver"] for vf in box.call(host, "list_vfs")}


def refusal(box: PoolInABox, method: str, *params: object) -> List[str]:
    with pytest.raises(Failure) as caught:
        box.xapi.call(method, *params)
    return caught.value.description


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


class Recorder:
    """Scripts in every hook folder of a host that note what they are given."""

    def __init__(self, box: PoolInABox) -> None:
        self._notes = os.path.join(box.folder, "notes")
        self._scripts = [
            box.put_hook(host, hook, NOTES.format(notes=self._notes), "99-notes")
            for host in box.hosts
            for hook in HOOKS
        ]

    def notes(self) -> List[str]:
        """Since the last time: hook, reason and further arguments, without the number of the domain."""
        if not os.path.exists(self._notes):
            return []
        with open(self._notes) as file:
            lines = file.read().splitlines()
        os.unlink(self._notes)
        return [" ".join(word for word in line.split() if not word.isdigit()) for line in lines]

    def remove(self) -> None:
        for script in self._scripts:
            os.unlink(script)


@pytest.fixture
def recorder(box: PoolInABox) -> Iterator[Recorder]:
    recorder = Recorder(box)
    yield recorder
    recorder.remove()


# -- devices ---------------------------------------------------------------------------------------


def test_a_vm_gets_the_devices_of_its_list_in_their_order_and_leaves_them_to_pciback(box: PoolInABox) -> None:
    vm = add_vm(box, "1/0000:07:10.0,0/0000:07:10.2,rubbish,0/0000:07:10.4")
    box.start(vm, box.hosts[0])
    assert box.devices(vm) == ["0000:07:10.4", "0000:07:10.2", "0000:07:10.0"]
    states = {vf["address"]: vf["state"] for vf in box.call(box.hosts[0], "list_vfs")}
    assert states == dict.fromkeys(VFS, "in-use")
    box.shut_down(vm)
    assert (box.power_state(vm), box.devices(vm)) == ("Halted", [])
    assert drivers(box) == dict.fromkeys(VFS, "pciback")


def test_a_device_that_xapi_has_no_object_for_is_given_and_not_shown(box: PoolInABox) -> None:
    known, unknown = add_vm(box, "0/0000:07:10.0"), add_vm(box, "0/0000:07:10.2")
    (hidden,) = box.xapi.database.where(
        "PCI", f'field "pci_id"="{VFS[1]}" and field "host"="{box.hosts[0].ref}"'
    )
    box.xapi.database.destroy("PCI", hidden)
    for vm in (known, unknown):
        box.start(vm, box.hosts[0])
    assert len(box.xapi.database.get("VM", known, "attached_PCIs")) == 1
    assert box.xapi.database.get("VM", unknown, "attached_PCIs") == []
    assert refusal(box, "VM.suspend", known) == ["VM_HAS_PCI_ATTACHED", known]
    assert refusal(box, "VM.suspend", unknown) == ["VM_NO_SUSPEND_SR", unknown]


def test_an_address_is_taken_from_whatever_driver_has_it(box: PoolInABox) -> None:
    vm = add_vm(box, f"0/{MANAGEMENT}")
    host = box.hosts[1]
    assert os.path.exists(host.machine.path("/sys/class/net/eth0"))
    box.start(vm, host)
    assert box.devices(vm) == [MANAGEMENT]
    assert not os.path.exists(host.machine.path("/sys/class/net/eth0"))
    box.shut_down(vm)
    host.machine.write_attribute("/sys/bus/pci/drivers/pciback/unbind", MANAGEMENT)
    host.machine.write_attribute("/sys/bus/pci/drivers/pciback/remove_slot", MANAGEMENT)
    host.machine.write_attribute("/sys/bus/pci/drivers_probe", MANAGEMENT)


@pytest.mark.parametrize("address", ["0000:99:00.0", "0000:07:10.0"], ids=["no device", "another VM's"])
def test_a_start_that_cannot_have_its_device_leaves_nothing(
    box: PoolInABox, recorder: Recorder, address: str
) -> None:
    other, vm = add_vm(box, "0/0000:07:10.0", "other"), add_vm(box, f"0/{address}")
    box.start(other, box.hosts[0])
    recorder.notes()
    code, reason = refusal(box, "VM.start_on", vm, box.hosts[0].ref, False, False)
    assert code == "INTERNAL_ERROR"
    assert address in reason
    record = box.xapi.database.record("VM", vm)
    assert (record["power_state"], record["current_operations"], record["domid"]) == ("Halted", {}, -1)
    assert recorder.notes() == ["vm-pre-start -reason none"]  # no further hook runs


def test_without_pciback_no_vm_with_devices_starts(box: PoolInABox) -> None:
    plain, vm = add_vm(box, ""), add_vm(box, "0/0000:07:10.0")
    folder = box.hosts[0].machine.path("/sys/bus/pci/drivers/pciback")
    os.rename(folder, folder + "-gone")
    try:
        assert "PCIBack_not_loaded" in refusal(box, "VM.start_on", vm, box.hosts[0].ref, False, False)[1]
        box.start(plain, box.hosts[0])
    finally:
        os.rename(folder + "-gone", folder)


def test_a_changed_list_waits_for_a_shutdown_and_a_start(box: PoolInABox) -> None:
    vm = add_vm(box, "0/0000:07:10.0")
    box.start(vm, box.hosts[0])
    set_pci(box, vm, "0/0000:07:10.2")
    box.reboot(vm)
    assert box.devices(vm) == ["0000:07:10.0"]
    box.reboot_from_inside(vm)
    assert box.devices(vm) == ["0000:07:10.0"]
    box.shut_down(vm)
    box.start(vm, box.hosts[0])
    assert box.devices(vm) == ["0000:07:10.2"]


def test_a_host_that_is_evacuated_or_behind_in_an_upgrade_is_not_started_on_by_name(box: PoolInABox) -> None:
    vm, old = add_vm(box, ""), box.hosts[1]
    start_on = ("VM.start_on", vm, old.ref, False, False)
    with box.evacuating(old):
        assert refusal(box, *start_on) == ["HOST_EVACUATE_IN_PROGRESS", old.ref]
    software = box.xapi.database.get("host", old.ref, "software_version")
    box.xapi.database.set("host", old.ref, "software_version", {**software, "product_version": "8.2.1"})
    with box.upgrading():
        assert refusal(box, *start_on) == ["NOT_SUPPORTED_DURING_UPGRADE"]
    box.start(vm, old)
    box.xapi.database.set("host", old.ref, "software_version", software)


def test_nomigrate_counts_as_it_was_at_the_start(box: PoolInABox) -> None:
    vm = add_vm(box, "")
    box.start(vm)
    box.xapi.call("VM.add_to_platform", vm, "nomigrate", "true")
    assert refusal(box, "VM.suspend", vm) == ["VM_NO_SUSPEND_SR", vm]
    box.shut_down(vm)
    box.start(vm)
    assert refusal(box, "VM.suspend", vm) == ["VM_IS_IMMOBILE", vm]


# -- hooks -----------------------------------------------------------------------------------------


def test_hooks_know_the_domain_while_there_is_one(box: PoolInABox, recorder: Recorder) -> None:
    vm = add_vm(box, "")
    box.start(vm)
    assert recorder.notes() == ["vm-pre-start -reason none"]
    box.reboot(vm)
    assert recorder.notes() == [
        "vm-pre-shutdown -reason clean-reboot -vmdomid",
        "vm-post-destroy -reason clean-reboot",
        "vm-pre-reboot -reason none",
        "vm-pre-start -reason none",
    ]
    box.shut_down(vm, hard=True)
    assert recorder.notes() == [
        "vm-pre-shutdown -reason hard-shutdown -vmdomid",
        "vm-post-destroy -reason hard-shutdown",
    ]


def test_a_guest_that_reboots_itself_runs_the_hooks_and_one_that_shuts_itself_down_none(
    box: PoolInABox, recorder: Recorder
) -> None:
    vm = add_vm(box, "0/0000:07:10.0")
    box.start(vm, box.hosts[0])
    recorder.notes()
    box.reboot_from_inside(vm)
    assert [note.split()[0] for note in recorder.notes()] == [
        *("vm-pre-shutdown", "vm-post-destroy", "vm-pre-reboot", "vm-pre-start")
    ]
    box.shut_down_from_inside(vm)
    assert recorder.notes() == []
    assert (box.power_state(vm), box.devices(vm)) == ("Halted", [])


def test_a_refused_reboot_from_inside_halts_the_vm(box: PoolInABox) -> None:
    vm = add_vm(box, "")
    box.start(vm, box.hosts[0])
    script = box.put_hook(box.hosts[0], "vm-pre-start", "#!/bin/sh\necho no\nexit 2\n")
    with pytest.raises(Failure) as caught:
        box.reboot_from_inside(vm)
    os.unlink(script)
    assert caught.value.description == ["XAPI_HOOK_FAILED", "vm-pre-start/50-test", "none", "no\n", "2"]
    assert box.power_state(vm) == "Halted"


def test_suspend_and_resume_plug_the_list_of_the_day_once_the_hook_has_agreed(
    box: PoolInABox, recorder: Recorder
) -> None:
    vm = add_vm(box, "")
    box.xapi.call("VM.set_suspend_SR", vm, "OpaqueRef:storage")
    box.start(vm, box.hosts[0])
    recorder.notes()
    box.xapi.call("VM.suspend", vm)
    assert box.power_state(vm) == "Suspended"
    set_pci(box, vm, "0/0000:07:10.4")
    script = box.put_hook(box.hosts[0], "vm-pre-resume", "#!/bin/sh\nexit 2\n")
    assert refusal(box, "VM.resume_on", vm, box.hosts[0].ref, False, False)[0] == "XAPI_HOOK_FAILED"
    os.unlink(script)
    assert box.power_state(vm) == "Suspended"
    box.xapi.call("VM.resume_on", vm, box.hosts[0].ref, False, False)
    assert box.devices(vm) == ["0000:07:10.4"]
    assert [note.split()[0] for note in recorder.notes()] == [
        *("vm-pre-suspend", "vm-pre-shutdown", "vm-post-destroy", "vm-pre-resume", "vm-post-resume")
    ]


def test_a_vm_whose_device_xapi_does_not_know_is_really_sent_away_from_it(box: PoolInABox) -> None:
    vm = add_vm(box, "")
    box.start(vm, box.hosts[0])
    set_pci(box, vm, "0/0000:07:10.0")
    box.xapi.call("VM.pool_migrate", vm, box.hosts[1].ref, {})
    assert box.xapi.database.get("VM", vm, "resident_on") == box.hosts[1].ref
    assert box.devices(vm) == ["0000:07:10.0"]  # taken there, blindly


def test_a_queued_start_does_not_outlive_the_masters_xapi(box: PoolInABox) -> None:
    vm = add_vm(box, "")
    gate = os.path.join(box.folder, "gate of the first")
    text = f"#!/bin/sh\nwhile [ ! -e '{gate}' ]; do sleep 0.02; done\nexit 2\n"
    script = box.put_hook(box.hosts[1], "vm-pre-start", text)
    for _ in range(2):
        box.xapi.call("Async.VM.start_on", vm, box.hosts[1].ref, False, False)
    until(lambda: box.xapi.life.waiting == 1)
    box.xapi.restart_toolstack(box.xapi.master)
    until(lambda: box.xapi.life.waiting == 0)
    open(gate, "w").close()
    assert box.wait_for_calls()
    os.unlink(script)
    assert box.power_state(vm) == "Halted"


def test_a_hard_shutdown_ends_a_reboot_that_waits_for_its_hook(box: PoolInABox) -> None:
    vm = add_vm(box, "")
    box.start(vm, box.hosts[0])
    gate = os.path.join(box.folder, "gate")
    text = f"#!/bin/sh\nwhile [ ! -e {gate} ]; do sleep 0.02; done\n"
    script = box.put_hook(box.hosts[0], "vm-pre-reboot", text)
    reboot = box.xapi.call("Async.VM.hard_reboot", vm)
    until(lambda: box.xapi.database.get("VM", vm, "allowed_operations") == ["hard_shutdown"])
    shutdown = box.xapi.call("Async.VM.hard_shutdown", vm)
    until(lambda: "hard_shutdown" in box.xapi.database.get("VM", vm, "current_operations").values())
    open(gate, "w").close()
    outcomes = [box.wait_for_task(task) for task in (reboot, shutdown)]
    os.unlink(script)
    assert box.power_state(vm) == "Halted"
    assert [outcome["status"] for outcome in outcomes] == ["cancelled", "success"]
