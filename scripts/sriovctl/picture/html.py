"""The picture as one HTML file: hosts as cards, VFs as cells, a search, and the same as tables.

It loads nothing and lets nothing run but its own script: the names in it are escaped, and a policy in the
page (Content-Security-Policy) allows style and script by their hashes only.
"""

import base64
import hashlib
import html
from typing import Dict, Iterator, List, Sequence

from sriovlib.safetext import plural

from ..shown import sentence
from . import look, model, page
from .look import LOOKS, shown
from .model import Conflict, Failure, Host, Picture, Port, Vf, Vm

UNFOLDED = 16  # VMs of a host


def text(picture: Picture, made: str) -> str:
    """The whole file. `made` says when and by what."""
    numbers = {vm.vm_uuid: str(number) for number, vm in enumerate(picture.vms)}
    parts: List[str] = []
    parts.extend(_head(picture, made))
    parts.append('<main><div class="hosts">\n')
    for host in picture.hosts:
        parts.extend(_host(host, numbers))
    parts.extend(_elsewhere(picture, numbers))
    parts.append("</div>\n")
    parts.extend(_tables(picture, numbers))
    parts.append(f"</main>\n<script>{page.SCRIPT}</script>\n</body>\n</html>\n")
    return "".join(parts)


def _escaped(name: str) -> str:
    return html.escape(shown(name))


def _isolated(name: str) -> str:
    """So that a name that is written from right to left turns nothing else."""
    return f"<bdi>{_escaped(name)}</bdi>"


def _sentence(words: str) -> str:
    return html.escape(sentence(words))


def _hash(content: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() + "'"


POLICY = (
    f"default-src 'none'; style-src {_hash(page.STYLE)}; script-src {_hash(page.SCRIPT)}; "
    "base-uri 'none'; form-action 'none'"
)


def _head(picture: Picture, made: str) -> Iterator[str]:
    counts = model.counts(picture.ports)
    yield f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>SR-IOV of pool {_escaped(picture.pool)}</title>
<style>{page.STYLE}</style>
</head>
<body>
<header>
<h1>Pool {_isolated(picture.pool)}</h1>
<p class="dim">{look.total(picture)}. {_sentence(made)}</p>
</header>
<div class="bar">
<ul class="legend" aria-label="VFs by state">
"""
    for state in model.STATES:
        one = LOOKS[state]
        yield f'<li title="{one.meaning}">{_cell_of(one.css)}{one.words} <b>{counts[state]}</b></li>\n'
    yield """</ul>
<div class="find" role="search">
<output id="found" for="q"></output>
<input id="q" type="search" disabled autocomplete="off" spellcheck="false" aria-label="Find a VM"
placeholder="Find a VM: name, UUID, MAC">
</div>
</div>
"""


def _cell_of(css: str, attributes: str = "") -> str:
    return f'<i class="{css}"{attributes} aria-hidden="true">{_LETTERS[css]}</i>'


# A free VF is an empty cell: where there are many it is the others that one looks for.
_LETTERS = {one.css: "" if state == model.FREE else one.letter for state, one in LOOKS.items()}


# -- cards ---------------------------------------------------------------------------------------------------


def _host(host: Host, numbers: Dict[str, str]) -> Iterator[str]:
    counts = model.counts(host.ports)
    free = (
        f"{counts[model.FREE]} of {plural(sum(counts.values()), 'VF')} free"
        if host.ports and not counts[None]
        else ""
    )
    tags = "".join(f'<span class="tag">{tag}</span>' for tag in look.tags(host))
    yield (
        f'<section class="host"><div class="head"><h2>{_isolated(host.host)}</h2>{tags}'
        f'<p class="dim">{free}</p></div>\n'
    )
    if host.error:
        yield from _failure(host.error)
    elif not host.nodes:
        yield '<p class="dim">no SR-IOV capable port</p>\n'
    names = {uuid: html.escape(name) for uuid, name in look.vm_names(host).items()}
    for node in host.nodes:
        if look.has_nodes(host):
            yield f"<h3>{look.node(node)}</h3>\n"
        for port in node.ports:
            yield from _port(port, names, numbers)
    if host.vms:
        yield from _vms("VMs", host.vms, numbers, host.ports)
    for conflict in host.conflicts:
        yield from _conflict(conflict)
    yield "</section>\n"


def _port(port: Port, names: Dict[str, str], numbers: Dict[str, str]) -> Iterator[str]:
    said = "; ".join(filter(None, [look.vfs(port), ", ".join(look.facts(port))]))
    title = _escaped(port.description or port.address)
    yield (
        f'<div class="port"><h4 title="{title}">{_isolated(port.name)}</h4> <p>{html.escape(said)}</p>'
        '<div class="vfs" aria-hidden="true">'
    )
    for first, vfs in model.groups(port):
        yield f'<span data-i="{"" if first is None else first}">'
        for vf in vfs:
            yield _cell(vf, names, numbers)
        yield "</span>"
    yield "</div></div>\n"


def _cell(vf: Vf, names: Dict[str, str], numbers: Dict[str, str]) -> str:
    css = LOOKS[vf.state].css
    title = html.escape(look.cell(vf._replace(vm_uuid=None), {}))
    if vf.vm_uuid:
        title += f": {names.get(vf.vm_uuid, '?')}"
    owner = f' data-v="{numbers[vf.vm_uuid]}"' if vf.vm_uuid in numbers else ""
    against = " against" if vf.conflicts else ""
    return f'<i class="{css}{against}" title="{title}"{owner}>{_LETTERS[css]}</i>'


def _vms(title: str, vms: Sequence[Vm], numbers: Dict[str, str], ports: Sequence[Port]) -> Iterator[str]:
    """A line a VM; many are folded, so that the cells of several hosts fit on a screen. What a VM can be
    found by besides its name stands in its attributes."""
    macs: Dict[str, List[str]] = {}
    for port in ports:
        for vf in port.vfs or ():
            if vf.vm_uuid:
                macs.setdefault(vf.vm_uuid, []).append(look.mac(vf))
    folded = "" if len(vms) <= UNFOLDED else ' data-folded=""'
    yield f'<details{folded or " open"}><summary>{title} <span>{len(vms)}</span></summary><ul class="vms">\n'
    for vm in vms:
        name, uuid = _escaped(vm.vm_name), _escaped(vm.vm_uuid)
        has = html.escape(" ".join(map(shown, vm.vfs)))
        missing = f' <span class="missing">{look.without(vm)}</span>' if vm.missing else ""
        found_by = html.escape(" ".join([shown(vm.vm_uuid), *macs.get(vm.vm_uuid, [])]))
        yield (
            f'<li data-v="{numbers[vm.vm_uuid]}" data-uuid="{uuid}" data-find="{found_by}">'
            f'<button type="button" title="{name}"><bdi>{name}</bdi></button> '
            f'<span><span class="dim">{html.escape(look.power(vm))}</span> {has}{missing}</span></li>\n'
        )
    yield "</ul></details>\n"


def _elsewhere(picture: Picture, numbers: Dict[str, str]) -> Iterator[str]:
    if not (picture.elsewhere or picture.conflicts or picture.error):
        return
    yield '<section class="host"><div class="head"><h2>The pool</h2></div>\n'
    if picture.error:
        yield from _failure(picture.error)
    if picture.elsewhere:
        yield from _vms(look.ELSEWHERE, picture.elsewhere, numbers, ())
    for conflict in picture.conflicts:
        yield from _conflict(conflict)
    yield "</section>\n"


def _failure(failure: Failure) -> Iterator[str]:
    hint = f'<p class="dim">{_sentence(failure.hint)}</p>' if failure.hint else ""
    yield f'<div class="note"><p>{_sentence(failure.message)}</p>{hint}</div>\n'


def _conflict(conflict: Conflict) -> Iterator[str]:
    return _failure(Failure(conflict.code, f"{conflict.code}: {conflict.message}", conflict.hint))


# -- tables --------------------------------------------------------------------------------------------------


def _tables(picture: Picture, numbers: Dict[str, str]) -> Iterator[str]:
    yield '<section class="tables"><h2>The same as tables</h2>\n'
    states = [LOOKS[state].words for state in model.STATES]
    yield from _table_head(
        "Ports, with their VFs by state", ["Host", "Port", "Node", "Address", "Network"], numbers=states
    )
    for host in picture.hosts:
        for port in host.ports:
            counts = model.counts([port])
            node = "" if port.numa_node is None else str(port.numa_node)
            yield (
                f'<tr><th scope="row">{_isolated(host.host)}</th><td>{_isolated(port.name)}</td>'
                f"<td>{node}</td><td>{_escaped(port.address)}</td><td>{_isolated(port.network or '')}</td>"
                + "".join(f'<td class="n">{counts[state]}</td>' for state in model.STATES)
                + "</tr>\n"
            )
    yield "</tbody></table></div>\n"
    yield '<h2 id="taken">VFs that are not free</h2>\n'
    yield from _table_head(
        "One row a VF", ["Host", "VF", "Address", "State", "VM", "Power", "MAC", "VLAN", "Conflicts"]
    )
    for host in picture.hosts:
        yield from _taken(host, numbers)
    yield "</tbody></table></div></section>\n"


def _table_head(caption: str, columns: Sequence[str], numbers: Sequence[str] = ()) -> Iterator[str]:
    yield f'<div class="wide" tabindex="0"><table><caption>{caption}</caption><thead><tr>'
    yield from (f'<th scope="col">{column}</th>' for column in columns)
    yield from (f'<th scope="col" class="n">{column}</th>' for column in numbers)
    yield "</tr></thead><tbody>\n"


def _taken(host: Host, numbers: Dict[str, str]) -> Iterator[str]:
    its_name = _isolated(host.host)
    vms = {vm.vm_uuid: (_isolated(vm.vm_name), html.escape(look.power(vm))) for vm in host.vms}
    for port in host.ports:
        for vf in port.vfs or ():
            if vf.state == model.FREE and not vf.conflicts:
                continue
            vm, power = vms.get(vf.vm_uuid or "", ("", ""))
            owner = f' data-v="{numbers[vf.vm_uuid]}"' if vf.vm_uuid in numbers else ' data-v=""'
            cells = (
                _escaped(vf.name),
                _escaped(vf.address),
                LOOKS[vf.state].words,
                vm,
                power,
                html.escape(look.mac(vf)),
                "" if vf.vlan is None else str(vf.vlan),
                _escaped(", ".join(vf.conflicts)),
            )
            yield (
                f'<tr{owner}><th scope="row">{its_name}</th>'
                + "".join(f"<td>{one}</td>" for one in cells)
                + "</tr>\n"
            )
