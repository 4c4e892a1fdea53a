"""The picture in the terminal, as HTML and as SVG: complete, readable without colours, and whatever somebody
calls a VM is text and nothing else."""

import base64
import hashlib
import re
import time
import xml.etree.ElementTree as ElementTree
from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parsed_page import Page
from pictured_pool import NAMES, assignments, big, everything, host, owner, pf, vf
from sriovctl.picture import html, look, model, page, svg, terminal
from sriovctl.picture.model import Picture

MADE = "Drawn on 2026-11-29 at 06:30 UTC by sriovctl 0.1.0."
SGR = re.compile("\x1b\\[[0-9;]*m")
SVG = "{http://www.w3.org/2000/svg}"


TAGS = set(
    "html head meta title style body header h1 h2 h3 h4 p bdi div ul li i b input output main section span "
    "details summary button table caption thead tbody tr th td script".split()
)


def named(name: str) -> Picture:
    """A pool where everything that people name has this name."""
    vms = [vf(1, 0, "in-use", assigned_to=owner(1, name))]
    failure = model.Failure("X", f"Host {name} is offline.", name)
    conflict = {"code": "X", "message": name, "hint": name, "host_uuid": "h1", "address": "0000:01:10.0"}
    vm = {**owner(2, name), "host_uuid": None, "requests": [{"vf": None}]}
    one = host(1, [pf(1)], vms, name=name)
    two = host(2, None, None, name=name, failure=failure)
    return model.picture(
        name, [one, two], assignments(one, two, vms=[vm], conflicts=[conflict]), {"net1": name}, failure
    )


def harmless_html(text: str) -> Page:
    found = Page(text.encode().decode())  # it has to be written
    assert found.open == []
    assert {tag for tag, _attributes in found.tags} <= TAGS
    assert {name[:2] for _tag, attributes in found.tags for name in attributes} & {
        "on",
        "sr",
        "hr",
        "st",
    } == set()
    assert found.texts["script"] == [page.SCRIPT]
    assert found.texts["style"] == [page.STYLE]
    return found


def harmless_svg(text: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text.encode())
    tags = {element.tag.replace(SVG, "") for element in root.iter()}
    assert tags <= {"svg", "title", "style", "defs", "g", "rect", "path", "text", "use"}
    attributes = [item for element in root.iter() for item in element.attrib.items()]
    assert all(value.startswith("#") for name, value in attributes if name.endswith("href"))
    assert not [name for name, _value in attributes if name.startswith("on")]
    return root


def harmless_text(text: str, width: int) -> None:
    plain = SGR.sub("", text)
    assert all(letter.isprintable() or letter in "\n\ufffd\u200d" for letter in plain), ascii(plain)
    assert max(look.columns(line) for line in plain.splitlines()) <= width


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names_that_mean_harm(name: str) -> None:
    picture = named(name)
    found = harmless_html(html.text(picture, MADE))
    shown = look.shown(name) or owner(1, "")["vm_uuid"]
    assert shown in found.texts["bdi"]  # the whole name, as text
    harmless_svg(svg.text(picture, MADE))
    harmless_text(terminal.text(picture, 60, colour=True), 60)


@given(st.text(max_size=300))
def test_any_name(name: str) -> None:
    picture = named(name)
    harmless_html(html.text(picture, MADE))
    harmless_svg(svg.text(picture, MADE))
    for letter in terminal.text(picture, 60, colour=False):
        assert letter == "\n" or not re.match(
            "[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", letter
        )


# -- colours -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("palette", [look.LIGHT, look.DARK], ids=["light", "dark"])
def test_colours_can_be_read(palette: look.Palette) -> None:
    """Text has the contrast that WCAG 2 asks for (AA: 4.5), letters on their cells too."""
    pairs = [
        (text, ground) for text in palette[2:4] + palette[5:7] for ground in (palette.page, palette.card)
    ]
    pairs += [(paint.letter, paint.fill) for paint in palette.states.values()]
    assert {pair for pair in pairs if contrast(*pair) < 4.5} == set()


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# -- terminal ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 132])
def test_terminal_keeps_to_its_width(width: int) -> None:
    harmless_text(terminal.text(everything(), width, colour=False), width)
    harmless_text(terminal.text(big(2), width, colour=False), width)


@pytest.mark.parametrize(
    ("text", "columns"),
    [("web", 3), ("\u4eee\u60f3", 4), ("\U0001f600", 2), ("e\u0301", 1), ("a\u200db", 2)],
    ids=["ascii", "japanese", "emoji", "combining", "joiner"],
)
def test_columns_that_a_text_takes(text: str, columns: int) -> None:
    assert look.columns(text) == columns
    assert look.cut(text * 9, columns * 9) == text * 9
    assert look.columns(look.cut(text * 9, 5)) <= 5


def test_terminal_says_the_same_without_colours() -> None:
    coloured = terminal.text(everything(), 80, colour=True)
    assert "\x1b[" in coloured
    assert SGR.sub("", coloured) == terminal.text(everything(), 80, colour=False)


def test_terminal_draws_a_letter_a_vf() -> None:
    states = ["in-use", "assigned", "dom0", "reserved", None, "free", "free", "free"]
    one = host(1, [pf(1)], [vf(1, index, states[index % 8]) for index in range(40)])
    lines = terminal.text(model.picture("lab", [one], None, {}), 60, colour=False).splitlines()
    assert lines[2:4] == [
        "U in use 5  A assigned 5  D dom0 5  R reserved 5  . free 15",
        "? unknown 5",
    ]
    assert lines[-2:] == ["      0 UADR?... UADR?... UADR?... UADR?...", "     32 UADR?..."]


def test_terminal_says_what_is_not_there() -> None:
    text = terminal.text(everything(), 80, colour=False)
    for said in (
        "  no SR-IOV capable port",
        "  Host rack-7 <b>&\"' is offline.",
        "    eth3  no VFs, 63 possible; link down",
        "1 VF missing",
        look.ELSEWHERE,
        "2 conflicts: see `sriovctl conflicts`",
    ):
        assert said in text


# -- HTML ----------------------------------------------------------------------------------------------------


def test_html_runs_and_loads_nothing_else() -> None:
    """The policy allows the page's own style and script by their hashes; a browser applies it to the rest."""
    found = harmless_html(html.text(everything(), MADE))
    policy = next(
        one["content"] for one in found.of("meta") if one.get("http-equiv") == "Content-Security-Policy"
    )
    hashes = [
        base64.b64encode(hashlib.sha256(found.texts[tag][0].encode()).digest()).decode()
        for tag in ("style", "script")
    ]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert "url(" not in page.STYLE
    assert "innerHTML" not in page.SCRIPT


def test_html_has_a_cell_a_vf_and_a_row_for_each_that_is_not_free() -> None:
    whole = everything()
    found = harmless_html(html.text(whole, MADE))
    counts = model.counts(whole.ports)
    cells = [str(one["class"]).split()[0] for one in found.of("i")]
    for state in model.STATES:
        assert cells.count(look.LOOKS[state].css) == counts[state] + 1  # the legend's
    rows = found.of("tr")
    assert len(rows) == 2 + len(whole.ports) + sum(counts.values()) - counts[model.FREE]
    assert {one["scope"] for one in found.of("th")} == {"col", "row"}


def test_html_finds_a_vm_by_name_uuid_and_mac() -> None:
    """What the script searches is in the page; each VM's number is on its cells, its line and its rows."""
    found = harmless_html(html.text(everything(), MADE))
    (line,) = [one for one in found.of("li") if one.get("data-uuid") == owner(0, "")["vm_uuid"]]
    assert line["data-find"] == f"{owner(0, '')['vm_uuid']} 02:00:00:00:00:00"
    number = line["data-v"]
    assert [one["title"] for one in found.of("i") if one.get("data-v") == number] == ["eth1:0 assigned: web"]
    assert len([one for one in found.of("tr") if one.get("data-v") == number]) == 1


def test_many_vms_are_folded() -> None:
    assert {"data-folded": ""} in harmless_html(html.text(big(1), MADE)).of("details")
    assert {"open": None} in harmless_html(html.text(everything(), MADE)).of("details")


# -- SVG -----------------------------------------------------------------------------------------------------


def test_svg_has_a_cell_a_vf() -> None:
    whole = everything()
    root = harmless_svg(svg.text(whole, MADE))
    used = [element.get("href") for element in root.iter(f"{SVG}use")]
    counts = model.counts(whole.ports)
    for state in model.STATES:
        assert used.count(f"#{look.LOOKS[state].css}") == counts[state] + 1  # the legend's
    titles = [element.text for element in root.iter(f"{SVG}title")]
    assert "eth1:1 in use: <script>document.title='owned'</script>, LEASE_TWICE" in titles


def test_svg_puts_nothing_beyond_its_edges_or_over_another_card() -> None:
    for whole in (everything(), big(3), named("W" * 300)):
        root = harmless_svg(svg.text(whole, MADE))
        height = int(root.get("height") or 0)
        ends = {svg.MARGIN: 0.0, svg.MARGIN + svg.CARD + svg.GAP: 0.0}
        for card in root.findall(f"{SVG}g"):
            left, top = map(float, str(card.get("transform"))[len("translate(") : -1].split())
            (frame,) = card.findall(f"{SVG}rect[@rx='8']")
            inner = float(frame.get("height") or 0)
            assert ends[int(left)] < top
            ends[int(left)] = top + inner
            assert top + inner <= height
            for element in card.iter():
                assert float(element.get("y") or 0) <= inner
                assert float(element.get("x") or 0) <= svg.CARD


# -- size ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw",
    [
        lambda whole: terminal.text(whole, 80, colour=True),
        lambda whole: html.text(whole, MADE),
        lambda whole: svg.text(whole, MADE),
    ],
    ids=["terminal", "html", "svg"],
)
def test_64_hosts_with_126_vfs_a_port(draw: Callable[[Picture], Any]) -> None:
    """A picture of 16,128 VFs takes less than a second of one core, with room for one that is slower."""
    begun = time.process_time()
    text = draw(big())
    assert time.process_time() - begun < 3
    assert len(text) < 6_000_000
