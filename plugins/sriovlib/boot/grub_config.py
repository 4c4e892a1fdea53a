"""A GRUB configuration: its menu entries, which of them boots by itself, and the options that each gives to
Xen. Pure text.
"""

import re
from typing import FrozenSet, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from . import grub_script, iommu_option
from .grub_script import Command, Nodes, ScriptError, Word

LOADS_XEN = ("multiboot2", "multiboot", "xen_hypervisor")
NORMAL_LABELS = ("xe", "xe-serial")

# Of the options of `menuentry` (GRUB: normal/main.c, menuentry.c) these take a word behind them.
_WITH_VALUE = ("--class", "--users", "--hotkey", "--source", "--id")
_WAY_BACK = re.compile(r"safe mode|fallback|upgrade$| / ", re.IGNORECASE)
_SHOWN = 80  # characters of a line in a message
MENUS = ("menuentry", "submenu")
# What reads another file, in which there may be entries too.
_OTHER_FILES = ("configfile", "source", ".", "blscfg", "extract_entries_configfile", "legacy_configfile")


class Entry(NamedTuple):
    """A menu entry. `place` is where it stands in the menu: its number, in submenus one for each."""

    title: str
    place: Tuple[int, ...]
    loads_xen: Tuple[Command, ...]  # one, unless a condition chooses between several


class Config(NamedTuple):
    """The file, as GRUB reads it."""

    text: str
    nodes: Nodes
    entries: List[Entry]
    default: Optional[Entry]  # the one that boots by itself; None where that is not certain
    unclear: int = 0  # then the line by which it is not

    def text_of(self, number: int) -> str:
        """A line of the file, with one blank between its words."""
        return " ".join(self.text.split("\n")[number - 1].split())

    def line(self, number: int) -> str:
        """A line of the file for people: its number and its text."""
        return numbered(number, cut(self.text_of(number)))


def read(text: str) -> Config:
    """Raises ScriptError where GRUB would not understand the text."""
    nodes = grub_script.parse(text)
    entries = list(_entries(nodes, ()))
    return Config(text, nodes, entries, *_default(nodes, entries))


def numbered(number: int, text: str) -> str:
    return f"line {number} (`{text}`)"


def cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def cut_pair(one: str, other: str) -> Tuple[str, str]:
    """Two lines for people, each cut so that the first difference can be seen."""
    same = next(
        (n for n, pair in enumerate(zip(one, other)) if len(set(pair)) == 2), min(len(one), len(other))
    )
    if same < _SHOWN:
        return cut(one), cut(other)
    command = one.partition(" ")[0]
    start = one.rfind(" ", 0, same - _SHOWN // 4) + 1
    return f"{command} ...{cut(one[start:])}", f"{command} ...{cut(other[start:])}"


def all_commands(nodes: Nodes, left_out: str = "") -> Iterator[Command]:
    """Every command, those in blocks and conditions too, but for commands of the name `left_out`."""
    for node in nodes:
        if isinstance(node, Command) and node.name == left_out:
            continue
        if isinstance(node, Command):
            yield node
        for part in [node.block or ()] if isinstance(node, Command) else node.parts:
            yield from all_commands(part, left_out)


def reads_other_files(config: Config) -> List[Command]:
    """The commands outside of entries by which other files may bring entries of their own."""
    outside = all_commands(config.nodes, left_out="menuentry")
    return [command for command in outside if command.name in _OTHER_FILES]


# -- entries -----------------------------------------------------------------------------------------


def _entries(nodes: Nodes, menu: Tuple[int, ...]) -> Iterator[Entry]:
    """The entries in the order in which GRUB numbers them, as if all conditions held."""
    for number, (command, _) in enumerate(_items(nodes)):
        place = (*menu, number)
        if command.name == "submenu":
            yield from _entries(command.block or (), place)
        else:
            loads = tuple(each for each in all_commands(command.block or ()) if each.name in LOADS_XEN)
            yield Entry(title_and_id(command)[0], place, loads)


_Within = Tuple[Tuple[int, int], ...]


def _items(nodes: Nodes, within: _Within = ()) -> Iterator[Tuple[Command, _Within]]:
    """The entries and submenus of one menu, and which parts of which conditions, loops and functions each
    stands in: GRUB may leave such an item out, or add it several times."""
    for node in nodes:
        if not isinstance(node, Command):
            for number, part in enumerate(node.parts):
                yield from _items(part, (*within, (id(node), number)))
        elif node.name in MENUS:
            yield node, within


def title_and_id(command: Command) -> Tuple[str, str]:
    title, identity = "", ""
    words = iter([word.text for word in command.words[1:]])
    for word in words:
        if word in _WITH_VALUE:
            value = next(words, "")
            identity = value if word == "--id" else identity
        elif word.startswith("--id="):
            identity = word[len("--id=") :]
        elif not word.startswith("--") and not title:
            title = word
    return title, identity


_Values = FrozenSet[Tuple[str, int]]  # a value, and the line that gives it


def _default(nodes: Nodes, entries: Sequence[Entry]) -> Tuple[Optional[Entry], int]:
    """The entry that boots by itself, or the line by which that is not certain. A variable beside a plain
    value stands for an entry that is chosen for one boot."""
    values = _values_of_default(nodes, frozenset([("0", 1)]))
    lines = {place_of(value, nodes): line for value, line in values if "\0" not in value}
    found = next((entry for entry in entries if entry.place in lines), None)
    if found is None or len(lines) != 1:
        return None, max(lines.values()) if lines else min(line for _, line in values)
    unclear = _first_unclear(found.place, nodes)
    return (None if unclear else found), unclear


def _values_of_default(nodes: Nodes, values: _Values) -> _Values:
    """What `default` may hold behind these commands, `values` being what it may hold before them."""
    for node in nodes:
        if isinstance(node, Command):
            value = default_value(node)
            values = values if value is None else frozenset([(value, node.line)])
        elif node.words[0] != "function":
            is_one_taken = node.words[0] == "if" and node.words[-1] == "else"
            ways = [_values_of_default(part, values) for part in node.parts]
            values = frozenset().union(*ways[1::2], ways[-1], () if is_one_taken else values)
    return values


def _first_unclear(place: Tuple[int, ...], nodes: Nodes) -> int:
    """The line of the first item that may make another one of that place in the menu, for it depends on a
    condition that the item there does not depend on, or the other way about; 0 for none."""
    for number in place:
        items = list(_items(nodes))
        command, within = items[number]
        for other, (each, around) in enumerate(items):
            first, outer, inner = (each, around, within) if other < number else (command, within, around)
            if inner[: len(outer)] != outer:
                return first.line
        nodes = command.block or ()
    return 0


def default_value(node: grub_script.Node) -> Optional[str]:
    """What the command gives to `default`: `set default=...`, or the same without `set`, which GRUB tries
    last (script/execute.c: grub_script_execute_cmdline)."""
    if not isinstance(node, Command):
        return None
    words = node.words[1:] if node.name == "set" else node.words
    name, equals, value = words[0].text.partition("=") if words else ("", "", "")
    return value if name == "default" and equals else None


def place_of(value: str, nodes: Nodes) -> Optional[Tuple[int, ...]]:
    """The place in the menu that a value of `default` means: numbers, titles or `--id`s, with `>` between
    submenus; the first entry where there is none such (normal/menu.c: get_entry_number). None where a
    variable says which."""
    if "\0" in value:
        return None
    place: Tuple[int, ...] = ()
    menu = nodes
    while True:
        items = [command for command, _ in _items(menu)]
        names = [title_and_id(command) for command in items]
        wanted, _, rest = value.partition(">")
        digits = re.match(r"[0-9]{1,5}", wanted)
        if digits:
            number = int(digits.group())
        else:
            # an empty one is nobody's, not even of those without an id (menuentry_eq)
            number = next((n for n, pair in enumerate(names) if wanted and wanted in pair), -1)
        if not 0 <= number < len(items):
            number, rest = 0, ""
        place = (*place, number)
        if not items or items[number].name != "submenu":
            return place
        menu, value = items[number].block or (), rest or "0"


def is_way_back(title: str) -> bool:
    """Entries for safe mode, for a fallback and of an upgrade are the user's way back: never touched, not
    even where xen-cmdline takes one for a normal entry by the end of its title."""
    return bool(_WAY_BACK.search(title))


def label(entry: Entry, brand: str) -> str:
    """The label that xen-cmdline gives the entry, by its title (xcp/bootloader.py: create_label). It changes
    those labelled `xe` and `xe-serial`; another entry than these is called by its title here."""
    if brand and entry.title == brand:
        return "xe"
    return "xe-serial" if entry.title.endswith("(Serial)") else entry.title


# -- Xen's options -------------------------------------------------------------------------------------


def xen_words(command: Command) -> Tuple[Word, ...]:
    """The options that the command gives to Xen: behind the file, and up to a `--`, behind which they are
    dom0's (Xen: arch/x86/setup.c)."""
    options = command.words[_file(command) + 1 :]
    end = next((n for n, word in enumerate(options) if word.text == "--"), len(options))
    return options[:end]


def _file(command: Command) -> int:
    """Which of its words is the file that it loads: the first that is no option of the command's own."""
    words = enumerate(command.words)
    return next((n for n, word in words if n and not word.text.startswith("--")), len(command.words) - 1)


def iommu_options(command: Command) -> List[str]:
    """Those of Xen's options that are about the IOMMU; raises ScriptError where that cannot be told."""
    found = []
    for word in xen_words(command):
        key = word.text.partition("=")[0]
        if "\0v" in word.text or "\0q" in key or ("\0q" in word.text and iommu_option.is_iommu(key)):
            raise ScriptError(command.line, "what a variable holds at boot cannot be told from the file")
        if " " in word.text and any(map(iommu_option.is_iommu, word.text.split())):
            raise ScriptError(command.line, "an IOMMU option stands between quotes with others")
        if iommu_option.is_iommu(word.text):
            found.append(word.text)
    return found


def with_iommu(text: str, command: Command, options: Sequence[str]) -> str:
    """The file with these IOMMU options in that command."""
    return iommu_option.replaced(text, (command.words[_file(command)], *xen_words(command)), options)
