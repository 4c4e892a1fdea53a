"""A VM's VFs follow it, and no start takes what is not its own: the real hooks, run by the box's xapi."""

import os
import sys
from typing import Dict

import pytest
from box_host import PLUGIN, BoxHost, set_plugin
from estate import Estate, calls_watched
from machine_description import SATA
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.vf import start_notes
from values import Failure

pytestmark = pytest.mark.story

PORT, VF = "0000:07:00.0", "0000:07:10.0"
MANAGEMENT = "0000:02:00.0"
THIEF = "11111111-2222-4333-8444-555555555555"


# -- VMs without devices ---------------------------------------------------------------------------


def test_a_vm_without_devices_starts_after_one_call_to_xapi_and_reboots_after_none(estate: Estate) -> None:
    vm, asked = (
        estate.vm("plain"),
        ["session.login_with_password", "VM.get_all_records_where", "session.logout"],
    )
    with calls_watched(estate.box, estate.box.hosts[1], lambda _number, _name: None) as seen:
        estate.start(vm, 1)
        estate.box.reboot(vm, hard=True)
        estate.box.shut_down(vm, hard=True)
    assert seen == asked
    assert estate.box.power_state(vm) == "Halted"


# -- VFs follow ------------------------------------------------------------------------------------


def test_a_vm_starts_with_its_vf_and_its_settings_and_leaves_nothing(estate: Estate) -> None:
    vm = estate.with_vf("web", vlan="12")
    mac = estate.mac(vm)
    assert estate.settings(0, VF) == (NO_MAC, 0)  # not before the VM is there
    estate.start(vm, 0)
    assert estate.box.devices(vm) == [VF]
    assert estate.settings(0, VF) == (mac, 12)
    estate.box.shut_down(vm, hard=True)
    assert estate.settings(0, VF) == (NO_MAC, 0)
    assert start_notes.read(estate.box.hosts[0].machine, estate.uuid(vm)) is None


def test_where_addresses_are_alike_it_starts_anywhere_and_nothing_changes(estate: Estate) -> None:
    vm = estate.with_vf("web", vlan="12")
    before = estate.pci(vm)
    estate.start(vm, 1)
    assert (estate.box.devices(vm), estate.pci(vm)) == ([VF], before)
    assert estate.settings(1, VF) == (estate.mac(vm), 12)
    assert estate.settings(0, VF) == (NO_MAC, 0)
    assert estate.lease(vm)["host"] == estate.box.hosts[1].uuid  # the master has moved it
    assert estate.conflicts() == []


def test_a_master_that_does_not_move_the_lease_is_no_reason_against_a_start(estate: Estate) -> None:
    vm = estate.with_vf("web", vlan="12")
    set_plugin(estate.box.hosts[0], None)
    try:
        estate.start(vm, 1)
    finally:
        set_plugin(estate.box.hosts[0], PLUGIN)
    assert estate.settings(1, VF) == (estate.mac(vm), 12)
    assert estate.lease(vm)["host"] == estate.box.hosts[0].uuid


def test_ha_needs_one_attempt_where_addresses_are_alike(estate: Estate) -> None:
    vm = estate.with_vf("web", on=1, vlan="12")
    estate.box.protect(vm)
    estate.start(vm, 1)
    before = estate.pci(vm)
    with estate.lost(1):
        assert list(estate.box.run_ha().values()) == [None]
        assert (estate.box.devices(vm), estate.pci(vm)) == ([VF], before)
        assert estate.settings(0, VF)[1] == 12


# -- what is resumed -------------------------------------------------------------------------------


def test_a_resume_is_judged_and_never_placed(mixed: Estate) -> None:
    """A VM that was suspended without devices; entries came later."""
    vm = mixed.vm("web", suspend_SR="OpaqueRef:a repository")
    mixed.start(vm, 1)
    mixed.box.xapi.call("VM.suspend", vm)
    mixed.set_pci(vm, f"0/{MANAGEMENT}")
    with pytest.raises(Failure) as failure:
        mixed.box.xapi.call("VM.resume_on", vm, mixed.box.hosts[1].ref, False, False)
    assert mixed.lines(failure.value)[0].startswith("SRIOV_NEEDED_BY_DOM0 ")
    mixed.set_pci(vm, "0/0000:09:10.0")
    mixed.box.xapi.call("VM.resume_on", vm, mixed.box.hosts[1].ref, False, False)
    assert mixed.box.power_state(vm) == "Running"


@pytest.mark.parametrize("text", [f"0/{VF},", "00/0000:7:10.0"])
def test_what_is_plugged_counts_and_not_how_it_is_written(estate: Estate, text: str) -> None:
    vm = estate.with_vf("web")
    estate.set_pci(vm, text)
    estate.start(vm, 1)  # the master moves the lease, and writes the entry as it writes them
    assert estate.box.devices(vm) == [VF]


def test_a_reverted_vm_gets_its_entries_back(estate: Estate) -> None:
    vm = estate.with_vf("web")
    snapshot = estate.box.xapi.call("VM.snapshot", vm, "before")
    estate.call("assign_vf", vm_uuid=estate.uuid(vm), network=estate.network)
    estate.box.xapi.call("VM.revert", snapshot)
    assert "," not in estate.pci(vm)
    assert estate.refused(vm, 0)[0].startswith("SRIOV_RESTARTING ")
    assert estate.box.wait_for_calls()
    assert estate.box.devices(vm) == [VF, "0000:07:10.2"]


def test_a_reverted_vm_that_was_to_have_none_any_more_is_told_so(estate: Estate) -> None:
    vm = estate.with_vf("web")
    snapshot = estate.box.xapi.call("VM.snapshot", vm, "before")
    estate.call("unassign_vf", vm_uuid=estate.uuid(vm), all="true")
    estate.box.xapi.call("VM.revert", snapshot)
    first, message, _ = estate.refused(vm, 0)
    assert first.startswith("SRIOV_RESTARTING ")
    assert "were removed. This start is stopped; a new one is queued on this host." in message
    assert estate.box.wait_for_calls()
    assert estate.box.devices(vm) == []


# -- reboots ---------------------------------------------------------------------------------------


def test_a_reboot_keeps_vfs_and_settings(estate: Estate) -> None:
    vm = estate.with_vf("web", vlan="12")
    estate.start(vm, 0)
    for _ in range(2):
        estate.box.reboot(vm, hard=True)
        assert estate.box.devices(vm) == [VF]
        assert estate.settings(0, VF) == (estate.mac(vm), 12)


def test_a_reboot_keeps_what_was_plugged_whatever_stands_in_the_record_now(estate: Estate) -> None:
    vm = estate.with_vf("web", vlan="12")
    estate.start(vm, 0)
    estate.set_pci(vm, f"0/{MANAGEMENT}")
    estate.box.reboot(vm, hard=True)
    assert estate.box.devices(vm) == [VF]
    assert estate.settings(0, VF) == (estate.mac(vm), 12)


def test_a_guests_own_reboot_needs_no_xapi(estate: Estate) -> None:
    vm, plain = estate.with_vf("web", vlan="12"), estate.vm("plain")
    for one in (vm, plain):
        estate.start(one, 1)
    with estate.box.silent_xapi(estate.box.hosts[1]):
        for one in (vm, plain):
            estate.box.reboot_from_inside(one)
    assert estate.box.devices(vm) == [VF]
    assert estate.settings(1, VF) == (estate.mac(vm), 12)
    assert estate.box.power_state(plain) == "Running"


def test_a_reboot_is_stopped_where_another_domain_has_the_vf_by_now(estate: Estate) -> None:
    vm = estate.with_vf("web")
    estate.start(vm, 0)
    host = estate.box.hosts[0]
    thief = f"""#!{sys.executable}
import sys
sys.path[:0] = {sys.path!r}
import machine
machine.Machine({host.machine.root!r}).start_domain({THIEF!r}, "thief", [{VF!r}])
"""
    script = estate.box.put_hook(host, "vm-pre-reboot", thief)
    with pytest.raises(Failure) as failure:
        estate.box.reboot(vm, hard=True)
    os.unlink(script)
    host.machine.stop_domain(THIEF)
    first, message, _ = estate.lines(failure.value)
    assert first.startswith("SRIOV_VF_IN_USE ")
    assert "thief" in message


def test_a_vm_that_ran_before_the_package_came_reboots(estate: Estate) -> None:
    vm = estate.with_vf("web", vlan="12")
    host = estate.box.hosts[0]
    estate.start(vm, 0)
    start_notes.remove(host.machine, estate.uuid(vm))
    host.machine.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "vlan", "99"])
    estate.box.reboot(vm, hard=True)
    assert estate.settings(0, VF) == (estate.mac(vm), 12)


# -- what no start may take ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "carried"),
    [(f"0/{MANAGEMENT}", "the management interface eth0"), (f"0/{SATA}", "the mounted file system /")],
)
def test_what_dom0_lives_on(estate: Estate, entry: str, carried: str) -> None:
    vm = estate.vm("greedy", entry)
    first, message, hint = estate.refused(vm, 1)
    assert first == f"SRIOV_NEEDED_BY_DOM0 {estate.uuid(vm)} {estate.box.hosts[1].uuid}"
    assert entry in message
    assert carried in message
    assert "xe vm-param-remove" in hint
    host = estate.box.hosts[1].machine
    assert host.exists("/sys/class/net/eth0")


def test_it_is_not_placed_anew_where_a_foreign_entry_is_wrong(mixed: Estate) -> None:
    vm = mixed.with_vf("web")
    before = f"{mixed.pci(vm)},7/{MANAGEMENT}"
    mixed.set_pci(vm, before)
    assert mixed.refused(vm, 1)[0].startswith("SRIOV_NEEDED_BY_DOM0 ")
    assert mixed.pci(vm) == before


@pytest.mark.parametrize(
    ("kind", "device_config"),
    [
        ("lvm", {"device": "/dev/sda3"}),
        ("udev", {"location": "/dev/xapi/block"}),
        ("a driver of tomorrow", {"backing": "what it likes"}),
    ],
)
def test_a_plugged_repository(estate: Estate, kind: str, device_config: Dict[str, str]) -> None:
    database, host = estate.box.xapi.database, estate.box.hosts[1]
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
    vm = estate.vm("greedy", f"0/{SATA}")
    message = estate.refused(vm, 1)[1]
    database.destroy("PBD", pbd)
    put(host, kept)
    with host.machine.changed() as sysfs:
        sysfs.remove("/dev/xapi/block/sda")
    assert "the storage repository Local storage" in message


def put(host: BoxHost, texts: Dict[str, str]) -> None:
    with host.machine.changed() as sysfs:
        for path, text in texts.items():
            sysfs.put(path, text)


def test_a_device_of_a_running_vm(estate: Estate) -> None:
    web, other = estate.vm("web", f"0/{VF}"), estate.vm("other", f"0/{VF}")
    estate.start(web, 0)
    first, message, _ = estate.refused(other, 0)
    assert first.startswith("SRIOV_VF_IN_USE ")
    assert "web" in message
    estate.box.shut_down(web, hard=True)
    estate.start(other, 0)  # by hand is by hand


def test_a_vf_that_is_leased_here_to_a_halted_vm(estate: Estate) -> None:
    estate.with_vf("web")
    vm = estate.vm("other", f"0/{VF}")
    first, message, hint = estate.refused(vm, 0)
    assert first.startswith("SRIOV_VF_IN_USE ")
    assert "web" in message
    assert "xe vm-param-remove" in hint


def test_a_clone_starts_when_it_was_given_vfs_of_its_own(estate: Estate) -> None:
    web = estate.with_vf("web")
    estate.start(web, 0)
    estate.box.shut_down(web, hard=True)
    clone = estate.box.xapi.call("VM.clone", web, "clone")
    estate.start(web, 0)
    for host in (0, 1):
        first, message, hint = estate.refused(clone, host)
        assert first.startswith("SRIOV_VF_IN_USE ")
        assert "web" in message
        assert "adopt_vm" in hint
    estate.call("adopt_vm", vm_uuid=estate.uuid(clone), host_uuid=estate.box.hosts[0].uuid)
    estate.start(clone, 0)
    assert estate.box.devices(clone) == ["0000:07:10.2"]
    assert estate.settings(0, "0000:07:10.2")[0] not in (estate.mac(web), NO_MAC)


def test_a_device_that_is_not_there_takes_nothing(estate: Estate) -> None:
    vm = estate.vm("odd", "0/0000:44:00.0")
    with pytest.raises(Failure) as failure:
        estate.start(vm, 0)
    assert failure.value.description[0] == "INTERNAL_ERROR"  # xenopsd's own refusal


def test_a_ledger_that_cannot_be_read(estate: Estate) -> None:
    vm = estate.with_vf("web")
    estate.set_key(vm, "{")
    assert estate.refused(vm, 0)[0].startswith("SRIOV_LEDGER ")
    first, message, _ = estate.refused(estate.vm("other", f"0/{VF}"), 0)  # for it may be lent to the first
    assert first.startswith("SRIOV_VF_IN_USE ")
    assert "web" in message
    assert "ledger" in message


def test_a_setting_that_cannot_be_applied(estate: Estate) -> None:
    vm = estate.with_vf("web", link_state="enable")
    first, message, _ = estate.refused(vm, 0)
    assert first.startswith("SRIOV_KERNEL_REFUSED ")
    assert "link_state" in message
    assert estate.settings(0, VF) == (NO_MAC, 0)


# -- what fails ------------------------------------------------------------------------------------


def test_a_bug_of_ours_refuses_only_vms_with_entries(estate: Estate) -> None:
    web, plain = estate.with_vf("web"), estate.vm("plain")
    inventory = estate.box.hosts[0].machine.path("/etc/xensource-inventory")
    os.rename(inventory, inventory + ".away")
    first, _, _ = estate.refused(web, 0)
    estate.start(plain, 0)
    os.rename(inventory + ".away", inventory)
    assert first == f"SRIOV_XAPI_SILENT {estate.uuid(web)} -"
