"""The imitation of xapi, held against recordings of a real one, step by step."""

import os

import pytest
from transcript_match import Mismatch
from transcript_player import NotPlayable, steps
from transcript_pool import recorded_pool

pytestmark = pytest.mark.story

TRANSCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "transcripts")
NAMES = sorted(
    name[: -len(".json")]
    for name in os.listdir(TRANSCRIPTS)
    if name.endswith(".json") and name != "xen-cmdline.json"
)


@pytest.mark.parametrize("name", NAMES)
def test_the_imitation_answers_as_the_recorded_xapi_did(name: str) -> None:
    wrong = []
    numbered = steps(os.path.join(TRANSCRIPTS, name + ".json"))
    with recorded_pool(list(numbered.values())) as player:
        for line, step in numbered.items():
            try:
                player.play(step)
            except (Mismatch, NotPlayable) as error:
                wrong.append(f"{name}.json:{line}: {error}")
    assert not wrong, "\n".join(wrong)
