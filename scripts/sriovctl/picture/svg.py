"""The picture as SVG: the hosts as cards in two columns, everything in fixed places, as SVG wraps nothing.

It has no script and loads nothing. It is light or dark as the reader has chosen, where the viewer knows that.
"""

import html
from typing import Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from sriovlib.safetext import plural

from ..shown import sentence
from . import look, model
from .look import DARK, LIGHT, LOOKS, Palette, shown
from .model import Host, Picture, Port, Vf, Vm

MARGIN = 24
CARD = 560
GAP = 16
PADDING = 16
CELL, PITCH, LABEL = 13, 14, 20  # of cells in eights, with the index before each eight
IN_ROW = 4  # eights
LINE = 18
BOLD = 1.12  # how much wider than plain letters
_INNER = CARD - 2 * PADDING
WIDTH = 2 * MARGIN + 2 * CARD + GAP


class Card(NamedTuple):
    """What is drawn of a host, from its upper left corner on."""

    height: int
    parts: List[str]


def text(picture: Picture, made: str) -> str:
    """The whole file. `made` says when and by what."""
    cards = [_host(host) for host in picture.hosts] + list(_elsewhere(picture))
    body, bottom = _placed(cards, top=112)
    title = f"Pool {shown(picture.pool)}"
    height = bottom + MARGIN
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" role="img" aria-labelledby="title">\n',
            f'<title id="title">SR-IOV of {html.escape(title)}: {look.total(picture)}</title>\n',
            f"<style>{_style()}</style>\n<defs>{''.join(_definitions())}</defs>\n",
            f'<rect class="page" width="{WIDTH}" height="{height}"/>\n',
            _text(MARGIN, 42, title, "t h", 22, WIDTH - 2 * MARGIN),
            _text(MARGIN, 64, f"{look.total(picture)}. {sentence(made)}", "d", 13, WIDTH - 2 * MARGIN),
            *_legend(picture, 80),
            *body,
            "</svg>\n",
        ]
    )


def _placed(cards: Sequence[Card], top: int) -> Tuple[List[str], int]:
    """Each card in the column that ends higher, and where the longer column ends."""
    ends = [top, top]
    parts: List[str] = []
    for card in cards:
        column = ends.index(min(ends))
        x, y = MARGIN + column * (CARD + GAP), ends[column]
        parts.append(f'<g transform="translate({x} {y})">\n')
        parts.append(f'<rect class="card" width="{CARD}" height="{card.height}" rx="8"/>\n')
        parts.extend(card.parts)
        parts.append("</g>\n")
        ends[column] += card.height + GAP
    return parts, max(ends) - GAP


# -- style ---------------------------------------------------------------------------------------------------


def _style() -> str:
    return (
        "text{font-family:system-ui,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',sans-serif;"
        "unicode-bidi:isolate}.h,.b{font-weight:600}"
        ".l{font:700 9px ui-monospace,'DejaVu Sans Mono',monospace;text-anchor:middle;paint-order:stroke;"
        "stroke-width:2.5px;stroke-linejoin:round}.i{font-size:9px;text-anchor:end}.e{text-anchor:end}"
        ".against{fill:none;stroke-width:2px}\n"
        + _colours(LIGHT)
        + f"@media(prefers-color-scheme:dark){{{_colours(DARK)}}}\n"
    )


def _colours(palette: Palette) -> str:
    rules = [
        f".page{{fill:{palette.page}}}",
        f".card{{fill:{palette.card};stroke:{palette.line}}}",
        f".t{{fill:{palette.text}}}",
        f".d,.i{{fill:{palette.dim}}}",
        f".a{{fill:{palette.alarm}}}",
        f".against{{stroke:{palette.alarm}}}",
    ]
    for state in model.STATES:
        css, paint = LOOKS[state].css, palette.states[state]
        rules.append(f".{css}{{fill:{paint.fill};stroke:{paint.edge}}}")
        rules.append(f".{css}-p{{fill:none;stroke:{paint.pattern}}}")
        rules.append(f".{css}-l{{fill:{paint.letter};stroke:{paint.fill}}}")
    return "".join(rules)


# Drawn on a cell, 13 wide: stripes, dots and bars, each of its own kind.
_PATTERNS = {
    "assigned": '<path d="M1 5 5 1M1 10 10 1M4 12 12 4M9 12 12 9" stroke-width="1.6"/>',
    "dom0": '<path d="M2.5 3h.1m3.9 0h.1m3.9 0h.1m-8 3.5h.1m7.9 0h.1m-8.1 3.5h.1m3.9 0h.1m3.9 0h.1" '
    'stroke-width="2" stroke-linecap="round"/>',
    "reserved": '<path d="M3 1v11M6.5 1v11M10 1v11" stroke-width="1.6"/>',
}


def _definitions() -> Iterator[str]:
    """A cell of each state, used wherever there is one."""
    for state in model.STATES:
        one = LOOKS[state]
        dashes = ' stroke-dasharray="2 1.5"' if state is None else ""
        letter = (
            "" if state == model.FREE else f'<text class="l {one.css}-l" x="6.5" y="9.8">{one.letter}</text>'
        )
        pattern = f'<g class="{one.css}-p">{_PATTERNS[one.css]}</g>' if one.css in _PATTERNS else ""
        yield (
            f'<g id="{one.css}"><rect class="{one.css}" x=".5" y=".5" width="12" height="12" rx="2.5"'
            f"{dashes}/>{pattern}{letter}</g>"
        )


# -- parts ---------------------------------------------------------------------------------------------------


def _letter(letter: str) -> float:
    """About how wide it is, in font sizes: a little more than in most fonts without serifs."""
    if letter in "ijl.,:;'|!()[] ":
        return 0.36
    if letter in 'ftr-/"':
        return 0.44
    if letter in "mwMW@%_":
        return 0.98
    if "A" <= letter <= "Z":
        return 0.72
    return 0.64 if " " <= letter <= "~" else 1.0 * look.column(letter)


def _width(words: str, size: float) -> float:
    return sum(map(_letter, words)) * size


def _text(x: float, y: float, words: str, css: str, size: int, room: float) -> str:
    """One line, cut where the room ends."""
    scale = size * (BOLD if css in ("t b", "d b", "t h") else 1)
    words = look.cut(words, room / scale, _letter)
    return f'<text class="{css}" x="{x:g}" y="{y:g}" font-size="{size}">{html.escape(words)}</text>\n'


def _legend(picture: Picture, y: int) -> Iterator[str]:
    counts = model.counts(picture.ports)
    x: float = MARGIN
    for state in model.STATES:
        words = f"{LOOKS[state].words} {counts[state]}"
        yield f'<use href="#{LOOKS[state].css}" x="{x:g}" y="{y}"/>'
        yield _text(x + CELL + 6, y + 11, words, "t", 13, 200)
        x += CELL + 6 + _width(words, 13) + 14


def _host(host: Host) -> Card:
    parts: List[str] = []
    counts = model.counts(host.ports)
    free = (
        f"{counts[model.FREE]} of {plural(sum(counts.values()), 'VF')} free"
        if host.ports and not counts[None]
        else ""
    )
    parts.append(_text(CARD - PADDING, 28, free, "d e", 13, _INNER))
    tags = ", ".join(look.tags(host))
    name = look.cut(shown(host.host), (_INNER - _width(free + tags, 13) - 2 * GAP) / (16 * BOLD), _letter)
    parts.append(_text(PADDING, 28, name, "t h", 16, _INNER))
    parts.append(_text(PADDING + _width(name, 16 * BOLD) + 6, 28, tags, "d", 13, _INNER))
    y = 36
    if host.error:
        y = _sentences(parts, y, host.error.message, "a")
        y = _sentences(parts, y, host.error.hint, "d")
    elif not host.nodes:
        y = _sentences(parts, y, "no SR-IOV capable port", "d")
    names = look.vm_names(host)
    for node in host.nodes:
        if look.has_nodes(host):
            y += LINE + 4
            parts.append(_text(PADDING, y, look.node(node), "d b", 12, _INNER))
        for port in node.ports:
            y = _port(parts, y, port, names)
    y = _vms(parts, y, "VMs", host.vms)
    for conflict in host.conflicts:
        y = _sentences(parts, y, f"{conflict.code}: {conflict.message}", "a")
    return Card(y + PADDING, parts)


def _sentences(parts: List[str], y: int, words: str, css: str) -> int:
    for line in look.wrapped(sentence(words), _INNER / 12, _letter):
        y += LINE
        parts.append(_text(PADDING, y, line, css, 12, _INNER))
    return y


def _port(parts: List[str], y: int, port: Port, names: Dict[str, str]) -> int:
    y += LINE + 4
    name = look.cut(shown(port.name), _INNER / 3 / 14, _letter)
    start = PADDING + _width(name, 14 * BOLD) + 6
    facts = "; ".join(filter(None, [look.vfs(port), ", ".join(look.facts(port))]))
    parts.append(_text(PADDING, y, name, "t b", 14, _INNER))
    for number, line in enumerate(look.wrapped(facts, (CARD - PADDING - start) / 12, _letter)):
        y += LINE if number else 0
        parts.append(_text(start, y, line, "d", 12, _INNER))
    y += 7
    eights = model.groups(port)
    for begin in range(0, len(eights), IN_ROW):
        x = PADDING
        for first, vfs in eights[begin : begin + IN_ROW]:
            if first is not None:
                parts.append(f'<text class="i" x="{x + LABEL - 4}" y="{y + 10}">{first}</text>')
            parts.extend(_cells(vfs, names, x + LABEL, y))
            x += LABEL + model.GROUP * PITCH
        parts.append("\n")
        y += PITCH + 2
    return y


def _cells(vfs: Iterable[Vf], names: Dict[str, str], x: int, y: int) -> Iterator[str]:
    for vf in vfs:
        title = html.escape(look.cell(vf, names))
        yield f'<use href="#{LOOKS[vf.state].css}" x="{x}" y="{y}"><title>{title}</title></use>'
        if vf.conflicts:
            yield f'<rect class="against" x="{x - 1}" y="{y - 1}" width="15" height="15" rx="3"/>'
        x += PITCH


def _vms(parts: List[str], y: int, title: str, vms: Sequence[Vm]) -> int:
    """Name and VFs of two VMs a line."""
    if not vms:
        return y
    y += LINE + 6
    parts.append(_text(PADDING, y, title, "d b", 12, _INNER))
    room = (_INNER - GAP) / 2
    for number, vm in enumerate(vms):
        x = PADDING + (number % 2) * (room + GAP)
        y += LINE if number % 2 == 0 else 0
        has = " ".join(filter(None, [look.power(vm), look.without(vm), *map(shown, vm.vfs)]))
        has = look.cut(has, room * 0.65 / 12, _letter)
        parts.append(_text(x, y, shown(vm.vm_name), "t b", 12, room - _width(has, 12) - 8))
        parts.append(_text(x + room, y, has, "a e" if vm.missing else "d e", 12, room))
    return y


def _elsewhere(picture: Picture) -> Iterator[Card]:
    if not (picture.elsewhere or picture.conflicts or picture.error):
        return
    parts = [_text(PADDING, 28, "The pool", "t h", 16, _INNER)]
    y = 36
    if picture.error:
        y = _sentences(parts, y, picture.error.message, "a")
        y = _sentences(parts, y, picture.error.hint, "d")
    y = _vms(parts, y, look.ELSEWHERE, picture.elsewhere)
    for conflict in picture.conflicts:
        y = _sentences(parts, y, f"{conflict.code}: {conflict.message}", "a")
    yield Card(y + PADDING, parts)
