"""Hooks that nobody helps: xapi is silent or fails, xenstore does not answer, the lock is another's for long,
a note cannot be written. No start takes what is not its own, and no reboot is lost for that."""

import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List

import pytest
from box_host import BoxHost
from box_vms import HOOK_SCRIPT
from interference import Gate, xapi_fails
from managed_pool import Pool
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.machine.host import Host
from sriovlib.starts import handover
from sriovlib.vf import apply, links, start_notes
from values import Failure

pytestmark = pytest.mark.story

VF, MANAGEMENT = "0000:07:10.0", "0000:02:00.0"


def written_earlier(host: BoxHost, vm: str, seconds: float) -> None:
    """The note of the VM's start is by so much older than it is."""
    path = f"/run/sriov/{start_notes.PREFIX}{vm}"
    note = json.loads(host.machine.read(path))
    host.machine.replace_file(path, json.dumps({**note, "time": note["time"] - seconds}).encode())


def until_it_is_logged(pool: Pool, host: BoxHost, words: str, thread: threading.Thread) -> None:
    while words not in pool.log(host):
        assert thread.is_alive(), pool.log(host)
        thread.join(0.05)


# -- xapi ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hurried")
def test_while_xapi_is_silent_only_vms_without_devices_start(pool: Pool) -> None:
    """The toolstack was restarted when their starts were under way. One was here before: its note is no
    reason to take its start for a reboot."""
    greedy, plain = pool.vm("greedy", f"0/{MANAGEMENT}"), pool.vm("plain")
    was_here, in_vlan = pool.with_vf("web"), pool.with_vf("mail", vlan="12")
    pool.start(was_here, pool.other)
    pool.guest_shuts_down(was_here)
    pool.set_pci(was_here, f"0/{MANAGEMENT}")
    host, vms = pool.other, (greedy, plain, was_here, in_vlan)
    with Gate(host, "10-before") as gate, ThreadPoolExecutor(4) as threads:
        outcomes = [threads.submit(pool.outcome, vm, pool.other) for vm in vms]
        for vm in vms:
            gate.wait_for(vm)
        with pool.box.silent_xapi(host):
            gate.open()
            found = [one.result() for one in outcomes]
    assert found == ["SRIOV_XAPI_SILENT", "started", "SRIOV_XAPI_SILENT", "SRIOV_XAPI_SILENT"]
    assert host.machine.exists("/sys/class/net/eth0")


@pytest.mark.usefixtures("hurried")
def test_while_xapi_fails_only_what_a_vm_had_is_plugged(pool: Pool) -> None:
    greedy, web = pool.vm("greedy", f"0/{MANAGEMENT}"), pool.with_vf("web", vlan="12")
    pool.start(web, pool.other)
    with xapi_fails(pool.box, pool.other, "VM.get_all_records_where"):
        assert pool.outcome(greedy, pool.other) == "SRIOV_XAPI_SILENT"
        pool.guest_reboots(web)
    assert pool.other.machine.exists("/sys/class/net/eth0")
    assert (pool.devices(web), pool.settings(pool.other, VF)[1]) == ([VF], 12)


@pytest.mark.parametrize("has_vf", [True, False])
def test_a_start_soon_after_a_stopped_reboot_is_refused_while_xapi_is_silent(
    pool: Pool, has_vf: bool
) -> None:
    """It would plug more than the VM had, or something where it had nothing."""
    vm, host = pool.with_vf("web") if has_vf else pool.vm("web"), pool.other
    pool.start(vm, pool.other)
    with pool.hook(host, "#!/bin/sh\nexit 2\n", "vm-pre-reboot"), pytest.raises(Failure):
        pool.reboot(vm)
    pool.set_pci(vm, f"0/{VF},7/{MANAGEMENT}")
    with pool.impatient(host), Gate(host, "10-before") as gate:
        gate.hold(pool.outcome, vm)
        with pool.box.silent_xapi(host):
            assert gate.result() == "SRIOV_XAPI_SILENT"
    assert host.machine.exists("/sys/class/net/eth0")


def test_a_start_that_waits_for_minutes_keeps_its_vf(pool: Pool) -> None:
    """For memory, say: its hook was through long ago, and its domain is to come."""
    first, second = pool.vm("first", f"0/{VF}"), pool.vm("second", f"0/{VF}")
    with Gate(pool.one, "60-after") as gate:
        gate.hold(pool.outcome, first)
        written_earlier(pool.one, first, start_notes.CLAIM_SECONDS)
        refusal = pool.start_refused(second, pool.one)
        assert gate.result() == "started"
    refusal.says("SRIOV_VF_IN_USE", f"first ({first})", "which is starting")
    pool.guest_shuts_down(first)  # its note stays, and claims nothing
    assert pool.outcome(second, pool.one) == "started"


# -- the lock --------------------------------------------------------------------------------------


def test_start_does_not_wait_for_the_link_of_another_port(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that waits for its PF's link, to set a rate, holds no lock meanwhile."""
    machine, waited = pool.one.machine, []

    def wait(host: Host, interfaces: List[str]) -> None:
        with host.lock("vfs", "another start", 0.2):
            waited.extend(interfaces)

    monkeypatch.setattr(links, "wait_for_carrier", wait)
    permitted = handover.Permitted([VF], {VF: {"max_tx_rate": "100"}}, {})
    handover.arrive(machine, pool.vm("web"), permitted)
    assert waited == ["eth1"]
    apply.release(machine, [VF])


@pytest.mark.usefixtures("hurried")
def test_a_lock_that_is_anothers_for_long_costs_no_reboot(pool: Pool) -> None:
    """Until the domain is there again, others know of its VF by the note only, which was of long ago."""
    host, by_hand = pool.one.machine, pool.vm("by hand", "0/0000:07:10.2")
    pool.start(by_hand, pool.one)  # before there are VLANs in its network
    vm = pool.with_vf("web", vlan="12")
    pool.start(vm, pool.one)
    written_earlier(pool.one, vm, 90000)
    with host.lock("vfs", "sriov-restore"), ThreadPoolExecutor(2) as threads:
        list(threads.map(pool.guest_reboots, (vm, by_hand)))
    assert vm in start_notes.claims(host, "another")
    assert (pool.devices(vm), pool.devices(by_hand)) == ([VF], ["0000:07:10.2"])
    assert pool.settings(pool.one, VF) == (pool.mac(vm), 12)


@pytest.mark.usefixtures("hurried")
def test_a_reboot_waits_for_the_lock_where_its_vf_is_not_as_it_was(pool: Pool) -> None:
    vm, host = pool.with_vf("web", vlan="12"), pool.one.machine
    pool.start(vm, pool.one)
    thread = threading.Thread(target=pool.guest_reboots, args=(vm,))
    with host.lock("vfs", "sriov-restore"):
        host.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "vlan", "99"])
        thread.start()
        until_it_is_logged(pool, pool.one, "waits for its VFs", thread)
        assert pool.devices(vm) == []
    thread.join()
    assert (pool.devices(vm), pool.settings(pool.one, VF)) == ([VF], (pool.mac(vm), 12))


# -- xenstore, and notes ---------------------------------------------------------------------------


@pytest.mark.parametrize("environment", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_a_full_disk_lets_nothing_through(pool: Pool, environment: Dict[str, str]) -> None:
    """What a hook prints goes to a file in /tmp; status 1 would let the VM start."""
    vm, host = pool.vm("greedy", f"0/{MANAGEMENT}"), pool.other
    exports = "".join(f"export {name}={value}\n" for name, value in environment.items())
    text = f'#!/bin/sh\n{exports}exec {{ours}} "$@" >/dev/full\n'
    with pool.our_hook(host, text), pytest.raises(Failure) as failure:
        pool.start(vm, pool.other)
    assert (failure.value.description[0], failure.value.description[-1]) == ("XAPI_HOOK_FAILED", "2")
    assert host.machine.exists("/sys/class/net/eth0")


@pytest.mark.parametrize("hook", ["vm-pre-start", "vm-pre-resume"])
@pytest.mark.parametrize("options", [["-I"], ["-I", "-u"]])
def test_a_damaged_package_lets_nothing_through(tmp_path: Path, hook: str, options: List[str]) -> None:
    (tmp_path / hook).mkdir()
    alone = shutil.copy(HOOK_SCRIPT, str(tmp_path / hook / "50-xapi-sriov"))
    with open("/dev/full", "wb") as full:
        command = [sys.executable, *options, alone, "-vmuuid", "a"]
        assert subprocess.run(command, stdout=full).returncode == 2


KILLED = """
import signal
from sriovlib.vf import apply
arrive = apply.arrive
def arrive_and_die(*args):
    arrive(*args)
    os.kill(os.getpid(), signal.SIGKILL)
apply.arrive = arrive_and_die
"""


def test_settings_of_a_killed_hook_are_released_when_the_vm_starts_elsewhere(pool: Pool) -> None:
    vm, host = pool.with_vf("web", vlan="12"), pool.other
    with pool.changed_hook(host, KILLED), pytest.raises(Failure):
        pool.start(vm, pool.other)
    assert pool.settings(pool.other, VF) == (pool.mac(vm), 12)
    pool.start(vm, pool.one)
    assert pool.settings(pool.one, VF) == (pool.mac(vm), 12)
    assert pool.settings(pool.other, VF) == (NO_MAC, 0)


def test_a_note_that_cannot_be_written_leaves_no_old_one(pool: Pool) -> None:
    """A reboot that went by it would give the guest what it had at an earlier start."""
    vm, host = pool.with_vf("web", vlan="12"), pool.one.machine
    pool.start(vm, pool.one)
    pool.guest_shuts_down(vm)
    key = json.dumps(pool.ledger(vm), separators=(",", ":"))
    pool.set_ledger(vm, key.replace('"vlan":"12"', '"vlan":"77"'))  # somebody edits it
    in_the_way = host.path(f"/run/sriov/.{start_notes.PREFIX}{vm}.sriov-new")
    os.mkdir(in_the_way)
    pool.start(vm, pool.one)
    os.rmdir(in_the_way)
    pool.guest_reboots(vm)
    assert pool.settings(pool.one, VF) == (pool.mac(vm), 77)


def test_a_vf_by_hand_has_nobodys_mac(pool: Pool) -> None:
    """The guest that had it shut itself down, and its VM is gone."""
    gone = pool.with_vf("gone", vlan="12")
    pool.start(gone, pool.one)
    pool.guest_shuts_down(gone)
    pool.destroy(gone)
    assert pool.settings(pool.one, VF)[0] != NO_MAC
    vm = pool.vm("by hand", f"0/{VF}")
    pool.unassign(vm)  # forgets the VM that is gone
    pool.start(vm, pool.one)
    assert (pool.devices(vm), pool.settings(pool.one, VF)) == ([VF], (NO_MAC, 0))
