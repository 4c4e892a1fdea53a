"""A VM's VFs follow it, and no start takes what is not its own: the real hooks, run by the box's xapi."""

import os
import sys

import pytest
from box_host import PLUGIN, set_plugin
from interference import calls_watched
from machine_description import SATA
from managed_pool import OTHER_SLOTS, Pool
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.vf import ip_link, start_notes
from sriovlib.xapi import kept_session
from values import Failure

pytestmark = pytest.mark.story

PORT, VF = "0000:07:00.0", "0000:07:10.0"
MANAGEMENT = "0000:02:00.0"
THIEF = "11111111-2222-4333-8444-555555555555"


# -- VMs without devices ---------------------------------------------------------------------------


def test_a_vm_without_devices_starts_after_one_call_to_xapi_and_reboots_after_none(pool: Pool) -> None:
    """Beside the login, which is for all starts of the host."""
    vm = pool.vm("plain")
    pool.other.machine.try_to_remove(kept_session.PATH)
    with calls_watched(pool.box, pool.other) as seen:
        for _ in range(2):
            pool.start(vm, pool.other)
            pool.reboot(vm)
            pool.shut_down(vm)
    assert seen == ["session.login_with_password", "VM.get_all_records_where", "VM.get_all_records_where"]
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
    pool.start(vm, pool.other)
    set_plugin(pool.one, PLUGIN)
    assert pool.settings(pool.other, VF) == (pool.mac(vm), 12)
    assert pool.lease(vm)["host"] == pool.one.uuid


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


# -- reboots ---------------------------------------------------------------------------------------


def test_a_reboot_keeps_vfs_and_settings_whatever_stands_in_the_record_now(pool: Pool) -> None:
    vm = pool.with_vf("web", vlan="12")
    pool.start(vm, pool.one)
    for entries in (pool.pci(vm), f"0/{MANAGEMENT}"):
        pool.set_pci(vm, entries)
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
    with pool.hook(host, thief, "vm-pre-reboot"), pytest.raises(Failure) as failure:
        pool.reboot(vm)
    pool.refusal(vm, failure.value).says("SRIOV_VF_IN_USE", "thief")


# -- what no start may take ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "carried"),
    [(f"0/{MANAGEMENT}", "the management interface eth0"), (f"0/{SATA}", "the mounted file system /")],
)
def test_start_with_an_entry_for_a_device_that_dom0_needs(pool: Pool, entry: str, carried: str) -> None:
    vm = pool.vm("greedy", entry)
    pool.start_refused(vm, pool.other).says("SRIOV_NEEDED_BY_DOM0", entry, carried, "xe vm-param-remove")
    assert pool.other.machine.exists("/sys/class/net/eth0")


def test_start_with_an_entry_for_the_disk_of_a_plugged_repository(pool: Pool) -> None:
    """Nothing of it is mounted."""
    database, host = pool.box.xapi.database, pool.other
    with host.machine.changed() as sysfs:
        sysfs.put("/proc/self/mountinfo", "21 1 0:5 / /proc rw - proc proc rw\n")
        sysfs.put("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n")
    repository = database.create("SR", {"name_label": "Local storage", "type": "lvm"})
    plugged = {"host": host.ref, "SR": repository, "currently_attached": True}
    database.create("PBD", {**plugged, "device_config": {"device": "/dev/sda3"}})
    vm = pool.vm("greedy", f"0/{SATA}")
    pool.start_refused(vm, host).says("SRIOV_NEEDED_BY_DOM0", "the storage repository Local storage")


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


def test_a_router_has_all_vlans_of_its_port_and_is_said_to(pool: Pool) -> None:
    """Beside VMs with VLANs there: a pool-admin gives it, so the start lets it have them."""
    other, router = pool.with_vf("other", vlan="12"), pool.vm("router")
    given = pool.assign(router, network=pool.network("eth1"), profile="router", on=pool.one)
    assert "every VLAN" in given["warnings"][0]
    settings = pool.requests(router)[0]["settings"]
    assert {**settings, "mac": ""} == {"mac": "", "vlan": "0", "trust": "on", "spoof_check": "off"}
    pool.start(router, pool.one)
    (vf,) = pool.vfs(state="in-use")
    assert (vf["address"], vf["vlan"], vf["trust"], vf["spoof_check"]) == (given["vf"], 0, True, False)
    pool.shut_down(router)
    (vf,) = pool.vfs(vm=router)
    assert (vf["trust"], vf["spoof_check"]) == (False, True)

    for args in ({"vlan": "5"}, {"trust": "off"}, {"qos": "1"}):
        pool.refused("assign_vf", vm=other, pf="eth1", profile="router", **args).says("SRIOV_BAD_ARGUMENT")
    pool.refused("assign_vf", vm=other, pf="eth1", profile="switch").says("SRIOV_BAD_ARGUMENT", "router")


# -- what a start costs ----------------------------------------------------------------------------

WALK = "walk of sysfs"
COUNTED = """
from sriovlib.machine import pci
from sriovlib.machine.host import this_machine
looks = open(this_machine().path("/tmp/looks"), "w")
machine = type(this_machine())
start, functions = machine.start, pci.functions
def start_seen(self, argv, *more):
    print(*argv, file=looks, flush=True)
    return start(self, argv, *more)
def functions_seen(*args):
    print("walk of sysfs", file=looks, flush=True)
    return functions(*args)
machine.start, pci.functions = start_seen, functions_seen
"""


def test_a_start_with_a_vf_walks_sysfs_once_and_runs_few_programs(pool: Pool) -> None:
    vm = pool.with_vf("web", vlan="12")
    with pool.changed_hook(pool.one, COUNTED):
        pool.start(vm, pool.one)
    looks = pool.one.machine.read("/tmp/looks").splitlines()
    under_the_lock = [ip_link.BATCH]
    assert looks == [" ".join(argv) for argv in [(WALK,), *under_the_lock]]
