"""Devices that xapi itself gives to VMs: VFs of its own SR-IOV, by a VIF. They are no entries, and xenopsd
plugs them as it does entries, at each reboot again."""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Iterator

import pytest
from box import PoolInABox
from estate import Estate, Gate, alike, calls_watched
from sriovlib.vf import start_notes

pytestmark = pytest.mark.story

OURS, MANAGEMENT = "0000:07:10.0", "0000:02:00.0"


@pytest.fixture(scope="module")
def made() -> Iterator[Estate]:
    """xapi has eth2 for its own SR-IOV, and its VFs are on the network `by xapi`."""
    with PoolInABox([alike(1), alike(2)], interpreter=sys.executable) as box:
        estate = Estate(box)
        box.add_sriov_network(box.hosts[0], "eth2", "by xapi")
        yield estate


@pytest.fixture
def estate(made: Estate) -> Iterator[Estate]:
    yield made
    made.clear()


def with_vif(estate: Estate, vm: str) -> str:
    (network,) = estate.box.xapi.database.by_name_label("network", "by xapi")
    given = {"VM": vm, "network": network, "device": "0", "MAC": "", "MTU": "1500", "other_config": {}}
    estate.box.xapi.call("VIF.create", {**given, "qos_algorithm_type": ""})
    return vm


def test_a_guest_with_one_reboots_while_the_toolstack_restarts(estate: Estate) -> None:
    vm = with_vif(estate, estate.vm("web"))
    estate.start(vm, 0)
    devices = estate.box.devices(vm)
    assert len(devices) == 1
    with estate.box.silent_xapi(estate.box.hosts[0]), estate.impatient(0):
        estate.box.reboot_from_inside(vm)
        estate.box.reboot_from_inside(vm)
    assert estate.box.devices(vm) == devices


def test_so_does_one_that_has_a_vf_of_a_request_beside_it(estate: Estate) -> None:
    vm = with_vif(estate, estate.with_vf("web", vlan="12"))
    estate.start(vm, 0)
    devices = estate.box.devices(vm)
    assert (len(devices), OURS in devices) == (2, True)
    with estate.box.silent_xapi(estate.box.hosts[0]), estate.impatient(0):
        estate.box.reboot_from_inside(vm)
        estate.box.reboot_from_inside(vm)
    assert (estate.box.devices(vm), estate.settings(0, OURS)) == (devices, (estate.mac(vm), 12))


def test_and_one_that_has_run_since_before_the_package_came_once_xapi_has_answered(estate: Estate) -> None:
    vm = with_vif(estate, estate.vm("web"))
    estate.start(vm, 0)
    start_notes.remove(estate.box.hosts[0].machine, estate.uuid(vm))
    estate.box.reboot_from_inside(vm)
    with estate.box.silent_xapi(estate.box.hosts[0]), estate.impatient(0):
        estate.box.reboot_from_inside(vm)
    assert len(estate.box.devices(vm)) == 1


def test_its_start_takes_one_call_and_waits_for_no_other_work_on_vfs(estate: Estate) -> None:
    vm, host = with_vif(estate, estate.vm("web")), estate.box.hosts[0]
    watched = calls_watched(estate.box, host, lambda _number, _name: None)
    with watched as seen, host.machine.lock("vfs", "sriov-restore"):
        estate.start(vm, 0)
        estate.box.shut_down_from_inside(vm)  # its note stays
        estate.start(vm, 0)
        estate.box.shut_down(vm, hard=True)
    assert (seen.count("VM.get_all_records_where"), "pool.get_all_records" in seen) == (2, False)
    assert start_notes.read(host.machine, estate.uuid(vm)) is None


def test_what_was_added_beside_it_is_not_taken_for_xapis(estate: Estate) -> None:
    vm, host = with_vif(estate, estate.vm("web")), estate.box.hosts[0]
    estate.start(vm, 0)
    estate.set_pci(vm, f"1/{MANAGEMENT}")
    with pytest.raises(Exception, match="SRIOV_NEEDED_BY_DOM0"):
        estate.box.reboot_from_inside(vm)
    assert host.machine.exists("/sys/class/net/eth0")


@pytest.mark.parametrize("after", [f"0/{OURS}", f"0/{OURS},7/{MANAGEMENT}"])
def test_entries_that_are_changed_as_the_vm_is_being_started_are_not_what_is_plugged(
    estate: Estate, after: str
) -> None:
    """xapi has told xenopsd of those before, and those would be plugged whatever the hook sees by now."""
    vm, host = estate.vm("web", f"0/{MANAGEMENT}"), estate.box.hosts[0]
    with Gate(host, "10-before") as gate, ThreadPoolExecutor(1) as threads:
        lines = threads.submit(estate.refused, vm, 0)
        gate.wait_for(estate.uuid(vm))
        estate.set_pci(vm, after)
        gate.open()
        first, message, hint = lines.result()
    assert first.startswith("SRIOV_NOT_PLACED ")
    assert message.startswith(f"The entries of web were changed while it was starting: {OURS} would not be")
    assert hint == "Start the VM again."
    assert host.machine.exists("/sys/class/net/eth0")
