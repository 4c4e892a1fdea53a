"""Notes of starts: what is no note is none, whatever is in the file."""

import json
import time
from typing import Any

import pytest
from sriovlib.machine.host import RUN_FOLDER, Host
from sriovlib.vf import start_notes

VM = "d58d9323-dddc-4624-a482-9f6ceb10670c"
VF = "0000:07:10.0"


def written(fs: Any, text: str) -> None:
    fs.create_file(f"{RUN_FOLDER}/start-{VM}", contents=text)


def test_a_note_is_read_as_it_was_written(fs: Any) -> None:
    fs.create_dir(RUN_FOLDER)
    start_notes.write(Host(), VM, [VF], {VF: {"vlan": "12"}}, {VF: 3, "0000:07:10.2": 4})
    note = start_notes.read(Host(), VM)
    assert note is not None
    assert (note.devices, note.settings, note.claims) == ([VF], {VF: {"vlan": "12"}}, True)
    assert note.requests == {VF: 3}  # of its devices


def test_settings_that_nobody_understands_are_left_out(fs: Any) -> None:
    """A newer version wrote the note, and an older one is installed again while the VM runs."""
    settings = {"vlan": "12", "promiscuous": "on", "qos": "8", "trust": None, "mac": "default"}
    written(fs, json.dumps({"time": 1.0, "devices": [VF], "settings": {VF: settings}}))
    note = start_notes.read(Host(), VM)
    assert note is not None
    assert note.settings == {VF: {"vlan": "12", "mac": "default"}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        '{"time": 1}',
        "[" * 100_000,
        '{"time":' * 100_000,
        "[]",
        "7",
        json.dumps({"time": 10**400, "devices": [], "settings": {}}),
        json.dumps({"time": "²", "devices": [], "settings": {}}),
        json.dumps({"time": 1.0, "devices": 7, "settings": {}}),
        json.dumps({"time": 1.0, "devices": [], "settings": []}),
        json.dumps({"time": 1.0, "devices": [], "settings": {VF: [1]}}),
    ],
)
def test_texts_that_are_no_start_note(fs: Any, text: str) -> None:
    written(fs, text)
    assert start_notes.read(Host(), VM) is None
    assert start_notes.claims(Host(), "another") == {}


@pytest.mark.parametrize(
    ("age", "is_under_way"),
    [
        (-1, False),  # of another boot: time.monotonic() begins anew
        (0, True),
        (599, True),
        (600, False),
    ],
)
def test_a_start_is_under_way_for_ten_minutes_at_most(
    fs: Any, monkeypatch: pytest.MonkeyPatch, age: float, is_under_way: bool
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 8000.0)
    written(fs, json.dumps({"time": 8000.0 - age, "devices": [VF], "settings": {}}))
    assert list(start_notes.under_way(Host(), "another")) == ([VM] if is_under_way else [])
    assert start_notes.under_way(Host(), VM) == {}


def test_a_reboot_is_under_way_however_old_its_note_is(fs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 8000.0)
    written(fs, json.dumps({"time": 10.0, "devices": [VF], "settings": {}}))
    assert start_notes.under_way(Host(), "another") == {}
    start_notes.mark_reboot(Host(), VM)
    assert list(start_notes.under_way(Host(), "another")) == [VM]
