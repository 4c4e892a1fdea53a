"""A VM's VFs follow it, and no start takes what is not its own: the real hooks, run by the box's xapi."""

import os
import sys
from typing import Dict

import pytest
from box_host import PLUGIN, BoxHost, set_plugin
from interference import calls_watched
from machine_description import SATA
from managed_pool import OTHER_SLOTS, Pool
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.machine import kernel_log, management_network, xenstore
from sriovlib.vf import ip_link, start_notes
from values import Failure

pytestmark = pytest.mark.story

PORT, VF = "0000:07:00.0", "0000:07:10.0"
MANAGEMENT = "0000:02:00.0"
THIEF = "11111111-2222-4333-8444-555555555555"


# -- VMs without devices ---------------------------------------------------------------------------


def test_a_vm_without_devices_starts_after_one_call_to_xapi_and_reboots_after_none(pool: Pool) -> None:
    vm = pool.vm("plain")
    with calls_watched(pool.box, pool.other) as seen:
        pool.start(vm, pool.other)
        pool.reboot(vm)
        pool.shut_down(vm)
    assert seen == ["session.login_with_password", "VM.get_all_records_where", "session.logout"]
    assert pool.power_state(vm) == "Halted"


# -- VFs follow ------------------------------------------------------------------------------------


def test_a_vm_starts_with_its_vf_and_its_settings_and_leaves_nothing(pool: Pool) -> None:
    vm = pool.with_vf("web", vlan="12")
    mac = pool.mac(vm)
    assert pool.settings(pool.one, VF) == (NO_MAC, 0)  # not before the VM is there
    pool.start(vm, pool.one)
    assert pool.devices(vm) == [VF]
    assert pool.settings(pool.one, VF) == (mac, 12)
    pool.shut_down(vm)
    assert pool.settings(pool.one, VF) == (NO_MAC, 0)
    assert start_notes.read(pool.one.machine, vm) is None


def test_where_addresses_are_alike_it_starts_anywhere_and_nothing_changes(pool: Pool) -> None:
    vm = pool.with_vf("web", vlan="12")
    before = pool.pci(vm)
    pool.start(vm, pool.other)
    assert (pool.devices(vm), pool.pci(vm)) == ([VF], before)
    assert pool.settings(pool.other, VF) == (pool.mac(vm), 12)
    assert pool.settings(pool.one, VF) == (NO_MAC, 0)
    assert pool.lease(vm)["host"] == pool.other.uuid  # the master has moved it
    assert pool.conflicts() == []


def test_a_master_that_does_not_move_the_lease_is_no_reason_against_a_start(pool: Pool) -> None:
    vm = pool.with_vf("web", vlan="12")
    set_plugin(pool.one, None)
    try:
        pool.start(vm, pool.other)
    finally:
        set_plugin(pool.one, PLUGIN)
    assert pool.settings(pool.other, VF) == (pool.mac(vm), 12)
    assert pool.lease(vm)["host"] == pool.one.uuid


def test_ha_needs_one_attempt_where_addresses_are_alike(pool: Pool) -> None:
    vm = pool.with_vf("web", on=pool.other, vlan="12")
    pool.box.protect(pool.ref(vm))
    pool.start(vm, pool.other)
    before = pool.pci(vm)
    with pool.lost(pool.other):
        assert list(pool.box.run_ha().values()) == [None]
        assert (pool.devices(vm), pool.pci(vm)) == ([VF], before)
        assert pool.settings(pool.one, VF)[1] == 12


# -- what is resumed -------------------------------------------------------------------------------


@OTHER_SLOTS
def test_a_resume_is_judged_and_never_placed(pool: Pool) -> None:
    """A VM that was suspended without devices; entries came later."""
    vm = pool.vm("web", suspend_SR="OpaqueRef:a repository")
    pool.start(vm, pool.other)
    pool.api("VM.suspend", pool.ref(vm))
    pool.set_pci(vm, f"0/{MANAGEMENT}")
    with pytest.raises(Failure) as failure:
        pool.api("VM.resume_on", pool.ref(vm), pool.other.ref, False, False)
    assert pool.refusal(vm, failure.value).code == "SRIOV_NEEDED_BY_DOM0"
    pool.set_pci(vm, "0/0000:09:10.0")
    pool.api("VM.resume_on", pool.ref(vm), pool.other.ref, False, False)
    assert pool.power_state(vm) == "Running"


@pytest.mark.parametrize("text", [f"0/{VF},", "00/0000:7:10.0"])
def test_start_judges_addresses_and_not_their_spelling(pool: Pool, text: str) -> None:
    vm = pool.with_vf("web")
    pool.set_pci(vm, text)
    pool.start(vm, pool.other)  # the master moves the lease, and writes the entry as it writes them
    assert pool.devices(vm) == [VF]


def test_a_reverted_vm_gets_its_entries_back(pool: Pool) -> None:
    vm = pool.with_vf("web")
    snapshot = pool.snapshot(vm)
    pool.assign(vm, network=pool.network("eth1"))
    pool.revert(snapshot)
    assert "," not in pool.pci(vm)
    assert pool.restarts(vm, pool.one) == [VF, "0000:07:10.2"]


def test_a_reverted_vm_that_was_to_have_none_any_more_is_told_so(pool: Pool) -> None:
    vm = pool.with_vf("web")
    snapshot = pool.snapshot(vm)
    pool.unassign(vm)
    pool.revert(snapshot)
    assert pool.restarts(vm, pool.one, "were removed") == []


# -- reboots ---------------------------------------------------------------------------------------


def test_a_reboot_keeps_vfs_and_settings(pool: Pool) -> None:
    vm = pool.with_vf("web", vlan="12")
    pool.start(vm, pool.one)
    for _ in range(2):
        pool.reboot(vm)
        assert pool.devices(vm) == [VF]
        assert pool.settings(pool.one, VF) == (pool.mac(vm), 12)


def test_a_reboot_keeps_what_was_plugged_whatever_stands_in_the_record_now(pool: Pool) -> None:
    vm = pool.with_vf("web", vlan="12")
    pool.start(vm, pool.one)
    pool.set_pci(vm, f"0/{MANAGEMENT}")
    pool.reboot(vm)
    assert pool.devices(vm) == [VF]
    assert pool.settings(pool.one, VF) == (pool.mac(vm), 12)


def test_a_guests_own_reboot_needs_no_xapi(pool: Pool) -> None:
    vm, plain = pool.with_vf("web", vlan="12"), pool.vm("plain")
    for one in (vm, plain):
        pool.start(one, pool.other)
    with pool.box.silent_xapi(pool.other):
        for one in (vm, plain):
            pool.guest_reboots(one)
    assert pool.devices(vm) == [VF]
    assert pool.settings(pool.other, VF) == (pool.mac(vm), 12)
    assert pool.power_state(plain) == "Running"


def test_a_reboot_is_stopped_where_another_domain_has_the_vf_by_now(pool: Pool) -> None:
    vm = pool.with_vf("web")
    pool.start(vm, pool.one)
    host = pool.one
    thief = f"""#!{sys.executable}
import sys
sys.path[:0] = {sys.path!r}
import machine
machine.Machine({host.machine.root!r}).start_domain({THIEF!r}, "thief", [{VF!r}])
"""
    script = pool.box.put_hook(host, "vm-pre-reboot", thief)
    with pytest.raises(Failure) as failure:
        pool.reboot(vm)
    os.unlink(script)
    host.machine.stop_domain(THIEF)
    pool.refusal(vm, failure.value).says("SRIOV_VF_IN_USE", "thief")


def test_a_vm_that_ran_before_the_package_came_reboots(pool: Pool) -> None:
    vm = pool.with_vf("web", vlan="12")
    host = pool.one
    pool.start(vm, pool.one)
    start_notes.remove(host.machine, vm)
    host.machine.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "vlan", "99"])
    pool.reboot(vm)
    assert pool.settings(pool.one, VF) == (pool.mac(vm), 12)


# -- what no start may take ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "carried"),
    [(f"0/{MANAGEMENT}", "the management interface eth0"), (f"0/{SATA}", "the mounted file system /")],
)
def test_start_with_an_entry_for_a_device_that_dom0_needs(pool: Pool, entry: str, carried: str) -> None:
    vm = pool.vm("greedy", entry)
    pool.start_refused(vm, pool.other).says("SRIOV_NEEDED_BY_DOM0", entry, carried, "xe vm-param-remove")
    host = pool.other.machine
    assert host.exists("/sys/class/net/eth0")


@OTHER_SLOTS
def test_a_wrong_entry_by_hand_stops_a_start_before_it_is_placed(pool: Pool) -> None:
    vm = pool.with_vf("web")
    before = f"{pool.pci(vm)},7/{MANAGEMENT}"
    pool.set_pci(vm, before)
    pool.start_refused(vm, pool.other).says("SRIOV_NEEDED_BY_DOM0")
    assert pool.pci(vm) == before


@pytest.mark.parametrize(
    ("kind", "device_config"),
    [
        ("lvm", {"device": "/dev/sda3"}),
        ("udev", {"location": "/dev/xapi/block"}),
        ("a driver of tomorrow", {"backing": "what it likes"}),
    ],
)
def test_a_plugged_repository(pool: Pool, kind: str, device_config: Dict[str, str]) -> None:
    database, host = pool.box.xapi.database, pool.other
    nothing = {
        "/proc/self/mountinfo": "21 1 0:5 / /proc rw - proc proc rw\n",
        "/proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
    }
    kept = {path: host.machine.read(path) for path in nothing}
    put(host, nothing)
    with host.machine.changed() as sysfs:
        sysfs.link("/dev/xapi/block/sda", "/dev/sda")
    repository = database.create("SR", {"name_label": "Local storage", "type": kind})
    plugged = {"host": host.ref, "SR": repository, "currently_attached": True}
    pbd = database.create("PBD", {**plugged, "device_config": device_config})
    vm = pool.vm("greedy", f"0/{SATA}")
    message = pool.start_refused(vm, pool.other)[1]
    database.destroy("PBD", pbd)
    put(host, kept)
    with host.machine.changed() as sysfs:
        sysfs.remove("/dev/xapi/block/sda")
    assert "the storage repository Local storage" in message


def put(host: BoxHost, texts: Dict[str, str]) -> None:
    with host.machine.changed() as sysfs:
        for path, text in texts.items():
            sysfs.put(path, text)


def test_a_device_of_a_running_vm(pool: Pool) -> None:
    web, other = pool.vm("web", f"0/{VF}"), pool.vm("other", f"0/{VF}")
    pool.start(web, pool.one)
    pool.start_refused(other, pool.one).says("SRIOV_VF_IN_USE", "web")
    pool.shut_down(web)
    pool.start(other, pool.one)  # by hand is by hand


def test_a_vf_that_is_leased_here_to_a_halted_vm(pool: Pool) -> None:
    pool.with_vf("web")
    vm = pool.vm("other", f"0/{VF}")
    pool.start_refused(vm, pool.one).says("SRIOV_VF_IN_USE", "web", "xe vm-param-remove")


def test_a_clone_starts_when_it_was_given_vfs_of_its_own(pool: Pool) -> None:
    web = pool.with_vf("web")
    pool.start(web, pool.one)
    pool.shut_down(web)
    clone = pool.clone(web, "clone")
    pool.start(web, pool.one)
    for host in pool.hosts:
        pool.start_refused(clone, host).says("SRIOV_VF_IN_USE", "web", "adopt_vm")
    pool.adopt(clone, on=pool.one)
    pool.start(clone, pool.one)
    assert pool.devices(clone) == ["0000:07:10.2"]
    assert pool.settings(pool.one, "0000:07:10.2")[0] not in (pool.mac(web), NO_MAC)


def test_a_device_that_is_not_there_takes_nothing(pool: Pool) -> None:
    vm = pool.vm("odd", "0/0000:44:00.0")
    with pytest.raises(Failure) as failure:
        pool.start(vm, pool.one)
    assert failure.value.description[0] == "INTERNAL_ERROR"  # xenopsd's own refusal


def test_a_ledger_that_cannot_be_read(pool: Pool) -> None:
    vm = pool.with_vf("web")
    pool.set_ledger(vm, "{")
    pool.start_refused(vm, pool.one).says("SRIOV_LEDGER")
    pool.start_refused(pool.vm("other", f"0/{VF}"), pool.one).says("SRIOV_VF_IN_USE", "web", "ledger")


def test_a_setting_that_cannot_be_applied(pool: Pool) -> None:
    vm = pool.with_vf("web", link_state="enable")
    pool.start_refused(vm, pool.one).says("SRIOV_KERNEL_REFUSED", "link_state")
    assert pool.settings(pool.one, VF) == (NO_MAC, 0)


# -- what fails ------------------------------------------------------------------------------------


def test_a_bug_of_ours_refuses_only_vms_with_entries(pool: Pool) -> None:
    web, plain = pool.with_vf("web"), pool.vm("plain")
    inventory = pool.one.machine.path("/etc/xensource-inventory")
    os.rename(inventory, inventory + ".away")
    refusal = pool.start_refused(web, pool.one)
    pool.start(plain, pool.one)
    os.rename(inventory + ".away", inventory)
    refusal.says("SRIOV_XAPI_SILENT")


# -- what a start costs ----------------------------------------------------------------------------

WALK = "walk of sysfs"
COUNTED = """#!/usr/bin/python3
import os, sys
sys.path[:0] = [{plugins!r}]
import sitecustomize
from sriovlib.machine import pci
from sriovlib.machine.host import this_machine
from sriovlib.starts import hooks
looks = open(this_machine().path("/tmp/looks"), "w")
machine = type(this_machine())
start, functions = machine.start, pci.functions
def start_seen(self, argv, *more):
    print(*argv, file=looks)
    return start(self, argv, *more)
def functions_seen(*args):
    print("walk of sysfs", file=looks)
    return functions(*args)
machine.start, pci.functions = start_seen, functions_seen
status = hooks.run("vm-pre-start", sys.argv)
looks.close()
os._exit(status)
"""


def test_a_start_with_a_vf_walks_sysfs_once_and_runs_few_programs(pool: Pool) -> None:
    vm = pool.with_vf("web", vlan="12")
    with pool.our_hook(pool.one, COUNTED):
        pool.start(vm, pool.one)
    looks = pool.one.machine.read("/tmp/looks").splitlines()
    judged = [ip_link.COMMAND, xenstore.COMMAND, management_network.COMMAND, kernel_log.COMMAND]
    ports = [("ethtool", "-P", f"eth{number}") for number in range(3)]
    under_the_lock = [
        xenstore.COMMAND,
        ip_link.COMMAND,
        ip_link.BATCH,
        ip_link.COMMAND,
    ]  # the last reads back
    assert looks == [" ".join(argv) for argv in [*judged, (WALK,), *ports, *under_the_lock]]
