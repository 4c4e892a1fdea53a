"""The picture as text: a letter a VF, in eights; hosts, ports and VMs around them. It fits 60 columns."""

from itertools import groupby
from typing import Callable, Dict, Iterator, List, Optional, Sequence

from sriovlib.safetext import plural

from ..shown import sentence
from . import look, model
from .look import LOOKS, columns, cut, shown
from .model import Conflict, Failure, Host, Picture, Port, Vf, Vm

Paint = Callable[[str, str], str]
NARROWEST = 40
_LABEL = 8  # columns before the letters: the index of a row's first VF
# SGR: the 16 colours that every theme of a terminal has, black or white on them.
_CELLS: Dict[Optional[str], str] = {
    model.IN_USE: "97;44",
    model.ASSIGNED: "30;46",
    model.DOM0: "30;43",
    model.RESERVED: "97;45",
    model.FREE: "32",
    None: "97;100",
}
_WORDS = {"head": "1", "dim": "2", "warn": "33", "bad": "31"}


def text(picture: Picture, width: int, colour: bool) -> str:
    """All of it, with its line breaks."""
    paint = _coloured if colour else _plain
    lines = list(_lines(picture, max(width, NARROWEST), paint))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _plain(words: str, _style: str) -> str:
    return words


def _coloured(words: str, style: str) -> str:
    return f"\x1b[{_WORDS.get(style, style)}m{words}\x1b[0m" if words else words


def _lines(picture: Picture, width: int, paint: Paint) -> Iterator[str]:
    yield paint(cut(f"Pool {shown(picture.pool)}", width), "head")
    yield cut(look.total(picture), width)
    yield from _legend(picture, width, paint)
    for host in picture.hosts:
        yield ""
        yield from _host(host, width, paint)
    if picture.elsewhere:
        yield ""
        yield paint(look.ELSEWHERE, "head")
        yield from _vms(picture.elsewhere, width, paint)
    if picture.error:
        yield ""
        yield from _failure(picture.error, width, paint, "")
    conflicts = sum(len(host.conflicts) for host in picture.hosts) + len(picture.conflicts)
    if conflicts:
        yield ""
        yield paint(f"{plural(conflicts, 'conflict')}: see `sriovctl conflicts`", "warn")


def _legend(picture: Picture, width: int, paint: Paint) -> Iterator[str]:
    counts = model.counts(picture.ports)
    line, used = "", 0
    for state in model.STATES:
        one = LOOKS[state]
        words = f" {one.words} {counts[state]}"
        if used and used + 3 + len(words) > width:
            yield line
            line, used = "", 0
        line += ("  " if used else "") + paint(one.letter, _CELLS[state]) + words
        used += (2 if used else 0) + 1 + len(words)
    yield line


def _host(host: Host, width: int, paint: Paint) -> Iterator[str]:
    tags = "".join(f"  {tag}" for tag in look.tags(host))
    yield paint(cut(shown(host.host), width - len(tags)), "head") + paint(tags, "dim")
    if host.error:
        yield from _failure(host.error, width, paint, "  ")
    elif not host.nodes:
        yield paint("  no SR-IOV capable port", "dim")
    for node in host.nodes:
        if look.has_nodes(host):
            yield paint(f"  {look.node(node)}", "dim")
        for port in node.ports:
            yield from _port(port, width, paint, "    " if look.has_nodes(host) else "  ")
    if host.vms:
        yield paint("  VMs", "dim")
        yield from _vms(host.vms, width, paint)
    for conflict in host.conflicts:
        yield from _conflict(conflict, width, paint)


def _port(port: Port, width: int, paint: Paint, indent: str) -> Iterator[str]:
    name, facts = shown(port.name), "; ".join(filter(None, [look.vfs(port), ", ".join(look.facts(port))]))
    room = width - len(indent)
    if columns(name) + 2 + columns(facts) <= room:
        yield f"{indent}{paint(name, 'head')}  {facts}"
    else:
        yield indent + paint(cut(name, room), "head")
        yield from (f"{indent}  {line}" for line in look.wrapped(facts, room - 2))
    for row in _rows(model.groups(port), width):
        (first, _vfs), *_rest = row
        label = "" if first is None else str(first)
        yield paint(f"{label:>{_LABEL - 1}} ", "dim") + " ".join(_eight(vfs, paint) for _index, vfs in row)


def _rows(groups: List[model.Eight], width: int) -> Iterator[List[model.Eight]]:
    fit = max((width - _LABEL + 1) // (model.GROUP + 1), 1)
    in_row = max(number for number in (1, 2, 4, 8, 16) if number <= fit)
    return (groups[start : start + in_row] for start in range(0, len(groups), in_row))


def _eight(vfs: Sequence[Vf], paint: Paint) -> str:
    runs = ((state, len(list(run))) for state, run in groupby(vf.state for vf in vfs))
    return "".join(paint(LOOKS[state].letter * length, _CELLS[state]) for state, length in runs)


def _vms(vms: Sequence[Vm], width: int, paint: Paint) -> Iterator[str]:
    """Name, power state and VFs in columns; VFs beyond the line below one another."""
    name_width = min(max(columns(shown(vm.vm_name)) for vm in vms), (width - 4) // 3)
    power_width = min(max(len(look.power(vm)) for vm in vms), 10)
    indent = 4 + name_width + 2 + power_width + 2
    for vm in vms:
        name, power = cut(shown(vm.vm_name), name_width), cut(look.power(vm), power_width)
        start = f"    {name}{' ' * (name_width - columns(name))}  {power:<{power_width}}  "
        said = ", ".join(filter(None, [", ".join(map(shown, vm.vfs)), look.without(vm)])) or "-"
        for line in look.wrapped(said, max(width - indent, 12)):
            yield start + (paint(line, "warn") if vm.missing else line)
            start = " " * indent


def _failure(failure: Failure, width: int, paint: Paint, indent: str) -> Iterator[str]:
    yield from (paint(line, "bad") for line in _wrapped(failure.message, width, indent))
    yield from _wrapped(failure.hint, width, f"{indent}  ")


def _conflict(conflict: Conflict, width: int, paint: Paint) -> Iterator[str]:
    for line in _wrapped(f"{conflict.code}: {conflict.message}", width, "  "):
        yield paint(line, "warn")


def _wrapped(words: str, width: int, indent: str) -> Iterator[str]:
    return (indent + line for line in look.wrapped(sentence(words), width - len(indent)))
