"""extlinux.conf: which boot entries are the normal ones, and their Xen options. Pure text.

The file is taken apart into lines that are put together again byte for byte; only a line whose
options change is written anew. extlinux itself checks nothing, and a wrong line costs the host
(a boot prompt that waits for ever, or a Xen that reboots in a loop), so an entry is only changed
when all that it takes to boot is there.
"""

import re
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence

from . import xenoption

NORMAL_LABELS = ("xe", "xe-serial")
SEPARATOR = "---"  # between what mboot.c32 loads: Xen, the dom0 kernel, its initrd

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_WORD = re.compile(r"[^ \t\r\n]+")  # and nothing else parts words: bytes are kept as they are
_XEN = re.compile(r"(?:.*/)?xen(?:[-._][^/]*)?\.gz")
_WAY_BACK = re.compile(r"safe|fallback", re.IGNORECASE)
_MENUS = re.compile(r"(?:.*/)?(?:vesa)?menu\.c32", re.IGNORECASE)


class NotBootable(Exception):
    """The text says why an entry, or the file, would not boot."""


class Entry(NamedTuple):
    """A boot entry: its label, its module, and the line (a number) of its last `append`."""

    label: str
    kernel: str
    append_line: Optional[int]
    is_menu_default: bool


class Config(NamedTuple):
    """The file, taken apart. `lines` joined are the file, endings included."""

    lines: List[str]
    entries: List[Entry]
    default: Optional[str]  # the label that boots by itself


def parse(data: bytes) -> Config:
    """Latin-1 stands for bytes here: any byte goes through and comes out as it was."""
    lines = _LINE.findall(data.decode("latin-1"))
    entries: List[Entry] = []
    directives: Dict[str, str] = {}
    in_help_text = False
    for number, line in enumerate(lines):
        words = _WORD.findall(line)
        keyword = words[0].lower() if words else "#"
        value = words[1] if len(words) > 1 else ""
        if in_help_text or keyword == "text":
            in_help_text = keyword != "endtext"
        elif keyword.startswith("#"):
            continue
        elif keyword == "label":
            entries.append(Entry(value, "", None, False))
        elif entries and keyword in ("kernel", "com32", "linux"):
            entries[-1] = entries[-1]._replace(kernel=value)
        elif entries and keyword == "append":
            entries[-1] = entries[-1]._replace(append_line=number)
        elif entries and keyword == "menu" and value.lower() == "default":
            entries[-1] = entries[-1]._replace(is_menu_default=True)
        elif keyword in ("default", "ontimeout", "ui"):
            directives[keyword] = value
    return Config(lines, entries, _default(entries, directives))


def _default(entries: Sequence[Entry], directives: Dict[str, str]) -> Optional[str]:
    """The label that boots when nobody types: `default`, unless a menu is shown (`ui menu.c32`, or
    the menu as `default`), which takes `ontimeout`, its own `menu default`, or its first entry."""
    default = directives.get("default")
    if "ui" not in directives and not (default and _MENUS.fullmatch(default)):
        return default
    chosen = [entry.label for entry in entries if entry.is_menu_default]
    if default and not _MENUS.fullmatch(default):
        chosen.append(default)
    return directives.get("ontimeout") or (chosen + [entry.label for entry in entries] + [""])[0]


def is_way_back(label: str) -> bool:
    """Entries for safe mode and fallback are the user's way back: never touched."""
    return bool(_WAY_BACK.search(label))


def _append_words(config: Config, entry: Entry) -> List[str]:
    return [] if entry.append_line is None else _WORD.findall(config.lines[entry.append_line])[1:]


def _starts_xen(config: Config, entry: Entry) -> bool:
    words = _append_words(config, entry)
    return bool(words) and bool(_XEN.fullmatch(words[0]))


def _why_not_bootable(config: Config, entry: Entry) -> Optional[str]:
    """What mboot.c32 and Xen need: the module, and Xen, a kernel and an initrd with ` --- ` between."""
    if not re.fullmatch(r"(?:.*/)?mboot\.c32", entry.kernel, re.IGNORECASE):
        return f"its kernel is `{entry.kernel}`, not mboot.c32"
    words = _append_words(config, entry)
    modules: List[List[str]] = [[]]
    for word in words:
        if word == SEPARATOR:
            modules.append([])
        else:
            modules[-1].append(word)
    if len(modules) < 3 or not all(modules):
        return f"its append line does not name Xen, a kernel and an initrd with `{SEPARATOR}` between"
    return None


def normal_entries(config: Config) -> List[Entry]:
    """The entries to change: `xe`, `xe-serial` and the default one, as far as they start Xen.

    Raises NotBootable where the file would not boot by itself into one of them: before asking for
    a reboot is the time to say so.
    """
    labels = [entry.label for entry in config.entries]
    doubled = [label for label in labels if labels.count(label) > 1]
    if not config.default:
        raise NotBootable("no `default` line says which entry boots")
    if config.default not in labels:
        raise NotBootable(f"the default is `{config.default}`, and no entry has that label")
    if is_way_back(config.default):
        raise NotBootable(f"it boots `{config.default}` by default, an entry that is kept as a way back")
    wanted = [
        entry
        for entry in config.entries
        if (entry.label in NORMAL_LABELS or entry.label == config.default) and _starts_xen(config, entry)
    ]
    if config.default not in [entry.label for entry in wanted]:
        raise NotBootable(f"its default entry `{config.default}` does not start Xen (no xen.gz in it)")
    for entry in wanted:
        if entry.label in doubled:
            raise NotBootable(f"two entries are labelled `{entry.label}`")
        reason = _why_not_bootable(config, entry)
        if reason:
            raise NotBootable(f"its entry `{entry.label}` would not boot: {reason}")
    return wanted


def xen_options(config: Config, entry: Entry) -> List[str]:
    """The options that the entry gives to Xen: between xen.gz and the first ` --- `."""
    words = _append_words(config, entry)
    return words[1 : words.index(SEPARATOR)]


def with_iommu(config: Config, wanted: Mapping[str, Sequence[str]]) -> bytes:
    """The file with other IOMMU options in some entries: `wanted` is label -> options.

    The first new option takes the place of the first old one, so that turning on and putting back
    gives the very same bytes; where there was none they go behind Xen's other options.
    """
    lines = list(config.lines)
    for entry in config.entries:
        if entry.label in wanted and entry.append_line is not None:
            lines[entry.append_line] = _line_with_iommu(lines[entry.append_line], wanted[entry.label])
    return "".join(lines).encode("latin-1")


def _line_with_iommu(line: str, options: Sequence[str]) -> str:
    words = list(_WORD.finditer(line))
    separator = [word.group() for word in words].index(SEPARATOR)
    xen = words[1:separator]  # xen.gz and its options
    old = [word for word in xen[1:] if xenoption.is_iommu(word.group())]
    ends = {word.start(): before.end() for before, word in zip(xen, xen[1:])}
    new = "".join(f" {option}" for option in options)
    if not old:
        return line[: xen[-1].end()] + new + line[xen[-1].end() :]
    for word in reversed(old[1:]):
        line = line[: ends[word.start()]] + line[word.end() :]
    first = old[0]
    if not new:
        return line[: ends[first.start()]] + line[first.end() :]
    return line[: first.start()] + new[1:] + line[first.end() :]
