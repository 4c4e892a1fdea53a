"""The pictures of `map` in a real browser: they are seen, in light and in dark, the search works, and names
do nothing. The screenshots stay in build/pictures, to be looked at."""

import html as escaping
import re
from pathlib import Path
from typing import Any, Callable
from urllib.parse import quote

import png_colours
import pytest
from parsed_page import Page
from pictured_pool import NAMES, everything
from sriovctl.picture import html, look, model, svg

MADE = "Drawn on 2026-11-29 at 06:30 UTC by sriovctl 0.1.0."
SHOWN = Path(__file__).parents[2] / "build" / "pictures"
SCRIPT = NAMES[1]
CELL = 8  # pixels of a cell and of its edge, at least, that no letter and no pattern covers
LIGHT_OR_DARK = [
    pytest.param(look.LIGHT, "light", "--blink-settings=preferredColorScheme=1", id="light"),
    pytest.param(look.DARK, "dark", "--blink-settings=preferredColorScheme=0", id="dark"),
]

Written = Callable[..., str]


def hits(found: Page, tag: str) -> int:
    return sum("hit" in str(one.get("class")).split() for one in found.of(tag))


def title(found: Page) -> str:
    return "".join(found.texts["title"])


def test_names_do_nothing(chromium: Any, page: Written) -> None:
    """What a browser makes of the page: its one script, no element of a name, the title as it was written."""
    text = html.text(everything(), MADE)
    written, found = Page(text), Page(chromium.dom(page(text)))
    assert title(found) == title(written) == f"SR-IOV of pool lab {SCRIPT}"
    # a browser adds what may be left out: nothing is left out
    assert [tag for tag, _attributes in found.tags] == [tag for tag, _attributes in written.tags]
    assert found.of("input")[0].get("disabled", "is not there") == "is not there"  # the script ran


def test_policy_stops_what_escaping_would_let_through(chromium: Any, page: Written) -> None:
    """The second line of defence, on a page that has lost the first. Without the policy the script runs."""
    torn = html.text(everything(), MADE).replace(escaping.escape(SCRIPT), SCRIPT + NAMES[2])
    torn = re.sub("<title>.*</title>", "<title>a pool</title>", torn)
    without = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", torn)
    assert "<title>owned</title>" in chromium.dom(page(without))
    assert "<title>a pool</title>" in chromium.dom(page(torn))


@pytest.mark.parametrize(
    ("typed", "said", "cells", "rows"),
    [
        ("WEB", "1 VM, 1 VF", 1, 1),
        (SCRIPT, "2 VMs, 3 VFs", 3, 3),
        ("00000005-0000", "1 VM, 1 VF", 1, 1),  # a UUID
        ("02:00:00:00:00:09", "1 VM, 1 VF", 1, 1),  # a MAC
        ("archive", "1 VM, 0 VFs", 0, 0),  # on a host that did not answer
        ("no such VM", "0 VMs, 0 VFs", 0, 0),
    ],
)
def test_search(chromium: Any, page: Written, typed: str, said: str, cells: int, rows: int) -> None:
    found = Page(chromium.dom(page(html.text(everything(), MADE)) + f"#q={quote(typed)}"))
    assert found.texts["output"] == [said]
    assert (hits(found, "i"), hits(found, "tr")) == (cells, rows)
    assert found.of("body")[0]["class"] == "finding"


def test_address_that_no_search_wrote(chromium: Any, page: Written) -> None:
    found = Page(chromium.dom(page(html.text(everything(), MADE)) + "#q=%E0%A4%A"))
    assert found.texts["output"] == ["0 VMs, 0 VFs"]


@pytest.mark.parametrize(("palette", "name", "option"), LIGHT_OR_DARK)
@pytest.mark.parametrize("kind", ["html", "svg"])
def test_every_state_is_seen(
    chromium: Any, page: Written, kind: str, palette: look.Palette, name: str, option: str
) -> None:
    whole = everything()
    SHOWN.mkdir(parents=True, exist_ok=True)
    text = (html if kind == "html" else svg).text(whole, MADE)
    address, file = page(text, f"pool.{kind}"), SHOWN / f"map-{kind}-{name}.png"
    seen = png_colours.colours(chromium.screenshot(address, file, option))
    assert seen[rgb(palette.page)] > 10_000
    assert seen[rgb(palette.card)] > 50_000
    counts = model.counts(whole.ports)
    for state, paint in palette.states.items():
        assert seen[rgb(paint.fill)] > CELL * counts[state], look.LOOKS[state].words
        assert seen[rgb(paint.edge)] > CELL * counts[state], look.LOOKS[state].words


def rgb(colour: str) -> png_colours.Colour:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return red, green, blue
