"""A GRUB configuration: its menu entries, which of them boots by itself, and the options that each gives to
Xen. Pure text.
"""

import re
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

from . import grubscript, xenoption
from .grubscript import Command, Nodes, ScriptError, Word

LOADS_XEN = ("multiboot2", "multiboot", "xen_hypervisor")
NORMAL_LABELS = ("xe", "xe-serial")

# Of the options of `menuentry` (GRUB: normal/main.c, menuentry.c) these take a word behind them.
_WITH_VALUE = ("--class", "--users", "--hotkey", "--source", "--id")
_WAY_BACK = re.compile(r"safe mode|fallback|upgrade$| / ", re.IGNORECASE)
_SHOWN = 80  # characters of a line in a message
_MENUS = ("menuentry", "submenu")
# What reads another file, in which there may be entries too.
_OTHER_FILES = ("configfile", "source", ".", "blscfg", "extract_entries_configfile", "legacy_configfile")


class Entry(NamedTuple):
    """A menu entry. `place` is where it stands in the menu: its number, in submenus one for each."""

    title: str
    id: str
    place: Tuple[int, ...]
    command: Command
    loads_xen: Tuple[Command, ...]  # one, unless a condition chooses between several


class Config(NamedTuple):
    """The file, as GRUB reads it."""

    text: str
    nodes: Nodes
    entries: List[Entry]
    default: Optional[Entry]  # the one that boots by itself


def read(text: str) -> Config:
    """Raises ScriptError where GRUB would not understand the text."""
    nodes = grubscript.parse(text)
    entries = list(_entries(nodes, ()))
    return Config(text, nodes, entries, _default(nodes, entries))


def line(config: Config, number: int) -> str:
    """A line of the file for people: its number and its text."""
    return f"line {number} (`{shown(config, number)}`)"


def shown(config: Config, number: int) -> str:
    text = " ".join(config.text.split("\n")[number - 1].split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def all_commands(nodes: Nodes) -> Iterator[Command]:
    """Every command, those in blocks and conditions too."""
    for node in nodes:
        if isinstance(node, Command):
            yield node
            yield from all_commands(node.block or ())
        else:
            for part in node.parts:
                yield from all_commands(part)


def reads_other_files(config: Config) -> List[Command]:
    """The commands outside of entries by which other files may bring entries of their own."""
    return [command for command in _outside_of_entries(config.nodes) if command.name in _OTHER_FILES]


def _outside_of_entries(nodes: Nodes) -> Iterator[Command]:
    for node in nodes:
        if not isinstance(node, Command):
            for part in node.parts:
                yield from _outside_of_entries(part)
        elif node.name == "submenu":
            yield from _outside_of_entries(node.block or ())
        elif node.name != "menuentry":
            yield node


# -- entries -----------------------------------------------------------------------------------------


def _entries(nodes: Nodes, menu: Tuple[int, ...]) -> Iterator[Entry]:
    """The entries in the order in which GRUB numbers them, as if all conditions held."""
    items = [command for command in _outside_of_functions(nodes) if command.name in _MENUS]
    for number, command in enumerate(items):
        place = (*menu, number)
        if command.name == "submenu":
            yield from _entries(command.block or (), place)
        else:
            loads = tuple(each for each in all_commands(command.block or ()) if each.name in LOADS_XEN)
            yield Entry(*title_and_id(command), place, command, loads)


def _outside_of_functions(nodes: Nodes) -> Iterator[Command]:
    for node in nodes:
        if isinstance(node, Command):
            yield node
        elif node.words[0] != "function":
            for part in node.parts:
                yield from _outside_of_functions(part)


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


def _default(nodes: Nodes, entries: Sequence[Entry]) -> Optional[Entry]:
    values = [value for value in map(default_value, nodes) if value is not None]
    place = place_of(values[-1] if values else "0", nodes)
    return next((entry for entry in entries if entry.place == place), None)


def default_value(node: grubscript.Node) -> Optional[str]:
    """What follows `set default=`, if the command is one."""
    if isinstance(node, Command) and node.name == "set" and len(node.words) == 2:
        name, equals, value = node.words[1].text.partition("=")
        if name == "default" and equals:
            return value
    return None


def place_of(value: str, nodes: Nodes) -> Optional[Tuple[int, ...]]:
    """The place in the menu that a value of `default` means: numbers, titles or `--id`s, with `>` between
    submenus; the first entry where there is none such (normal/menu.c: get_entry_number). None where a
    variable says which."""
    if "\0" in value:
        return None
    place: Tuple[int, ...] = ()
    menu = nodes
    while True:
        items = [command for command in _outside_of_functions(menu) if command.name in _MENUS]
        names = [title_and_id(command) for command in items]
        wanted, _, rest = value.partition(">")
        digits = re.match(r"[0-9]{1,5}", wanted)
        if digits:
            number = int(digits.group())
        else:
            number = next((n for n, pair in enumerate(names) if wanted in pair), -1)
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
        if "\0v" in word.text or "\0q" in key or ("\0q" in word.text and xenoption.is_iommu(key)):
            raise ScriptError(command.line, "what a variable holds at boot cannot be told from the file")
        if " " in word.text and any(map(xenoption.is_iommu, word.text.split())):
            raise ScriptError(command.line, "an IOMMU option stands between quotes with others")
        if xenoption.is_iommu(word.text):
            found.append(word.text)
    return found


def with_iommu(text: str, command: Command, options: Sequence[str]) -> str:
    """The file with these IOMMU options in that command: the old ones go, the new ones stand at the end of
    Xen's options, as xen-cmdline writes them."""
    file = _file(command)
    last = command.words[file]
    spans: List[Tuple[int, int, str]] = []
    for word in xen_words(command):
        if xenoption.is_iommu(word.text):
            spans.append((last.end, word.end, ""))
        last = word
    spans.append((last.end, last.end, "".join(f" {option}" for option in options)))
    for start, end, new in reversed(spans):
        text = text[:start] + new + text[end:]
    return text
