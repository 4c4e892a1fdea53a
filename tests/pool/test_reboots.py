"""What a reboot plugs: what the VM had, and what somebody has added to its entries while it ran. That is
judged as at a start, and costs no guest its reboot where it is right, or where xapi has nothing to say."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Iterator, List

import pytest
import vm_hooks
from estate import Estate, calls_watched
from sriovlib.starts import hooks
from sriovlib.vf import start_notes
from values import Failure

pytestmark = pytest.mark.story

VF, SECOND, MANAGEMENT = "0000:07:10.0", "0000:07:10.2", "0000:02:00.0"


@pytest.fixture
def estate(mixed: Estate) -> Estate:
    """The VFs of the first host, where all of this happens, have other addresses than the second's."""
    return mixed


def refused_reboot(estate: Estate, vm: str) -> List[str]:
    """The lines of the refusal."""
    with pytest.raises(Failure) as failure:
        estate.box.reboot_from_inside(vm)
    assert estate.box.power_state(vm) == "Halted"
    return estate.lines(failure.value)


def running_with(estate: Estate, name: str, pci: str) -> str:
    """A VM that was started with these entries on the first host."""
    vm = estate.vm(name, pci)
    estate.start(vm, 0)
    return vm


@contextmanager
def xapi_fails(estate: Estate, call: str, times: int = 1000) -> Iterator[None]:
    """The first so many of these calls from the first host's dom0 end in an error."""
    failed: List[int] = []

    def act(number: int, name: str) -> None:
        if name == call and len(failed) < times:
            failed.append(number)
            raise Failure("INTERNAL_ERROR", "Db_exn.DBCache_NotFound")

    with calls_watched(estate.box, estate.box.hosts[0], act):
        yield
    assert failed


@contextmanager
def xenopsd_keeps_no_files(estate: Estate) -> Iterator[None]:
    """Its files are in a place, or of a kind, that we do not know."""
    files = estate.box.hosts[0].machine.path("/run/nonpersistent/xenopsd")
    away = f"#!/bin/sh\nmv {files} {files}.away\n"
    script = estate.box.put_hook(estate.box.hosts[0], "vm-pre-reboot", away)
    yield
    os.unlink(script)
    os.rename(f"{files}.away", files)


# -- entries that were added while the VM ran --------------------------------------------------------


@pytest.mark.parametrize("before", ["", f"0/{VF}"])
def test_a_reboot_does_not_take_the_management_nic(estate: Estate, before: str) -> None:
    vm = running_with(estate, "web", before)
    estate.set_pci(vm, ",".join(filter(None, [before, f"7/{MANAGEMENT}"])))
    first, message, hint = refused_reboot(estate, vm)
    assert first.startswith(f"SRIOV_NEEDED_BY_DOM0 {estate.uuid(vm)} ")
    assert message == (
        f"The entry `7/{MANAGEMENT}` names {MANAGEMENT} (8086:1521), which dom0 needs for the management "
        "interface eth0."
    )
    assert f"pci={before}`" in hint if before else "vm-param-remove" in hint
    assert estate.box.hosts[0].machine.exists("/sys/class/net/eth0")


def test_nor_where_it_could_not_be_noted_that_it_is_a_reboot(estate: Estate) -> None:
    vm, plain = running_with(estate, "web", f"0/{VF}"), running_with(estate, "plain", "")
    marks = [f"/run/sriov/{start_notes.REBOOT_PREFIX}{estate.uuid(one)}" for one in (vm, plain)]
    for mark in marks:
        os.makedirs(estate.box.hosts[0].machine.path(mark))
    estate.set_pci(vm, f"0/{VF},7/{MANAGEMENT}")
    first, _, _ = refused_reboot(estate, vm)
    estate.box.reboot_from_inside(plain)
    for mark in marks:
        os.rmdir(estate.box.hosts[0].machine.path(mark))
    assert first.startswith("SRIOV_NEEDED_BY_DOM0 ")


@pytest.mark.parametrize("before", ["", f"0/{SECOND}"])
def test_a_reboot_does_not_take_the_vf_of_a_halted_vm(estate: Estate, before: str) -> None:
    halted, vm = estate.with_vf("halted"), running_with(estate, "greedy", before)
    estate.set_pci(vm, f"{before},1/{VF}")
    first, message, _ = refused_reboot(estate, vm)
    assert first.startswith("SRIOV_VF_IN_USE ")
    assert f"VM halted ({estate.uuid(halted)}), to which it is leased" in message
    estate.start(halted, 0)
    assert estate.box.devices(halted) == [VF]


def test_nor_that_of_a_running_one(estate: Estate) -> None:
    web, plain = running_with(estate, "web", f"0/{VF}"), running_with(estate, "plain", "")
    estate.set_pci(plain, f"0/{VF}")
    first, message, _ = refused_reboot(estate, plain)
    assert first.startswith("SRIOV_VF_IN_USE ")
    assert "the running VM web" in message
    assert estate.box.devices(web) == [VF]


def test_a_reboot_goes_on_with_a_free_vf_more(estate: Estate) -> None:
    vm = running_with(estate, "web", f"0/{VF}")
    estate.set_pci(vm, f"0/{VF},1/{SECOND}")
    estate.box.reboot_from_inside(vm)
    assert estate.box.devices(vm) == [VF, SECOND]
    with estate.box.silent_xapi(estate.box.hosts[0]):
        estate.box.reboot_from_inside(vm)
    assert estate.box.devices(vm) == [VF, SECOND]


def test_an_entry_that_its_vm_has_a_request_for_arrives_with_mac_and_vlan(estate: Estate) -> None:
    """Somebody had taken it out, and puts it back."""
    vm = estate.with_vf("web", vlan="12")
    entries = estate.pci(vm)
    estate.box.xapi.call("VM.remove_from_other_config", vm, "pci")
    estate.start(vm, 0)
    assert estate.box.devices(vm) == []
    estate.set_pci(vm, entries)
    estate.box.reboot_from_inside(vm)
    assert (estate.box.devices(vm), estate.settings(0, VF)) == ([VF], (estate.mac(vm), 12))


def test_what_xenopsd_still_plugs_though_no_entry_names_it_is_judged(estate: Estate) -> None:
    """A list without an entry that is plugged, xenopsd does not take over, so it keeps the one before."""
    vm = running_with(estate, "web", f"0/{VF}")
    halted = estate.with_vf("halted")
    assert estate.pci(halted) == f"0/{SECOND}"
    estate.set_pci(vm, f"0/{VF},1/{SECOND}")
    estate.box.let_xenopsd_know(vm)
    estate.box.xapi.call("VM.remove_from_other_config", vm, "pci")
    first, message, hint = refused_reboot(estate, vm)
    assert first.startswith("SRIOV_VF_IN_USE ")
    assert "halted" in message
    assert hint == "Start the VM: its entries do not name this device any more."
    estate.start(vm, 0)
    assert estate.box.devices(vm) == []


@pytest.mark.parametrize("before", ["", f"0/{VF}"])
def test_where_nothing_is_known_of_xenopsd_the_entries_are_judged(estate: Estate, before: str) -> None:
    vm = running_with(estate, "web", before)
    estate.set_pci(vm, f"{before},7/{MANAGEMENT}")
    with xenopsd_keeps_no_files(estate):
        first, _, _ = refused_reboot(estate, vm)
    assert first.startswith("SRIOV_NEEDED_BY_DOM0 ")


# -- xapi does not help ------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "more"), [("", VF), (f"0/{SECOND}", MANAGEMENT)])
def test_while_xapi_is_silent_a_reboot_takes_nothing_more(estate: Estate, before: str, more: str) -> None:
    """Neither dom0's NIC nor the VF of a halted VM, which pciback has as it has any other."""
    halted, vm = estate.with_vf("halted"), running_with(estate, "greedy", before)
    assert estate.pci(halted) == f"0/{VF}"
    estate.set_pci(vm, f"{before},1/{more}")
    estate.box.let_xenopsd_know(vm)
    with estate.box.silent_xapi(estate.box.hosts[0]), estate.impatient(0):
        first, _, _ = refused_reboot(estate, vm)
    assert first.startswith("SRIOV_XAPI_SILENT ")
    assert estate.box.hosts[0].machine.exists("/sys/class/net/eth0")


def test_nor_where_xapi_answers_the_first_question_only(estate: Estate) -> None:
    vm = running_with(estate, "web", f"0/{VF}")
    estate.set_pci(vm, f"0/{VF},1/{SECOND}")
    with xapi_fails(estate, "network.get_all_records"):
        first, _, _ = refused_reboot(estate, vm)
    assert first.startswith("SRIOV_XAPI_SILENT ")
    estate.start(vm, 0)
    assert estate.box.devices(vm) == [VF, SECOND]


def test_what_the_vm_had_is_plugged_again_whether_or_not_xapi_answers(estate: Estate) -> None:
    vm = estate.with_vf("web", vlan="12")
    estate.start(vm, 0)
    with estate.box.silent_xapi(estate.box.hosts[0]):
        estate.box.reboot_from_inside(vm)
    assert (estate.box.devices(vm), estate.settings(0, VF)) == ([VF], (estate.mac(vm), 12))


def test_where_neither_xapi_nor_xenopsd_tells_what_is_plugged_nothing_is(estate: Estate) -> None:
    vm = running_with(estate, "web", f"0/{VF}")
    with xenopsd_keeps_no_files(estate), estate.box.silent_xapi(estate.box.hosts[0]), estate.impatient(0):
        first, _, _ = refused_reboot(estate, vm)
    assert first.startswith("SRIOV_XAPI_SILENT ")


def test_nor_where_xapi_knows_of_other_entries_than_the_vm_had(estate: Estate) -> None:
    """What xenopsd has made of the change is in its files only."""
    vm = running_with(estate, "web", f"0/{VF}")
    estate.set_pci(vm, f"0/{SECOND}")
    with xenopsd_keeps_no_files(estate):
        first, _, hint = refused_reboot(estate, vm)
    assert first.startswith("SRIOV_NOT_PLACED ")
    assert hint == "Start the VM: a start uses its present entries."
    estate.start(vm, 0)
    assert estate.box.devices(vm) == [SECOND]


def test_a_plain_vm_reboots_without_a_question_to_xapi(estate: Estate) -> None:
    vm = running_with(estate, "plain", "")
    with calls_watched(estate.box, estate.box.hosts[0], lambda _number, _name: None) as seen:
        estate.box.reboot_from_inside(vm)
    assert seen == []
    assert estate.box.power_state(vm) == "Running"


def test_a_xapi_that_takes_a_question_and_does_not_answer_holds_a_reboot_up_for_seconds(
    estate: Estate,
) -> None:
    """As that of a member whose master is gone."""
    vm, over = estate.with_vf("web", vlan="12"), threading.Event()
    estate.start(vm, 0)
    with calls_watched(estate.box, estate.box.hosts[0], lambda _number, _name: _wait(over)) as seen:
        began = time.monotonic()
        estate.box.reboot_from_inside(vm)
        took = time.monotonic() - began
        over.set()
    assert seen
    assert took < 20  # half a minute is what a start would wait
    assert (estate.box.devices(vm), estate.settings(0, VF)) == ([VF], (estate.mac(vm), 12))


def _wait(over: threading.Event) -> Any:
    over.wait(90)


def test_a_vm_that_ran_before_the_package_came_waits_for_a_toolstack_that_restarts(estate: Estate) -> None:
    """Nothing is noted of it here, so only xapi knows what its VF is to have."""
    vm, machine = estate.with_vf("web", vlan="12"), estate.box.hosts[0].machine
    estate.start(vm, 0)
    start_notes.remove(machine, estate.uuid(vm))
    machine.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "vlan", "99"])
    with xapi_fails(estate, "VM.get_all_records_where", times=2):
        estate.box.reboot_from_inside(vm)
    assert estate.settings(0, VF) == (estate.mac(vm), 12)


@pytest.mark.usefixtures("hurried")
def test_and_for_as_long_as_a_toolstack_takes_to_restart(estate: Estate) -> None:
    """A start would have been refused by then; a guest that reboots itself has nobody who starts it again."""
    vm, began = estate.with_vf("web", vlan="12"), time.monotonic()
    estate.start(vm, 0)
    start_notes.remove(estate.box.hosts[0].machine, estate.uuid(vm))
    with ThreadPoolExecutor(1) as threads:
        with estate.box.silent_xapi(estate.box.hosts[0]):
            reboots = threads.submit(estate.box.reboot_from_inside, vm)
            time.sleep(hooks.SILENT_SECONDS + 1)
        reboots.result()
    assert time.monotonic() - began > hooks.SILENT_SECONDS
    assert estate.box.devices(vm) == [VF]


def test_what_runs_elsewhere_does_not_reboot_here(estate: Estate) -> None:
    """The record is another host's, and there is no note: the VM's VFs are not of this host."""
    vm = estate.with_vf("web")
    estate.start(vm, 0)
    with pytest.raises(Failure) as failure:
        vm_hooks.run(
            estate.box.xapi, estate.box.hosts[1].ref, "vm-pre-start", "none", ["-vmuuid", estate.uuid(vm)]
        )
    assert estate.lines(failure.value)[0].startswith("SRIOV_NOT_PLACED ")


# -- the lock ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hurried")
def test_a_reboot_that_goes_on_without_the_lock_keeps_others_off_its_vf(estate: Estate) -> None:
    """Until its domain is there, others know of it by its note only."""
    vm, machine = estate.with_vf("web"), estate.box.hosts[0].machine
    estate.start(vm, 0)
    note = f"/run/sriov/{start_notes.PREFIX}{estate.uuid(vm)}"
    machine.replace_file(note, json.dumps({**json.loads(machine.read(note)), "time": -90000}).encode())
    with machine.lock("vfs", "sriov-restore"):
        estate.box.reboot_from_inside(vm)
    assert estate.uuid(vm) in start_notes.claims(machine, "another")
