"""What changes the boot: `xen-cmdline`, which XenServer and XCP-ng bring, and `extlinux`.

xen-cmdline as in transcripts/xen-cmdline.json: it reads the default entry and writes the normal ones, exits
0 on nearly everything, and with two keys in one call it spoils the command line. extlinux as in the lab's
report: it checks nothing but that it was given a folder of a disk's file system.
"""

import os
import re
import tempfile
from typing import List, NamedTuple, Optional, Sequence

from commands import Answer
from kernel_sysfs import Sysfs
from machine_boot import PLACES

_SAFE, _FALLBACK = re.compile("Safe Mode"), re.compile(r"Xen .* / Linux")
_LOADS_XEN, _LOADS_MODULE = re.compile(r"\s*multiboot2?\s"), re.compile(r"\s*module2?\s")
_OVERRIDE = """if [ -s $prefix/grubenv ]; then
\tload_env
fi

if [ -n "$override_entry" ]; then
\tset default=$override_entry
fi

"""


class Entry(NamedTuple):
    """A menu entry of grub.cfg: where the lines with the two command lines are, in the file."""

    title: str
    xen: int
    dom0: int

    @property
    def is_normal(self) -> bool:
        return not _SAFE.search(self.title) and not _FALLBACK.search(self.title)


def xen_cmdline(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """Option groups in their order, then one write; nothing to do is success."""
    groups: List[List[str]] = []
    for word in arguments:
        if word.startswith("--"):
            groups.append([word])
        elif groups:
            groups[-1].append(word)
    groups = [group for group in groups if re.fullmatch("--(get|set|delete)-(xen|dom0)", group[0])]
    try:
        lines = _read(sysfs)
        entries = _entries(lines)
        before, output = list(lines), ""
        for option, *words in groups:
            action, side = option[2:].split("-")
            if action == "get":
                shown = entries[_default(lines)]
                for key in words:
                    output += "\n".join(_matching(_options(lines, shown, side), key)) + "\n"
            elif words:
                _write(lines, entries, side, words, action == "set")
    except (RuntimeError, IndexError) as error:
        trace = f"Traceback (most recent call last):\n{type(error).__name__}: {error}\n"
        return Answer(1, "", trace)
    if lines != before:
        _replace(sysfs, "".join(line + "\n" for line in lines))
    return Answer(0, output)


def _read(sysfs: Sysfs) -> List[str]:
    path = PLACES[sysfs.description.bootloader]
    if not sysfs.exists(path):
        raise RuntimeError("No existing bootloader configuration found")
    return sysfs.text(path).splitlines()


def _entries(lines: List[str]) -> List[Entry]:
    entries: List[Entry] = []
    title: Optional[str] = None
    loads: List[int] = []
    for number, line in enumerate(lines):
        match = re.match(r"menuentry '([^']*)'", line)
        if match:
            title, loads = match.group(1), []
        elif title is not None and (_LOADS_XEN.match(line) or _LOADS_MODULE.match(line)):
            loads.append(number)
        elif title is not None and line.startswith("}"):
            entries.append(Entry(title, loads[0], loads[1]))
            title = None
    if not entries:
        raise IndexError("list index out of range")
    return entries


def _default(lines: List[str]) -> int:
    numbers = [line.partition("=")[2] for line in lines if line.startswith("set default=")]
    return int(numbers[0])


def _line(entry: Entry, side: str) -> int:
    return entry.xen if side == "xen" else entry.dom0


def _options(lines: List[str], entry: Entry, side: str) -> List[str]:
    return lines[_line(entry, side)].split()[2:]


def _matching(options: Sequence[str], key: str) -> List[str]:
    return [option for option in options if option == key or option.startswith(key + "=")]


def _write(lines: List[str], entries: List[Entry], side: str, words: List[str], append: bool) -> None:
    """Its fault: what is kept is asked of each key on its own, so with two keys every other option is
    kept twice."""
    keys = [word.partition("=")[0] for word in words]
    for entry in entries:
        if entry.is_normal:
            number = _line(entry, side)
            indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
            command, file = lines[number].split()[:2]
            options = _options(lines, entry, side)
            kept = [option for option in options for key in keys if not _matching([option], key)]
            lines[number] = indent + " ".join([command, file, *kept, *(words if append else [])])


def _replace(sysfs: Sysfs, text: str) -> None:
    """Under a temporary name of its own, then renamed; so the mode is that of mkstemp."""
    path = sysfs.root + PLACES[sysfs.description.bootloader]
    if "override_entry" not in text:
        text = re.sub(r"^menuentry ", _OVERRIDE + "menuentry ", text, count=1, flags=re.MULTILINE)
    descriptor, temporary = tempfile.mkstemp(prefix="grub.cfg", dir=os.path.dirname(path))
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(temporary, path)


# -- extlinux ------------------------------------------------------------------------------------

_USAGE = "Usage: extlinux [options] directory\n  --install    -i  Install over the current bootsector\n"
_OTHER_FILE_SYSTEMS = ("/proc", "/sys", "/run", "/dev")


def extlinux(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """All its messages go to standard error."""
    old = sysfs.description.extlinux < 4
    options = [word for word in arguments if word.startswith("-")]
    folders = [word for word in arguments if not word.startswith("-")]
    if "--version" in options:
        return Answer(0, "", f"extlinux {'3.86' if old else '6.04'}  Copyright 1994 H. Peter Anvin et al\n")
    if [option for option in options if option not in ("--update", "-U", "--install", "-i")]:
        return Answer(64, "", f"extlinux: unrecognized option '{options[0]}'\n{_USAGE}")
    if len(folders) != 1 or not (options or old):
        return Answer(64, "", _USAGE)
    folder = os.path.normpath(folders[0])
    if not os.path.isdir(sysfs.root + folder):
        return Answer(1, "", f"extlinux: Not a directory: {folder}\n")
    if folder.startswith(_OTHER_FILE_SYSTEMS):
        supported = "fat, ntfs, ext2/3/4, btrfs, xfs or ufs1/2"
        return Answer(1, "", f"extlinux: not a {supported} filesystem: {folder}\n")
    # The boot sector looks there from now on, whatever is there.
    sysfs.state["extlinux"] = folder
    warning = "" if options else "extlinux: a future version will require --install or --update\n"
    return Answer(0, "", f"{warning}{folder} is device /dev/sda1\n")
