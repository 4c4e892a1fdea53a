"""The imitation of xapi, held against recordings of a real one, step by step."""

import json
from pathlib import Path

import pytest
from transcript_match import Mismatch
from transcript_player import recorded_pool

pytestmark = pytest.mark.story

FIRST_LINE = 6  # of the steps in a transcript's file: each is a line
TRANSCRIPTS = Path(__file__).parent / "transcripts"
NAMES = sorted(path.stem for path in TRANSCRIPTS.glob("*.json") if path.stem != "xen-cmdline")


@pytest.mark.parametrize("name", NAMES)
def test_the_imitation_answers_as_the_recorded_xapi_did(name: str) -> None:
    wrong = []
    with recorded_pool() as player:
        for line, step in enumerate(
            json.loads((TRANSCRIPTS / f"{name}.json").read_text())["steps"], FIRST_LINE
        ):
            try:
                player.play(step)
            except Mismatch as error:
                wrong.append(f"{name}.json:{line}: {error}")
    assert not wrong, "\n".join(wrong)
