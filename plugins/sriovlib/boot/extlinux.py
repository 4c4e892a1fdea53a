"""extlinux.conf: which boot entries are the normal ones, and their Xen options. Pure text.

Only the options that change are written; every other byte stays. extlinux itself checks nothing, and a wrong
line costs the host (a boot prompt that waits for ever, or a Xen that reboots in a loop), so an entry is only
changed when all that it takes to boot is there.
"""

import re
from collections import Counter
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from . import iommu_option

NORMAL_LABELS = ("xe", "xe-serial")
SEPARATOR = "---"  # between what mboot.c32 loads: Xen, the dom0 kernel, its initrd

_LINE = re.compile(r"[^\n]*(?:\n|$)")
_WORD = re.compile(r"[^ \t\r\n]+")  # and nothing else parts words: bytes are kept as they are
_XEN = re.compile(r"(?:.*/)?xen(?:[-._][^/]*)?\.gz")
# What an entry can start (syslinux: kernel_types); mboot.c32 is started by the first two.
_KERNELS = ("kernel", "com32", "linux", "boot", "bss", "pxe", "fdimage", "comboot", "config", "localboot")
AMBIGUOUS = "\0"  # no label can be that
_WAY_BACK = re.compile(r"safe|fallback", re.IGNORECASE)
_MENUS = re.compile(r"(?:.*/)?(?:vesa)?menu\.c32", re.IGNORECASE)


class NotBootable(Exception):
    """The text says why an entry, or the file, would not boot."""


class Word(NamedTuple):
    text: str
    start: int  # its places in the file
    end: int


class Entry(NamedTuple):
    """A boot entry: its label, the module that it starts and the keyword that says how, and the words of its
    last `append` line, None if it has none."""

    label: str
    kernel: str = ""
    keyword: str = "kernel"
    append: Optional[Tuple[Word, ...]] = None
    is_menu_default: bool = False

    @property
    def modules(self) -> List[List[Word]]:
        """What mboot.c32 loads, each with its options: Xen, a kernel, an initrd; empty where that is not Xen.
        A `tboot.gz` may be before them (trusted boot), and is left out."""
        modules: List[List[Word]] = [[]]
        for word in self.append or ():
            if word.text == SEPARATOR:
                modules.append([])
            else:
                modules[-1].append(word)
        if len(modules) > 1 and modules[0] and "tboot" in modules[0][0].text:
            del modules[0]
        return modules if modules[0] and _XEN.fullmatch(modules[0][0].text) else []

    @property
    def xen(self) -> List[Word]:
        """xen.gz and its options; behind a `--` they are dom0's (Xen: arch/x86/setup.c)."""
        words = self.modules[0] if self.modules else []
        return words[: next((n for n, word in enumerate(words) if word.text == "--"), len(words))]


class Config(NamedTuple):
    text: str  # Latin-1 stands for bytes here: any byte goes through and comes out as it was
    entries: List[Entry]
    default: Optional[str]  # the label that boots by itself
    has_global_append: bool  # before all labels: for entries without one of their own
    other_files: List[int]  # lines by which extlinux or its menu reads another file


def parse(data: bytes) -> Config:
    """As extlinux and its menu read the file (syslinux: com32/elflink/ldlinux/readconfig.c): keywords in any
    case, of a keyword given twice the last counts, of a label given twice the first."""
    text = data.decode("latin-1")
    entries: List[Entry] = []
    directives: Dict[str, str] = {}
    has_global_append = in_help_text = False
    others: List[int] = []
    for number, line in enumerate(_LINE.finditer(text)):
        words = [Word(one.group(), *one.span()) for one in _WORD.finditer(text, *line.span())]
        keyword = words[0].text.lower() if words else "#"
        value = words[1].text if len(words) > 1 else ""
        if in_help_text or keyword == "text":
            in_help_text = keyword != "endtext"
        elif keyword.startswith("#"):
            continue
        elif keyword == "label":
            entries.append(Entry(value))
        elif entries and keyword in _KERNELS:
            entries[-1] = entries[-1]._replace(kernel=value, keyword=keyword)
        elif entries and keyword == "append":
            entries[-1] = entries[-1]._replace(append=tuple(words[1:]))
        elif keyword == "append":
            has_global_append = True
        elif keyword == "include" or (keyword == "menu" and value.lower() == "include"):
            others.append(number)
        elif entries and keyword == "menu" and value.lower() == "default":
            entries[-1] = entries[-1]._replace(is_menu_default=True)
        elif keyword in ("default", "ontimeout", "ui"):
            directives[keyword] = value
            if _MENUS.fullmatch(value) and len(words) > 2:  # the menu reads that file in place of this one
                others.append(number)
    return Config(text, entries, _default(entries, directives), has_global_append, others)


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


def _why_not_bootable(entry: Entry) -> Optional[str]:
    """What mboot.c32 and Xen need: the module, and Xen, a kernel and an initrd with ` --- ` between."""
    if entry.keyword not in _KERNELS[:2]:
        return f"it starts `{entry.kernel}` by `{entry.keyword}`, not mboot.c32 by `kernel` or `com32`"
    if not re.fullmatch(r"(?:.*/)?mboot\.c32", entry.kernel, re.IGNORECASE):
        return f"its kernel is `{entry.kernel}`, not mboot.c32"
    if len(entry.modules) < 3 or not all(entry.modules):
        return f"its append line does not name Xen, a kernel and an initrd with `{SEPARATOR}` between"
    return None


def normal_entries(config: Config) -> List[Entry]:
    """The entries to change: `xe`, `xe-serial` and the default one, as far as they start Xen and
    would boot.

    Raises NotBootable where the host would not boot by itself into one of them: before asking for a
    reboot is the time to say so.
    """
    name, count = config.default, Counter(entry.label for entry in config.entries)
    if not name:
        raise NotBootable("no `default` line says which entry boots")
    if name == AMBIGUOUS:
        raise NotBootable("`default` names another entry than the one that is marked `menu default`")
    if name not in count:
        raise NotBootable(f"the default is `{name}`, and no entry has that label")
    if _WAY_BACK.search(name):
        raise NotBootable(f"it boots `{name}` by default, an entry that is kept as a way back")
    if count[name] > 1:
        raise NotBootable(f"two entries are labelled `{name}`")
    default = next(entry for entry in config.entries if entry.label == name)
    if default.append is None and config.has_global_append:
        raise NotBootable(
            f"its default entry `{name}` has no `append` line of its own, and the one before all labels is "
            "not for this entry alone"
        )
    if not default.xen:
        raise NotBootable(f"its default entry `{name}` does not start Xen (no xen.gz in it)")
    reason = _why_not_bootable(default)
    if reason:
        raise NotBootable(f"its entry `{name}` would not boot: {reason}")
    unfit = unfit_entries(config)
    return [
        entry
        for entry in config.entries
        if entry is default or (entry.label in NORMAL_LABELS and entry.xen and entry.label not in unfit)
    ]


def unfit_entries(config: Config) -> Dict[str, str]:
    """The labels of normal entries that start Xen and are left as they are, and why."""
    count = Counter(entry.label for entry in config.entries)
    found: Dict[str, str] = {}
    for entry in config.entries:
        if entry.label in NORMAL_LABELS and entry.xen:
            reason = _why_not_bootable(entry)
            if reason or count[entry.label] > 1:
                found[entry.label] = (
                    f"it would not boot: {reason}" if reason else "two entries have that label"
                )
    return found


def iommu_options(config: Config) -> Dict[str, List[str]]:
    """Label of each normal entry -> its options that are about the IOMMU."""
    return {
        entry.label: iommu_option.iommu_options([word.text for word in entry.xen[1:]])
        for entry in normal_entries(config)
    }


def other_files(config: Config) -> List[str]:
    """Why another file than this one may be what boots."""
    lines = config.text.split("\n")
    return [f"its line {n + 1} (`{lines[n].strip()}`) reads another file" for n in config.other_files]


def with_iommu(config: Config, wanted: Mapping[str, Sequence[str]]) -> str:
    """The file with other IOMMU options in some entries: `wanted` is label -> options."""
    text = config.text
    for entry in sorted(config.entries, key=lambda entry: entry.append or (), reverse=True):
        if entry.label in wanted and entry.xen:
            text = iommu_option.replaced(text, entry.xen, wanted[entry.label])
    return text
