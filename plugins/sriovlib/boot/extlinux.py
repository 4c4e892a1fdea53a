"""extlinux.conf: which boot entries are the normal ones, and their Xen options. Pure text.

The file is taken apart into lines that are put together again byte for byte; only a line whose
options change is written anew. extlinux itself checks nothing, and a wrong line costs the host
(a boot prompt that waits for ever, or a Xen that reboots in a loop), so an entry is only changed
when all that it takes to boot is there.
"""

import re
from collections import Counter
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from . import iommu_option

NORMAL_LABELS = ("xe", "xe-serial")
SEPARATOR = "---"  # between what mboot.c32 loads: Xen, the dom0 kernel, its initrd

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_WORD = re.compile(r"[^ \t\r\n]+")  # and nothing else parts words: bytes are kept as they are
_XEN = re.compile(r"(?:.*/)?xen(?:[-._][^/]*)?\.gz")
# What an entry can start (syslinux: kernel_types); mboot.c32 is started by the first two.
_KERNELS = ("kernel", "com32", "linux", "boot", "bss", "pxe", "fdimage", "comboot", "config", "localboot")
AMBIGUOUS = "\0"  # no label can be that
_WAY_BACK = re.compile(r"safe|fallback", re.IGNORECASE)
_MENUS = re.compile(r"(?:.*/)?(?:vesa)?menu\.c32", re.IGNORECASE)


class NotBootable(Exception):
    """The text says why an entry, or the file, would not boot."""


class Entry(NamedTuple):
    """A boot entry: its label, the module that it starts and the keyword that says how, and the line (a
    number) of its last `append`."""

    label: str
    kernel: str
    append_line: Optional[int]
    is_menu_default: bool
    kernel_keyword: str = "kernel"


class Config(NamedTuple):
    """The file, taken apart. `lines` joined are the file, endings included."""

    lines: List[str]
    entries: List[Entry]
    default: Optional[str]  # the label that boots by itself
    global_append_line: Optional[int] = None  # of the `append` before all labels: for entries without one
    other_files: Tuple[int, ...] = ()  # lines by which extlinux or its menu reads another file


def parse(data: bytes) -> Config:
    """Latin-1 stands for bytes here: any byte goes through and comes out as it was.

    As extlinux and its menu read the file (syslinux: com32/elflink/ldlinux/readconfig.c): keywords in any
    case, of a keyword given twice the last counts, of a label given twice the first.
    """
    lines = _LINE.findall(data.decode("latin-1"))
    entries: List[Entry] = []
    directives: Dict[str, str] = {}
    global_append: Optional[int] = None
    others: List[int] = []
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
        elif entries and keyword in _KERNELS:
            entries[-1] = entries[-1]._replace(kernel=value, kernel_keyword=keyword)
        elif keyword == "append":
            if entries:
                entries[-1] = entries[-1]._replace(append_line=number)
            else:
                global_append = number
        elif keyword == "include" or (keyword == "menu" and value.lower() == "include"):
            others.append(number)
        elif entries and keyword == "menu" and value.lower() == "default":
            entries[-1] = entries[-1]._replace(is_menu_default=True)
        elif keyword in ("default", "ontimeout", "ui"):
            directives[keyword] = value
            if (
                _MENUS.fullmatch(value) and len(words) > 2
            ):  # the menu reads that file in the place of this one
                others.append(number)
    default = _default(entries, directives)
    return Config(lines, entries, default, global_append, tuple(others))


def _default(entries: Sequence[Entry], directives: Dict[str, str]) -> Optional[str]:
    """The label that boots when nobody types: `ontimeout`, else `default`; where a menu is shown (`ui
    menu.c32`, or the menu as `default`) the label of `default`, else the last `menu default`, else the first
    entry. AMBIGUOUS where menus of different ages would differ."""
    if "ontimeout" in directives:
        return directives["ontimeout"]
    default = directives.get("default")
    menu = directives.get("ui", "menu.c32")
    if not _MENUS.fullmatch(menu):  # extlinux starts it in the place of its prompt
        return menu
    if "ui" not in directives and not (default and _MENUS.fullmatch(default)):
        return default
    marked = [entry.label for entry in entries if entry.is_menu_default]
    if default and not _MENUS.fullmatch(default):
        return default if not marked or marked[-1] == default else AMBIGUOUS
    if marked:
        return marked[-1]
    return entries[0].label if entries else ""


def is_way_back(label: str) -> bool:
    """Entries for safe mode and fallback are the user's way back: never touched."""
    return bool(_WAY_BACK.search(label))


def _append_words(config: Config, entry: Entry) -> List[str]:
    return [] if entry.append_line is None else _WORD.findall(config.lines[entry.append_line])[1:]


def _modules(words: Sequence[str]) -> List[List[str]]:
    """What mboot.c32 loads, each with its options: Xen, a kernel, an initrd; a `tboot.gz` may be
    before them (trusted boot)."""
    modules: List[List[str]] = [[]]
    for word in words:
        if word == SEPARATOR:
            modules.append([])
        else:
            modules[-1].append(word)
    return modules


def _xen_module(words: Sequence[str]) -> Optional[int]:
    """Which of the modules is Xen; None where the first one (behind a tboot) is not."""
    modules = _modules(words)
    behind_tboot = len(modules) > 1 and modules[0][:1] != [] and "tboot" in modules[0][0]
    place = 1 if behind_tboot else 0
    return place if modules[place] and _XEN.fullmatch(modules[place][0]) else None


def _starts_xen(config: Config, entry: Entry) -> bool:
    return _xen_module(_append_words(config, entry)) is not None


def _why_not_bootable(config: Config, entry: Entry) -> Optional[str]:
    """What mboot.c32 and Xen need: the module, and Xen, a kernel and an initrd with ` --- ` between."""
    if entry.kernel_keyword not in _KERNELS[:2]:
        return f"it starts `{entry.kernel}` by `{entry.kernel_keyword}`, not mboot.c32 by `kernel` or `com32`"
    if not re.fullmatch(r"(?:.*/)?mboot\.c32", entry.kernel, re.IGNORECASE):
        return f"its kernel is `{entry.kernel}`, not mboot.c32"
    words = _append_words(config, entry)
    modules = _modules(words)[_xen_module(words) or 0 :]
    if len(modules) < 3 or not all(modules):
        return f"its append line does not name Xen, a kernel and an initrd with `{SEPARATOR}` between"
    return None


def normal_entries(config: Config) -> List[Entry]:
    """The entries to change: `xe`, `xe-serial` and the default one, as far as they start Xen and
    would boot.

    Raises NotBootable where the host would not boot by itself into one of them: before asking for a
    reboot is the time to say so.
    """
    count = Counter(entry.label for entry in config.entries)
    if not config.default:
        raise NotBootable("no `default` line says which entry boots")
    if config.default == AMBIGUOUS:
        raise NotBootable("`default` names another entry than the one that is marked `menu default`")
    if config.default not in count:
        raise NotBootable(f"the default is `{config.default}`, and no entry has that label")
    if is_way_back(config.default):
        raise NotBootable(f"it boots `{config.default}` by default, an entry that is kept as a way back")
    if count[config.default] > 1:
        raise NotBootable(f"two entries are labelled `{config.default}`")
    default = next(entry for entry in config.entries if entry.label == config.default)
    if default.append_line is None and config.global_append_line is not None:
        raise NotBootable(
            f"its default entry `{config.default}` has no `append` line of its own, and the one before all"
            " labels is not for this entry alone"
        )
    if not _starts_xen(config, default):
        raise NotBootable(f"its default entry `{config.default}` does not start Xen (no xen.gz in it)")
    reason = _why_not_bootable(config, default)
    if reason:
        raise NotBootable(f"its entry `{config.default}` would not boot: {reason}")
    return [
        entry
        for entry in config.entries
        if entry is default
        or (entry.label in NORMAL_LABELS and count[entry.label] == 1 and _is_fit(config, entry))
    ]


def _is_fit(config: Config, entry: Entry) -> bool:
    return _starts_xen(config, entry) and _why_not_bootable(config, entry) is None


def unfit_entries(config: Config) -> Dict[str, str]:
    """The labels of normal entries that start Xen and are left as they are, and why."""
    fit = [entry.label for entry in normal_entries(config)]
    found: Dict[str, str] = {}
    for entry in config.entries:
        if entry.label in NORMAL_LABELS and entry.label not in fit and _starts_xen(config, entry):
            reason = _why_not_bootable(config, entry)
            found[entry.label] = f"it would not boot: {reason}" if reason else "two entries have that label"
    return found


def xen_options(config: Config, entry: Entry) -> List[str]:
    """The options that the entry gives to Xen: between xen.gz and the next ` --- `."""
    words = _append_words(config, entry)
    return _until_dom0(_modules(words)[_xen_module(words) or 0][1:])


def _until_dom0(options: List[str]) -> List[str]:
    """Behind a `--` they are dom0's (Xen: arch/x86/setup.c)."""
    return options[: options.index("--")] if "--" in options else options


def other_files(config: Config) -> List[str]:
    """Why another file than this one may be what boots."""
    return [f"its line {n + 1} (`{config.lines[n].strip()}`) reads another file" for n in config.other_files]


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
    words = list(_WORD.finditer(line))[1:]
    texts = [word.group() for word in words]
    start = 0 if _xen_module(texts) == 0 else texts.index(SEPARATOR) + 1
    xen = words[start : texts.index(SEPARATOR, start)]  # xen.gz and its options
    xen = xen[: 1 + len(_until_dom0([word.group() for word in xen[1:]]))]
    old = [word for word in xen[1:] if iommu_option.is_iommu(word.group())]
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
