"""The last look at a start: who has its devices by now, and what stays noted where it comes to nothing."""

import os
from pathlib import Path
from typing import Any, Dict, Optional

import machine
import pytest
from machine import Machine
from one_host import card_takes
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.errors import SriovError
from sriovlib.machine import xenstored
from sriovlib.starts import handover, release
from sriovlib.starts.handover import Permitted
from sriovlib.vf import apply, start_notes

VF0, VF1, NONE = "0000:07:10.0", "0000:07:10.2", "0000:07:1f.6"
WEB, MAIL = "11111111-2222-4333-8444-555555555555", "66666666-2222-4333-8444-555555555555"
MAC = "82:00:00:00:00:01"
REBOOT = None


@pytest.fixture
def host(tmp_path: Path) -> Machine:
    made = machine.default_host(str(tmp_path))
    made.write_attribute("/sys/bus/pci/devices/0000:07:00.0/sriov_numvfs", "2")
    return made


def begins(host: Machine, vm: str, vf: str, ended: Optional[Dict[str, float]]) -> None:
    """A start that may bring MAC and a VLAN to this VF, or a reboot."""
    handover.arrive(host, vm, Permitted([vf], {vf: {"mac": MAC, "vlan": "12"}}, ended))


def refusal(host: Machine, vm: str, vf: str, ended: Optional[Dict[str, float]]) -> str:
    with pytest.raises(SriovError) as error:
        begins(host, vm, vf, ended)
    return error.value.code


def test_start_that_comes_to_nothing_leaves_no_note(host: Machine) -> None:
    assert refusal(host, WEB, NONE, {}) == "SRIOV_NOT_FOUND"
    assert start_notes.read(host, WEB) is None


def test_vf_that_a_refused_start_cannot_set_back_stays_noted(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card takes the MAC and then nothing any more."""

    def once(take: Any, _index: int, changes: Dict[str, Any]) -> None:
        if changes.get("mac") != MAC:
            raise OSError(5, "Input/output error")
        take(changes)

    card_takes(monkeypatch, once)
    assert refusal(host, WEB, VF0, {}) == "SRIOV_KERNEL_REFUSED"
    note = start_notes.read(host, WEB)
    assert note is not None
    assert (note.devices, list(note.settings)) == ([], [VF0])
    monkeypatch.undo()
    begins(host, MAIL, VF1, {})
    assert (apply.look(host)[VF0].now.mac, start_notes.read(host, WEB)) == (NO_MAC, None)


def test_a_start_that_ended_keeps_nobody_off_and_one_that_began_since_does(host: Machine) -> None:
    begins(host, MAIL, VF0, {})
    first = start_notes.read(host, MAIL)
    assert first is not None
    begins(host, WEB, VF0, {MAIL: first.time})
    start_notes.remove(host, WEB)
    begins(host, MAIL, VF0, {})
    assert refusal(host, WEB, VF0, {MAIL: first.time}) == "SRIOV_VF_IN_USE"


def test_where_nobody_knows_who_runs_no_mac_is_taken_away(host: Machine) -> None:
    begins(host, WEB, VF0, {})
    os.unlink(host.path(xenstored.SOCKET))
    begins(host, MAIL, VF1, REBOOT)
    assert apply.look(host)[VF0].now.mac == MAC


def test_a_reboot_does_not_pass_by_the_lock_where_another_domain_has_its_vf(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins(host, WEB, VF0, {})
    host.start_domain(MAIL, "mail", [VF0])
    monkeypatch.setattr(release, "REBOOT_LOCK_SECONDS", 0)
    monkeypatch.setattr(handover, "REBOOT_SECONDS", 0)
    with host.lock("vfs", "somebody's work"):
        assert refusal(host, WEB, VF0, REBOOT) == "SRIOV_BUSY"


def test_a_reboot_needs_no_new_note(host: Machine) -> None:
    """/run is no folder any more, so nothing can be written there, taken away, or locked."""
    begins(host, WEB, VF0, {})
    os.rename(host.path("/run/sriov"), host.path("/run/away"))
    host.replace_file("/run/sriov", b"")
    begins(host, WEB, VF0, REBOOT)
    assert refusal(host, MAIL, VF1, {}) == "SRIOV_NO_LOCK"
