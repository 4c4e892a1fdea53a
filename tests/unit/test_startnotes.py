"""Notes of starts: what is no note is none, whatever is in the file."""

import json
from typing import Any

import pytest
from sriovlib import startnotes
from sriovlib.host import RUN_FOLDER, Host

VM = "d58d9323-dddc-4624-a482-9f6ceb10670c"
VF = "0000:07:10.0"


def written(fs: Any, text: str) -> None:
    fs.create_file(f"{RUN_FOLDER}/start-{VM}", contents=text)


def test_a_note_is_read_as_it_was_written(fs: Any) -> None:
    fs.create_dir(RUN_FOLDER)
    startnotes.write(Host(), VM, [VF], {VF: {"vlan": "12"}})
    note = startnotes.read(Host(), VM)
    assert note is not None
    assert (note.devices, note.settings, note.claims) == ([VF], {VF: {"vlan": "12"}}, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
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
def test_what_is_no_note(fs: Any, text: str) -> None:
    written(fs, text)
    assert startnotes.read(Host(), VM) is None
    assert startnotes.claims(Host(), "another") == {}
