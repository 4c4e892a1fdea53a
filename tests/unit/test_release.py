"""VFs that a VM has left: also where its end was not told, and where somebody else has them by now."""

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Dict, List

import machine
import pytest
from machine import Machine
from one_host import card_takes
from small_pool import SmallPool
from sriovlib.calls import release_vfs
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.machine import xenstored
from sriovlib.machine.xenstore import Domain
from sriovlib.starts import release
from sriovlib.vf import apply, start_notes

ETH1 = "0000:07:00.0"
VF0, VF1 = "0000:07:10.0", "0000:07:10.2"
WEB, MAIL = "11111111-2222-4333-8444-555555555555", "66666666-2222-4333-8444-555555555555"
THIRD = "77777777-2222-4333-8444-555555555555"
MAC = "82:00:00:00:00:01"


@pytest.fixture
def host(tmp_path: Path) -> Machine:
    made = machine.default_host(str(tmp_path))
    made.write_attribute(f"/sys/bus/pci/devices/{ETH1}/sriov_numvfs", "2")
    return made


def came(host: Machine, vm_uuid: str, vf: str, mac: str = MAC, ago: float = 0) -> None:
    """The start hook has let a start through, so many seconds ago."""
    settings = {vf: {"mac": mac, "vlan": "12"}}
    with host.lock("vfs", "a test"):
        apply.arrive(host, apply.look(host), settings)
        start_notes.write(host, vm_uuid, [vf, "0000:00:1b.0"], settings, {})
    path = f"/run/sriov/start-{vm_uuid}"
    note = json.loads(host.read(path))
    host.replace_file(path, json.dumps({**note, "time": note["time"] - ago}).encode())


def _counted(seen: List[str], name: str, function: Any, *args: Any) -> Any:
    seen.append(name)
    return function(*args)


def mac(host: Machine, vf: str) -> Any:
    return apply.look(host)[vf].now.mac


def test_a_vm_that_ended_leaves_nothing(host: Machine) -> None:
    came(host, WEB, VF0)
    release.leave(host, WEB, reboots=False)
    assert mac(host, VF0) == NO_MAC
    assert start_notes.read(host, WEB) is None
    release.leave(host, WEB, reboots=False)  # told twice


@pytest.mark.parametrize("how", ["leave", "sweep", "release_vfs"])
def test_what_could_not_be_set_back_is_tried_again(
    host: Machine, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def broken(take: Any, index: int, changes: Any) -> None:
        if index == 0:
            raise OSError(5, "Input/output error")
        take(changes)

    came(host, WEB, VF0, ago=LONG)
    card_takes(monkeypatch, broken)
    session = SmallPool()
    if how == "leave":
        release.leave(host, WEB, reboots=False)
    elif how == "sweep":
        release.sweep(host, MAIL, {})
    else:
        answer = release_vfs.release_vfs(host, session, {"vm_uuid": WEB, "vfs": VF1})
        (kept,) = answer["not_released"]
        assert (answer["released"], kept["vf"]) == ([VF1], VF0)
        assert kept["why"].startswith(f"{VF0} cannot be set back, mac {NO_MAC}: ")
    note = start_notes.read(host, WEB)
    assert note is not None
    assert (note.devices, list(note.settings)) == ([], [VF0])
    assert (start_notes.claims(host, MAIL), start_notes.starting(host, [])) == ({}, {})  # it stops nobody
    monkeypatch.undo()
    if how == "release_vfs":
        assert release_vfs.release_vfs(host, session, {"vm_uuid": WEB})["released"] == [VF0]
    else:
        release.sweep(host, MAIL, {})
    assert (mac(host, VF0), start_notes.read(host, WEB)) == (NO_MAC, None)


def test_a_release_that_nobody_can_judge_keeps_the_note(host: Machine) -> None:
    came(host, WEB, VF0)
    os.unlink(host.path(xenstored.SOCKET))
    answer = release_vfs.release_vfs(host, SmallPool(), {"vm_uuid": WEB})
    why = "xenstore does not tell which VMs have which VFs"
    assert answer == {"vm_uuid": WEB, "released": [], "not_released": [{"vf": VF0, "why": why}]}
    assert start_notes.read(host, WEB) is not None


def test_note_of_a_vm_that_reboots_stays(host: Machine) -> None:
    came(host, WEB, VF0, ago=3600)
    release.leave(host, WEB, reboots=True)
    assert mac(host, VF0) == NO_MAC
    note = start_notes.read(host, WEB)
    assert note is not None
    assert note.settings == {VF0: {"mac": MAC, "vlan": "12"}}
    assert list(start_notes.claims(host, MAIL)) == [WEB]  # nobody takes its VF meanwhile


def test_release_leaves_a_vf_of_another_domain_alone(host: Machine) -> None:
    came(host, WEB, VF0)
    host.start_domain(MAIL, "mail", [VF0])
    release.leave(host, WEB, reboots=False)
    assert mac(host, VF0) == MAC


def test_release_leaves_a_vf_of_a_later_start_alone(host: Machine) -> None:
    came(host, WEB, VF0, ago=5)
    came(host, MAIL, VF0, mac="82:00:00:00:00:02")
    release.leave(host, WEB, reboots=False)
    assert mac(host, VF0) == "82:00:00:00:00:02"


def test_sweep_releases_the_rest_beside_a_vf_of_another_vm(host: Machine) -> None:
    """Two VFs, of which one is another VM's today."""
    settings = {VF0: {"mac": MAC, "vlan": "12"}, VF1: {"mac": "82:00:00:00:00:02", "vlan": "12"}}
    came(host, WEB, VF0)
    with host.lock("vfs", "a test"):
        apply.arrive(host, apply.look(host), settings)
        note = {"time": -2 * start_notes.STALE_SECONDS, "devices": [VF0, VF1], "settings": settings}
        host.replace_file(f"/run/sriov/start-{WEB}", json.dumps(note).encode())
    release.sweep(host, MAIL, {VF0: Domain(7, THIRD, "third")})
    assert (mac(host, VF0), mac(host, VF1)) == (MAC, NO_MAC)
    assert start_notes.read(host, WEB) is None


def test_many_vms_that_ended_without_a_word_are_swept_up_at_once(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A house full of guests that shut themselves down: the next start holds the lock meanwhile."""
    came(host, WEB, VF0, ago=9000)
    note = {"time": -9000, "devices": [VF0], "settings": {VF0: {"mac": MAC}}}
    for number in range(39):
        uuid = f"{number:08d}-2222-4333-8444-555555555555"
        host.replace_file(f"/run/sriov/start-{uuid}", json.dumps(note).encode())
    seen: List[str] = []
    for module, name in ((start_notes, "read"), (apply, "look")):
        monkeypatch.setattr(module, name, partial(_counted, seen, name, getattr(module, name)))
    release.sweep(host, MAIL, running={})
    assert (seen.count("read") <= 3 * 40, seen.count("look")) == (True, 1)
    assert (mac(host, VF0), start_notes.others(host, MAIL)) == (NO_MAC, {})


LONG = start_notes.STALE_SECONDS + 1


@pytest.mark.parametrize(
    ("ago", "running"),
    [
        (LONG, {VF0: Domain(7, WEB, "web")}),
        (LONG, {VF1: Domain(7, WEB, "web")}),  # with others than were noted
        (LONG, {VF0: Domain(7, None, None)}),  # nobody knows whose domain that is
        (5, {}),
    ],
)
def test_a_vm_that_runs_or_may_is_left_alone(host: Machine, ago: float, running: Dict[str, Domain]) -> None:
    came(host, WEB, VF0, ago=ago)
    release.sweep(host, MAIL, running)
    assert mac(host, VF0) == MAC
    assert start_notes.read(host, WEB) is not None


def test_a_vm_that_is_rebooting_is_left_alone(host: Machine) -> None:
    """It has no domain, and a note from the day it was started."""
    came(host, WEB, VF0, ago=LONG)
    start_notes.mark_reboot(host, WEB)
    assert list(start_notes.claims(host, MAIL)) == [WEB]
    release.sweep(host, MAIL, {})
    assert mac(host, VF0) == MAC
    assert start_notes.read(host, WEB) is not None


def test_devices_without_settings_bring_none_of_somebody_elses(host: Machine) -> None:
    """But what a running domain has stays as it is."""
    came(host, WEB, VF0, ago=LONG)
    release.left_behind(host, MAIL, {VF0}, running=[VF0])
    assert mac(host, VF0) == MAC
    release.left_behind(host, MAIL, {VF0}, running=[])
    assert mac(host, VF0) == NO_MAC


def test_a_claim_ends() -> None:
    now = time.monotonic()
    ages: Dict[float, bool] = {0: True, 59: True, 61: False, -5: False}
    assert {age: start_notes.Note(now - age, [], {}).claims for age in ages} == ages


def test_a_hook_for_a_vm_without_devices_imports_little() -> None:
    """Of the library, and nothing of Python's that takes long to load."""
    folder = str(Path(__file__).resolve().parents[2] / "plugins")
    program = (
        f"import sys; sys.path.insert(0, {folder!r}); import sriovlib; sriovlib.hold(''); "
        "import sriovlib.starts.hooks; print(*sys.modules)"
    )
    said = subprocess.check_output([sys.executable, "-IS", "-c", program], universal_newlines=True).split()
    assert {"json", "_socket"} <= set(said)
    assert not {"socket", "subprocess", "signal", "threading", "copy", "http", "ssl"}.intersection(said)
    modules = {name.partition(".")[2] for name in said if name.startswith("sriovlib.")}
    assert modules == {
        "errors",
        "light_modules",
        "light_typing",
        "machine",
        "machine.host",
        "safetext",
        "starts",
        "starts.hooks",
        "vf",
        "vf.start_notes",
        "xapi",
        "xapi.kept_session",
        "xapi.own_session",
        "xapi.session",
    }
