"""How things look and are called in every picture: a letter, a word and colours for each state of a VF, and
names made harmless. Pictures are read without colours too, so each state has its letter and its pattern."""

import unicodedata
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional

from sriovlib.safetext import plural, shortened

from ..shown import sentence
from . import model
from .model import Host, Node, Picture, Port, Vf, Vm

ELSEWHERE = "VMs that want VFs and have none on any host"
LONGEST_NAME = 200
# What xapi calls a port's network until somebody names it (xen-api: helpers.ml, choose_network_name_for_pif).
_GIVEN_NAME = "Pool-wide network associated with {}"
_JOINER = "\u200d"

Measure = Callable[[str], float]


class Look(NamedTuple):
    """`css` names the state in style sheets."""

    css: str
    letter: str
    words: str
    meaning: str


LOOKS: Dict[Optional[str], Look] = {
    model.IN_USE: Look("use", "U", "in use", "a running VM has it"),
    model.ASSIGNED: Look("assigned", "A", "assigned", "it belongs to a VM that does not run"),
    model.DOM0: Look("dom0", "D", "dom0", "a driver of dom0 has it"),
    model.RESERVED: Look("reserved", "R", "reserved", "xapi's own SR-IOV or vGPUs have it"),
    model.FREE: Look("free", ".", "free", "nobody has it"),
    None: Look("unknown", "?", "unknown", "the host did not tell"),
}


class Paint(NamedTuple):
    """Colours of a state: what fills a cell, the pattern on it, its edge, and the letter."""

    fill: str
    pattern: str
    edge: str
    letter: str


class Palette(NamedTuple):
    page: str
    card: str
    text: str
    dim: str
    line: str
    accent: str
    alarm: str
    states: Mapping[Optional[str], Paint]


# The fills differ in lightness too, and the patterns (page.py, svg.py) in kind: in grey they stay apart.
LIGHT = Palette(
    page="#f4f5f7",
    card="#ffffff",
    text="#1b2430",
    dim="#5b6675",
    line="#d9dee5",
    accent="#0b57d0",
    alarm="#c5221f",
    states={
        model.IN_USE: Paint("#1f4fa3", "#1f4fa3", "#17407f", "#ffffff"),
        model.ASSIGNED: Paint("#d5e5fb", "#9dc1f2", "#5a8fd6", "#12356b"),
        model.DOM0: Paint("#fde9bd", "#e0a93b", "#b77f14", "#573a00"),
        model.RESERVED: Paint("#e7dcf8", "#bda3e6", "#8a63c9", "#3f1f78"),
        model.FREE: Paint("#ffffff", "#ffffff", "#9fb8a8", "#3c6b4f"),
        None: Paint("#eceef1", "#eceef1", "#7b8594", "#333d4a"),
    },
)
DARK = Palette(
    page="#12161c",
    card="#1a2029",
    text="#e4e8ee",
    dim="#9aa5b4",
    line="#303947",
    accent="#8ab4f8",
    alarm="#ff8a80",
    states={
        model.IN_USE: Paint("#6ea3f5", "#6ea3f5", "#9cc2ff", "#071a38"),
        model.ASSIGNED: Paint("#1d3557", "#36598c", "#5a86c4", "#dbe9ff"),
        model.DOM0: Paint("#4a3810", "#8a6a1f", "#c1963a", "#ffe7ad"),
        model.RESERVED: Paint("#382a55", "#614a92", "#9577cf", "#ecdfff"),
        model.FREE: Paint("#1a2029", "#1a2029", "#4f6b5b", "#9fcbb0"),
        None: Paint("#2a313c", "#2a313c", "#8b96a6", "#d5dbe4"),
    },
)


# -- names ---------------------------------------------------------------------------------------------------


def shown(text: str) -> str:
    """A name on one line."""
    return sentence(shortened(text, LONGEST_NAME)).replace("\t", " ")


def columns(text: str) -> int:
    """How many columns of a terminal the text takes, as East Asian letters and emoji take two."""
    return int(sum(map(column, text)))


def column(letter: str) -> float:
    if " " <= letter <= "~":
        return 1
    if letter == _JOINER or unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, most: float, width: Measure = column) -> str:
    """The text, no wider than that; `width` is a letter's."""
    if sum(map(width, text)) <= most:
        return text
    kept, room = "", most - width("\u2026")
    for letter in text:
        room -= width(letter)
        if room < 0:
            break
        kept += letter
    return f"{kept}\u2026"


def wrapped(text: str, most: float, width: Measure = column) -> List[str]:
    """The text in lines no wider than that."""
    lines: List[str] = []
    room = 0.0
    for word in text.split():
        its = sum(map(width, word))
        if lines and width(" ") + its <= room:
            lines[-1] += f" {word}"
            room -= width(" ") + its
            continue
        lines.append("")
        room = most
        for letter in word:
            if width(letter) > room and lines[-1]:
                lines.append("")
                room = most
            lines[-1] += letter
            room -= width(letter)
    return lines


# -- words ---------------------------------------------------------------------------------------------------


def total(picture: Picture) -> str:
    """The first line below the title."""
    ports = picture.ports
    return ", ".join(
        [
            plural(len(picture.hosts), "host"),
            plural(len(ports), "port"),
            plural(sum(model.counts(ports).values()), "VF"),
            plural(len({vm.vm_uuid for vm in picture.vms}), "VM"),
        ]
    )


def by_state(counts: Mapping[Optional[str], int]) -> str:
    """`3 in use, 60 free`."""
    return ", ".join(f"{counts[state]} {LOOKS[state].words}" for state in model.STATES if counts[state])


def vfs(port: Port) -> str:
    """`63 VFs: 3 in use, 60 free`; or why there are none."""
    if port.vfs is None:
        return (
            "VFs unknown" if port.num_vfs is None else f"{plural(port.num_vfs, 'VF')}, not told by the host"
        )
    if port.vfs:
        return f"{plural(len(port.vfs), 'VF')}: {by_state(model.counts([port]))}"
    return f"no VFs, {port.total_vfs} possible" if port.total_vfs else "no VFs"


def facts(port: Port) -> List[str]:
    """What else to know of a port, in a few words each; what is not known is left out."""
    found = []
    if port.speed and port.link_up is not False:
        giga = port.speed / 1000
        found.append(f"{giga:g} Gbit/s" if giga >= 1 else f"{port.speed} Mbit/s")
    if port.link_up is False:
        found.append("link down")
    if port.network and port.network != _GIVEN_NAME.format(port.name):
        found.append(shown(port.network))
    if port.management:
        found.append("management")
    if port.managed_by:
        found.append(f"managed by {shown(port.managed_by)}")
    return found


def node(one: Node) -> str:
    return "NUMA node unknown" if one.numa_node is None else f"NUMA node {one.numa_node}"


def has_nodes(host: Host) -> bool:
    """Whether the nodes are worth a line: Xen knows one."""
    return any(one.numa_node is not None for one in host.nodes)


def tags(host: Host) -> List[str]:
    return [*(["master"] if host.master else []), *([] if host.enabled else ["disabled"])]


def mac(vf: Vf) -> str:
    """Zeros are none: the guest's driver chooses one."""
    return shown(vf.mac) if vf.mac and vf.mac.strip("0:") else ""


def power(vm: Vm) -> str:
    return shown(vm.power_state).lower() if vm.power_state else "power state unknown"


def without(vm: Vm) -> str:
    """Of requests that have none."""
    return f"{plural(vm.missing, 'VF')} missing" if vm.missing else ""


def cell(vf: Vf, names: Mapping[str, str]) -> str:
    """What a pointer on a cell shows. `names`: of VMs, made harmless, by `vm_uuid`."""
    text = f"{shown(vf.name)} {LOOKS[vf.state].words}"
    if vf.vm_uuid:
        text += f": {names.get(vf.vm_uuid, '?')}"
    return text + "".join(f", {code}" for code in vf.conflicts)


def vm_names(host: Host) -> Dict[str, str]:
    return {vm.vm_uuid: shown(vm.vm_name) for vm in host.vms}
