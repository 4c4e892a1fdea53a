"""The imitation of xapi, held against recordings of a real one, step by step."""

import os
from typing import Dict

import pytest
from transcript_match import Mismatch
from transcript_player import NotPlayable, steps
from transcript_pool import recorded_pool

pytestmark = pytest.mark.story

TRANSCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "transcripts")
_SIMULATED = "where the simulator, whose guests have no kind, gives up; a real host does not"
_MESSAGES = "messages cannot be written by xe here: nothing of ours reads them"
_LIFE_MESSAGES = "what happens to VMs is not told in messages here: nothing of ours reads those"
_EXTENSIONS = "xapi.d/extensions is another mechanism than xapi.d/plugins"
_RACE = "made by callers that the transcript does not show; test_xapi.py has such a race"

# Why a step is not played, by transcript and line. One that could be played makes the test fail.
NOT_PLAYED: Dict[str, Dict[int, str]] = {
    "session": {
        73: "the list of all calls of a real xapi, of which there are fewer here",
        111: "the key was added before, and what took it away in between is not recorded",
    },
    "plugin": {
        206: _EXTENSIONS,
        207: _EXTENSIONS,
        214: "seconds tell nothing on a loaded machine; test_xapi.py has calls that wait for each other",
    },
    "plugin-cli": {
        96: _MESSAGES,
        97: _MESSAGES,
    },
    "records": {},
    "maps": {
        146: _RACE,
        147: _RACE,
    },
    "roles": {},
    "devices": {
        52: _SIMULATED,
        61: _SIMULATED,
        70: "the words of one network back-end; another makes the bridge that is missing",
    },
    "events": {
        9: "there are fewer classes of objects here",
        62: _LIFE_MESSAGES,
        63: _LIFE_MESSAGES,
    },
    "vm-life": {},
    "passthrough": {
        78: _SIMULATED,
        95: _SIMULATED,
        108: "the machine's files are not in play here; test_vm_start.py has a machine without pciback",
    },
    "guest-features": {},
    "hooks": {},
    "hooks-waiting": {},
}


@pytest.mark.parametrize("name", sorted(NOT_PLAYED))
def test_the_imitation_answers_as_the_recorded_xapi_did(name: str) -> None:
    wrong = []
    reasons = dict(NOT_PLAYED[name])
    numbered = steps(os.path.join(TRANSCRIPTS, name + ".json"))
    with recorded_pool(list(numbered.values())) as player:
        for line, step in numbered.items():
            reason = reasons.pop(line, None)
            try:
                player.play(step)
            except (Mismatch, NotPlayable) as error:
                if reason is None:
                    wrong.append(f"{name}.json:{line}: {error}")
            else:
                if reason is not None:
                    wrong.append(f"{name}.json:{line}: it can be played now")
    assert not wrong, "\n".join(wrong)
    assert not reasons, f"{name}.json has no such lines: {sorted(reasons)}"
