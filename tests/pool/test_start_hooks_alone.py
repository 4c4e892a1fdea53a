"""Hooks that nobody helps: xapi is silent or fails, xenstore does not answer, the lock is another's for long,
a note cannot be written. No start takes what is not its own, and no reboot is lost for that."""

import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from box_vms import HOOK_SCRIPT
from calls import Context
from estate import PLUGINS, Estate, Gate, calls_watched
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.machine.host import Host
from sriovlib.starts import handover
from sriovlib.vf import apply, links, start_notes
from values import Failure

pytestmark = pytest.mark.story

VF, MANAGEMENT = "0000:07:10.0", "0000:02:00.0"


def outcome(estate: Estate, vm: str, host: int) -> str:
    """The code that whoever starts it is told."""
    try:
        estate.start(vm, host)
    except Failure as failure:
        return estate.lines(failure)[0].split(" ")[0]
    return "started"


def xapi_fails(estate: Estate, host: int) -> Any:
    """It answers all questions of that host's dom0, and always with an error."""

    def act(_number: int, name: str) -> None:
        if name == "VM.get_all_records_where":
            raise Failure("INTERNAL_ERROR", "Db_exn.DBCache_NotFound")

    return calls_watched(estate.box, estate.box.hosts[host], act)


def until_it_is_logged(estate: Estate, host: int, words: str, thread: threading.Thread) -> None:
    while words not in estate.log(host):
        assert thread.is_alive(), estate.log(host)
        thread.join(0.05)


# -- xapi ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hurried")
def test_while_xapi_is_silent_only_vms_without_devices_start(estate: Estate) -> None:
    """The toolstack was restarted when their starts were under way. One was here before: its note is no
    reason to take its start for a reboot."""
    greedy, plain = estate.vm("greedy", f"0/{MANAGEMENT}"), estate.vm("plain")
    was_here, in_vlan = estate.with_vf("web"), estate.with_vf("mail", vlan="12")
    estate.start(was_here, 1)
    estate.box.shut_down_from_inside(was_here)
    estate.set_pci(was_here, f"0/{MANAGEMENT}")
    host, vms = estate.box.hosts[1], (greedy, plain, was_here, in_vlan)
    with Gate(host, "10-before") as gate, ThreadPoolExecutor(4) as threads:
        outcomes = [threads.submit(outcome, estate, vm, 1) for vm in vms]
        for vm in vms:
            gate.wait_for(estate.uuid(vm))
        with estate.box.silent_xapi(host):
            gate.open()
            found = [one.result() for one in outcomes]
    assert found == ["SRIOV_XAPI_SILENT", "started", "SRIOV_XAPI_SILENT", "SRIOV_XAPI_SILENT"]
    assert host.machine.exists("/sys/class/net/eth0")


@pytest.mark.usefixtures("hurried")
def test_while_xapi_fails_too(estate: Estate) -> None:
    greedy, web = estate.vm("greedy", f"0/{MANAGEMENT}"), estate.with_vf("web", vlan="12")
    estate.start(web, 1)
    with xapi_fails(estate, 1):
        assert outcome(estate, greedy, 1) == "SRIOV_XAPI_SILENT"
        estate.box.reboot_from_inside(web)
    assert estate.box.hosts[1].machine.exists("/sys/class/net/eth0")
    assert (estate.box.devices(web), estate.settings(1, VF)[1]) == ([VF], 12)


@pytest.mark.usefixtures("hurried")
def test_a_start_soon_after_a_reboot_that_came_to_nothing_is_a_start(estate: Estate) -> None:
    vm, host = estate.with_vf("web"), estate.box.hosts[1]
    estate.start(vm, 1)
    script = estate.box.put_hook(host, "vm-pre-reboot", "#!/bin/sh\nexit 2\n")
    with pytest.raises(Failure):
        estate.box.reboot(vm, hard=True)
    os.unlink(script)
    assert start_notes.reboots(host.machine, estate.uuid(vm))
    estate.set_pci(vm, f"{estate.pci(vm)},7/{MANAGEMENT}")
    assert outcome(estate, vm, 1) == "SRIOV_NEEDED_BY_DOM0"
    with Gate(host, "10-before") as gate, ThreadPoolExecutor(1) as threads:
        again = threads.submit(outcome, estate, vm, 1)
        gate.wait_for(estate.uuid(vm))
        with estate.box.silent_xapi(host):
            gate.open()
            assert again.result() == "SRIOV_XAPI_SILENT"  # the mark is good for one start


@pytest.mark.parametrize("has_vf", [True, False])
def test_nor_is_it_a_reboot_while_xapi_is_silent(estate: Estate, has_vf: bool) -> None:
    """It would plug more than the VM had, or something where it had nothing."""
    vm, host = estate.with_vf("web") if has_vf else estate.vm("web"), estate.box.hosts[1]
    estate.start(vm, 1)
    script = estate.box.put_hook(host, "vm-pre-reboot", "#!/bin/sh\nexit 2\n")
    with pytest.raises(Failure):
        estate.box.reboot(vm, hard=True)
    os.unlink(script)
    estate.set_pci(vm, f"0/{VF},7/{MANAGEMENT}")
    with estate.impatient(1), Gate(host, "10-before") as gate, ThreadPoolExecutor(1) as threads:
        again = threads.submit(outcome, estate, vm, 1)
        gate.wait_for(estate.uuid(vm))
        with estate.box.silent_xapi(host):
            gate.open()
            assert again.result() == "SRIOV_XAPI_SILENT"
    assert host.machine.exists("/sys/class/net/eth0")


@pytest.mark.usefixtures("hurried")
def test_a_master_that_does_not_answer_holds_no_start_up_that_needs_nothing(estate: Estate) -> None:
    vm, table, answers = estate.with_vf("web", vlan="12"), estate.box.xapi.calls, threading.Event()
    waited: List[bool] = []

    def late(context: Context, *params: Any) -> Any:
        waited.append(answers.wait(60))
        return table["host.call_plugin"].function(context, *params)

    estate.box.xapi.calls = {**table, "host.call_plugin": table["host.call_plugin"]._replace(function=late)}
    try:
        estate.start(vm, 1)  # addresses are alike: only the lease was to move
        assert waited == []  # it goes on waiting
    finally:
        answers.set()
        estate.box.xapi.calls = table
    assert estate.settings(1, VF) == (estate.mac(vm), 12)


def test_a_start_that_waits_for_minutes_keeps_its_vf(estate: Estate) -> None:
    """For memory, say: its hook was through long ago, and its domain is to come."""
    machine = estate.box.hosts[0].machine
    first, second = estate.vm("first", f"0/{VF}"), estate.vm("second", f"0/{VF}")
    note = f"/run/sriov/{start_notes.PREFIX}{estate.uuid(first)}"
    with Gate(estate.box.hosts[0], "60-after") as gate, ThreadPoolExecutor(1) as threads:
        slow = threads.submit(outcome, estate, first, 0)
        gate.wait_for(estate.uuid(first))
        written = json.loads(machine.read(note))
        early = {**written, "time": written["time"] - start_notes.CLAIM_SECONDS}
        machine.replace_file(note, json.dumps(early).encode())
        _, message, _ = estate.refused(second, 0)
        gate.open()
        assert slow.result() == "started"
    assert message.endswith(f"held by VM first ({estate.uuid(first)}), which is starting.")
    estate.box.shut_down_from_inside(first)  # its note stays, and claims nothing
    assert outcome(estate, second, 0) == "started"


# -- the lock --------------------------------------------------------------------------------------


def test_nobody_waits_for_anothers_link(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that waits for its PF's link, to set a rate, holds no lock meanwhile."""
    machine, waited = estate.box.hosts[0].machine, []

    def wait(host: Host, interfaces: List[str]) -> None:
        with host.lock("vfs", "another start", 0.2):
            waited.extend(interfaces)

    monkeypatch.setattr(links, "wait_for_carrier", wait)
    permitted = handover.Permitted([VF], {VF: {"max_tx_rate": "100"}}, {})
    handover.arrive(machine, estate.uuid(estate.vm("web")), permitted)
    assert waited == ["eth1"]
    apply.release(machine, [VF])


@pytest.mark.usefixtures("hurried")
def test_a_lock_that_is_anothers_for_long_costs_no_reboot(estate: Estate) -> None:
    host, by_hand = estate.box.hosts[0].machine, estate.vm("by hand", "0/0000:07:10.2")
    estate.start(by_hand, 0)  # before there are VLANs in its network
    vm = estate.with_vf("web", vlan="12")
    estate.start(vm, 0)
    with host.lock("vfs", "sriov-restore"), ThreadPoolExecutor(2) as threads:
        list(threads.map(estate.box.reboot_from_inside, (vm, by_hand)))
    assert (estate.box.devices(vm), estate.box.devices(by_hand)) == ([VF], ["0000:07:10.2"])
    assert estate.settings(0, VF) == (estate.mac(vm), 12)


@pytest.mark.usefixtures("hurried")
def test_a_reboot_waits_for_the_lock_where_its_vf_is_not_as_it_was(estate: Estate) -> None:
    vm, host = estate.with_vf("web", vlan="12"), estate.box.hosts[0].machine
    estate.start(vm, 0)
    thread = threading.Thread(target=estate.box.reboot_from_inside, args=(vm,))
    with host.lock("vfs", "sriov-restore"):
        host.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "vlan", "99"])
        thread.start()
        until_it_is_logged(estate, 0, "waits for its VFs", thread)
        assert estate.box.devices(vm) == []
    thread.join()
    assert (estate.box.devices(vm), estate.settings(0, VF)) == ([VF], (estate.mac(vm), 12))


# -- xenstore, and notes ---------------------------------------------------------------------------


def test_where_xenstore_does_not_answer_no_vf_is_swept_up(estate: Estate) -> None:
    """Nobody knows then who runs: a VM that has run for hours keeps its MAC beside one that reboots."""
    web, other = estate.with_vf("web", vlan="12"), estate.with_vf("other", vlan="13")
    for vm in (web, other):
        estate.start(vm, 0)
    machine = estate.box.hosts[0].machine
    note = f"/run/sriov/{start_notes.PREFIX}{estate.uuid(web)}"
    machine.replace_file(note, json.dumps({**json.loads(machine.read(note)), "time": -90000}).encode())
    tool = machine.path("/usr/bin/xenstore-ls")
    os.rename(tool, f"{tool}.away")
    estate.box.reboot_from_inside(other)
    os.rename(f"{tool}.away", tool)
    assert estate.settings(0, VF) == (estate.mac(web), 12)
    assert machine.exists(note)


@contextmanager
def nothing_can_be_removed(estate: Estate, host: int, vm: str) -> Iterator[None]:
    """Root may do anything, so something that is no file stands where the mark of a reboot would."""
    mark = estate.box.hosts[host].machine.path(f"/run/sriov/{start_notes.REBOOT_PREFIX}{estate.uuid(vm)}")
    os.makedirs(mark)
    try:
        yield
    finally:
        os.rmdir(mark)


def test_a_mark_that_cannot_be_taken_away_stops_nothing(estate: Estate) -> None:
    plain, web = estate.vm("plain"), estate.with_vf("web", vlan="12")
    with nothing_can_be_removed(estate, 0, plain):
        assert outcome(estate, plain, 0) == "started"
    estate.start(web, 0)
    with nothing_can_be_removed(estate, 0, web):
        estate.box.shut_down(web, hard=True)
        assert estate.settings(0, VF) == (NO_MAC, 0)
    assert "the mark of its reboot could not be taken away" in estate.log(0)


@pytest.mark.parametrize("environment", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_a_full_disk_lets_nothing_through(estate: Estate, environment: Dict[str, str]) -> None:
    """What a hook prints goes to a file in /tmp; status 1 would let the VM start."""
    vm, host = estate.vm("greedy", f"0/{MANAGEMENT}"), estate.box.hosts[1]
    link = host.machine.path("/etc/xapi.d/vm-pre-start/50-xapi-sriov")
    ours = os.readlink(link)
    os.unlink(link)
    exports = "".join(f"export {name}={value}\n" for name, value in environment.items())
    text = f'#!/bin/sh\n{exports}exec {ours} "$@" >/dev/full\n'
    estate.box.put_hook(host, "vm-pre-start", text, name="50-xapi-sriov")
    with pytest.raises(Failure) as failure:
        estate.start(vm, 1)
    os.unlink(link)
    os.symlink(ours, link)
    assert (failure.value.description[0], failure.value.description[-1]) == ("XAPI_HOOK_FAILED", "2")
    assert host.machine.exists("/sys/class/net/eth0")


@pytest.mark.parametrize("hook", ["vm-pre-start", "vm-pre-resume"])
@pytest.mark.parametrize("options", [["-I"], ["-I", "-u"]])
def test_nor_does_a_package_that_is_not_whole(tmp_path: Path, hook: str, options: List[str]) -> None:
    (tmp_path / hook).mkdir()
    alone = shutil.copy(HOOK_SCRIPT, str(tmp_path / hook / "50-xapi-sriov"))
    with open("/dev/full", "wb") as full:
        command = [sys.executable, *options, alone, "-vmuuid", "a"]
        assert subprocess.run(command, stdout=full).returncode == 2


KILLED = """#!/usr/bin/python3
import os, signal, sys
sys.path[:0] = [{plugins!r}]
import sitecustomize
from sriovlib.starts import hooks
from sriovlib.vf import apply
arrive = apply.arrive
def arrive_and_die(*args):
    arrive(*args)
    os.kill(os.getpid(), signal.SIGKILL)
apply.arrive = arrive_and_die
os._exit(hooks.run("vm-pre-start", sys.argv))
"""


def test_what_a_killed_hook_had_set_is_set_back_when_the_vm_starts_elsewhere(estate: Estate) -> None:
    vm, host = estate.with_vf("web", vlan="12"), estate.box.hosts[1]
    link = host.machine.path("/etc/xapi.d/vm-pre-start/50-xapi-sriov")
    ours = os.readlink(link)
    os.unlink(link)
    estate.box.put_hook(host, "vm-pre-start", KILLED.format(plugins=PLUGINS), name="50-xapi-sriov")
    with pytest.raises(Failure):
        estate.start(vm, 1)
    os.unlink(link)
    os.symlink(ours, link)
    assert estate.settings(1, VF) == (estate.mac(vm), 12)
    estate.start(vm, 0)
    assert estate.settings(0, VF) == (estate.mac(vm), 12)
    assert estate.settings(1, VF) == (NO_MAC, 0)


def test_a_note_that_cannot_be_written_leaves_no_old_one(estate: Estate) -> None:
    """A reboot that went by it would give the guest what it had at an earlier start."""
    vm, host = estate.with_vf("web", vlan="12"), estate.box.hosts[0].machine
    estate.start(vm, 0)
    estate.box.shut_down_from_inside(vm)
    in_ledger(estate, vm, '"vlan":"12"', '"vlan":"77"')
    in_the_way = host.path(f"/run/sriov/.{start_notes.PREFIX}{estate.uuid(vm)}.sriov-new")
    os.mkdir(in_the_way)
    estate.start(vm, 0)
    os.rmdir(in_the_way)
    estate.box.reboot_from_inside(vm)
    assert estate.settings(0, VF) == (estate.mac(vm), 77)


def in_ledger(estate: Estate, vm: str, old: str, new: str) -> None:
    """Somebody edits the VM's key."""
    text = estate.key(vm).text
    assert old in text
    estate.set_key(vm, text.replace(old, new))


def test_a_vf_by_hand_has_nobodys_mac(estate: Estate) -> None:
    """The guest that had it shut itself down, and its VM is gone."""
    gone = estate.with_vf("gone", vlan="12")
    estate.start(gone, 0)
    estate.box.shut_down_from_inside(gone)
    estate.box.xapi.call("VM.destroy", gone)
    assert estate.settings(0, VF)[0] != NO_MAC
    vm = estate.vm("by hand", f"0/{VF}")
    estate.call("unassign_vf", vm_uuid=estate.uuid(vm), all="true")  # forgets the VM that is gone
    estate.start(vm, 0)
    assert (estate.box.devices(vm), estate.settings(0, VF)) == ([VF], (NO_MAC, 0))


@contextmanager
def released_late(estate: Estate) -> Iterator[Tuple[threading.Event, threading.Event]]:
    """The first `release_vfs`: an event when it is asked for, and one that lets it go on."""
    asked, go, table = threading.Event(), threading.Event(), estate.box.xapi.calls
    real = table["host.call_plugin"]

    def late(context: Context, *params: Any) -> Any:
        if "release_vfs" in params and not asked.is_set():
            asked.set()
            go.wait(60)
        return real.function(context, *params)

    estate.box.xapi.calls = {**table, "host.call_plugin": real._replace(function=late)}
    try:
        yield asked, go
    finally:
        go.set()
        estate.box.xapi.calls = table


def test_a_release_that_comes_late_leaves_a_start_alone(estate: Estate) -> None:
    """The lease was moved away, the VM starts on its old host all the same, and only then is that told."""
    vm, host = estate.with_vf("web", on=1, vlan="12"), estate.box.hosts[1]
    estate.start(vm, 1)
    estate.box.shut_down_from_inside(vm)
    with released_late(estate) as (asked, go), ThreadPoolExecutor(2) as threads:
        args = {"vm_uuid": estate.uuid(vm), "host_uuid": estate.box.hosts[0].uuid}
        moved = threads.submit(lambda: estate.call("reinstate_vfs", **args))
        assert asked.wait(60)
        with Gate(host, "60-after") as gate:
            started = threads.submit(estate.start, vm, 1)
            gate.wait_for(estate.uuid(vm))  # our hook is through, and there is no domain yet
            go.set()
            moved.result()
            gate.open()
        started.result()
    assert (estate.box.devices(vm), estate.settings(1, VF)) == ([VF], (estate.mac(vm), 12))
    assert start_notes.read(host.machine, estate.uuid(vm)) is not None
