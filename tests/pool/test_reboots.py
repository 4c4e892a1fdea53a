"""What a reboot plugs: what the VM had, and what somebody has added to its entries while it ran. That is
judged as at a start, and costs no guest its reboot where it is right, or where xapi has nothing to say."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Iterator

import pytest
import vm_hooks
from interference import calls_watched, xapi_fails
from managed_pool import OTHER_SLOTS, Pool
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.starts import hooks
from sriovlib.vf import start_notes
from values import Failure

pytestmark = [pytest.mark.story, OTHER_SLOTS]

VF, SECOND, MANAGEMENT = "0000:07:10.0", "0000:07:10.2", "0000:02:00.0"


def running_with(pool: Pool, name: str, pci: str) -> str:
    """A VM that was started with these entries on the first host."""
    vm = pool.vm(name, pci)
    pool.start(vm, pool.one)
    return vm


@contextmanager
def xenopsd_keeps_no_files(pool: Pool) -> Iterator[None]:
    """Its files are in a place, or of a kind, that we do not know."""
    files = pool.one.machine.path("/run/nonpersistent/xenopsd")
    with pool.hook(pool.one, f"#!/bin/sh\nmv {files} {files}.away\n", "vm-pre-reboot"):
        yield
    os.rename(f"{files}.away", files)


# -- entries that were added while the VM ran --------------------------------------------------------


@pytest.mark.parametrize("before", ["", f"0/{VF}"])
def test_a_reboot_does_not_take_the_management_nic(pool: Pool, before: str) -> None:
    vm = running_with(pool, "web", before)
    pool.set_pci(vm, ",".join(filter(None, [before, f"7/{MANAGEMENT}"])))
    advice = f"pci={before}`" if before else "vm-param-remove"
    refused = pool.reboot_refused(vm)
    refused.says("SRIOV_NEEDED_BY_DOM0", f"`7/{MANAGEMENT}`", "management interface eth0", advice)
    assert pool.one.machine.exists("/sys/class/net/eth0")


def test_a_mark_of_a_reboot_that_cannot_be_made_or_taken_away(pool: Pool) -> None:
    """It lets no reboot take the management NIC, and stops nothing else. Root may do anything, so something
    that is no file stands in its place."""
    web, plain = pool.with_vf("web", vlan="12"), pool.vm("plain")
    entries = pool.pci(web)
    for vm in (web, plain):
        os.makedirs(pool.one.machine.path(f"/run/sriov/{start_notes.REBOOT_PREFIX}{vm}"))
        pool.start(vm, pool.one)
    pool.guest_reboots(plain)
    pool.set_pci(web, f"{entries},7/{MANAGEMENT}")
    pool.reboot_refused(web).says("SRIOV_NEEDED_BY_DOM0")
    pool.set_pci(web, entries)
    pool.start(web, pool.one)
    pool.shut_down(web)
    assert pool.settings(pool.one, VF) == (NO_MAC, 0)
    assert "the mark of its reboot could not be taken away" in pool.log(pool.one)


def test_a_reboot_does_not_take_the_vf_of_a_halted_vm(pool: Pool) -> None:
    halted, vm = pool.with_vf("halted"), running_with(pool, "greedy", "")
    pool.set_pci(vm, f"1/{VF}")
    pool.reboot_refused(vm).says("SRIOV_VF_IN_USE", f"VM halted ({halted}), to which it is leased")
    pool.start(halted, pool.one)
    assert pool.devices(halted) == [VF]


def test_a_reboot_goes_on_with_a_free_vf_more(pool: Pool) -> None:
    vm = running_with(pool, "web", f"0/{VF}")
    pool.set_pci(vm, f"0/{VF},1/{SECOND}")
    pool.guest_reboots(vm)
    assert pool.devices(vm) == [VF, SECOND]
    with pool.box.silent_xapi(pool.one):
        pool.guest_reboots(vm)
    assert pool.devices(vm) == [VF, SECOND]


def test_an_entry_that_its_vm_has_a_request_for_arrives_with_mac_and_vlan(pool: Pool) -> None:
    """Somebody had taken it out, and puts it back."""
    vm = pool.with_vf("web", vlan="12")
    entries = pool.pci(vm)
    pool.set_pci(vm, None)
    pool.start(vm, pool.one)
    assert pool.devices(vm) == []
    pool.set_pci(vm, entries)
    pool.guest_reboots(vm)
    assert (pool.devices(vm), pool.settings(pool.one, VF)) == ([VF], (pool.mac(vm), 12))
    note = start_notes.read(pool.one.machine, vm)
    assert note is not None
    assert note.requests == {VF: 1}


def test_reboot_judges_devices_that_only_xenopsd_knows(pool: Pool) -> None:
    """A list without an entry that is plugged, xenopsd does not take over, so it keeps the one before."""
    vm = running_with(pool, "web", f"0/{VF}")
    halted = pool.with_vf("halted")
    assert pool.pci(halted) == f"0/{SECOND}"
    pool.set_pci(vm, f"0/{VF},1/{SECOND}")
    pool.box.let_xenopsd_know(pool.ref(vm))
    pool.set_pci(vm, None)
    refused = pool.reboot_refused(vm).says("SRIOV_VF_IN_USE", "halted")
    assert refused.hint == "Start the VM: its entries do not name this device any more."
    pool.start(vm, pool.one)
    assert pool.devices(vm) == []


def test_where_nothing_is_known_of_xenopsd_the_entries_are_judged(pool: Pool) -> None:
    vm = running_with(pool, "web", f"0/{VF}")
    pool.set_pci(vm, f"0/{VF},7/{MANAGEMENT}")
    with xenopsd_keeps_no_files(pool):
        pool.reboot_refused(vm).says("SRIOV_NEEDED_BY_DOM0")


# -- xapi does not help ------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "more"), [("", VF), (f"0/{SECOND}", MANAGEMENT)])
def test_while_xapi_is_silent_a_reboot_takes_nothing_more(pool: Pool, before: str, more: str) -> None:
    """Neither dom0's NIC nor the VF of a halted VM, which pciback has as it has any other."""
    halted, vm = pool.with_vf("halted"), running_with(pool, "greedy", before)
    assert pool.pci(halted) == f"0/{VF}"
    pool.set_pci(vm, f"{before},1/{more}")
    pool.box.let_xenopsd_know(pool.ref(vm))
    with pool.box.silent_xapi(pool.one), pool.impatient(pool.one):
        pool.reboot_refused(vm).says("SRIOV_XAPI_SILENT")
    assert pool.one.machine.exists("/sys/class/net/eth0")


def test_a_reboot_takes_nothing_more_where_xapi_answers_the_first_question_only(pool: Pool) -> None:
    vm = running_with(pool, "web", f"0/{VF}")
    pool.set_pci(vm, f"0/{VF},1/{SECOND}")
    with xapi_fails(pool.box, pool.one, "network.get_all_records"):
        pool.reboot_refused(vm).says("SRIOV_XAPI_SILENT")
    pool.start(vm, pool.one)
    assert pool.devices(vm) == [VF, SECOND]


def test_where_neither_xapi_nor_xenopsd_tells_what_is_plugged_nothing_is(pool: Pool) -> None:
    vm = running_with(pool, "web", f"0/{VF}")
    with xenopsd_keeps_no_files(pool), pool.box.silent_xapi(pool.one), pool.impatient(pool.one):
        pool.reboot_refused(vm).says("SRIOV_XAPI_SILENT")


def test_a_reboot_without_xenopsds_files_ends_where_the_entries_have_changed(pool: Pool) -> None:
    """What xenopsd has made of the change is in its files only."""
    vm = running_with(pool, "web", f"0/{VF}")
    pool.set_pci(vm, f"0/{SECOND}")
    with xenopsd_keeps_no_files(pool):
        pool.reboot_refused(vm).says("SRIOV_NOT_PLACED", "Start the VM: a start uses its present entries.")
    pool.start(vm, pool.one)
    assert pool.devices(vm) == [SECOND]


def test_a_xapi_that_takes_a_question_and_gives_no_answer_holds_a_reboot_up_for_seconds(pool: Pool) -> None:
    """As that of a member whose master is gone."""
    vm, over = pool.with_vf("web", vlan="12"), threading.Event()
    pool.start(vm, pool.one)
    with calls_watched(pool.box, pool.one, lambda *_: over.wait(90)) as seen:
        began = time.monotonic()
        pool.guest_reboots(vm)
        took = time.monotonic() - began
        over.set()
    assert seen
    assert took < hooks.ANSWER_SECONDS  # which is what a start would wait
    assert (pool.devices(vm), pool.settings(pool.one, VF)) == ([VF], (pool.mac(vm), 12))


def test_a_vm_that_ran_before_the_package_came_waits_for_a_toolstack_that_restarts(pool: Pool) -> None:
    """Nothing is noted of it here, so only xapi knows what its VF is to have."""
    vm, machine = pool.with_vf("web", vlan="12"), pool.one.machine
    pool.start(vm, pool.one)
    start_notes.remove(machine, vm)
    machine.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "vlan", "99"])
    with xapi_fails(pool.box, pool.one, "VM.get_all_records_where", times=2):
        pool.guest_reboots(vm)
    assert pool.settings(pool.one, VF) == (pool.mac(vm), 12)


@pytest.mark.usefixtures("hurried")
def test_a_reboot_waits_as_long_as_a_toolstack_takes_to_restart(pool: Pool) -> None:
    """A start would have been refused by then; a guest that reboots itself has nobody who starts it again."""
    vm, began = pool.with_vf("web", vlan="12"), time.monotonic()
    pool.start(vm, pool.one)
    start_notes.remove(pool.one.machine, vm)
    with ThreadPoolExecutor(1) as threads:
        with pool.box.silent_xapi(pool.one):
            reboots = threads.submit(pool.guest_reboots, vm)
            time.sleep(hooks.SILENT_SECONDS + 1)
        reboots.result()
    assert time.monotonic() - began > hooks.SILENT_SECONDS
    assert pool.devices(vm) == [VF]


def test_reboot_here_of_a_vm_that_runs_elsewhere_is_refused(pool: Pool) -> None:
    """The record is another host's, and there is no note: the VM's VFs are not of this host."""
    vm = pool.with_vf("web")
    pool.start(vm, pool.one)
    with pytest.raises(Failure) as failure:
        vm_hooks.run(pool.box.xapi, pool.other.ref, "vm-pre-start", "none", ["-vmuuid", vm])
    assert pool.refusal(vm, failure.value).code == "SRIOV_NOT_PLACED"
