"""xen-cmdline as it is: what it understands of a grub.cfg, and the file that it writes anew from that.

As recorded in transcripts/xen-cmdline.json, and compared with the real one (xcp-ng-release's tool on
python-libs' xcp.bootloader) on some hundred files, odd ones too. It knows lines, not GRUB's language: what
stands behind the last entry is gone, two entries whose titles get one label become the last of them, each
entry comes out with the lines of one kind of system, and in some places it takes a line of yours for one of
its own.
"""

import re
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

# How the lines are called by which an entry loads its system: the first, and those for kernel and initrd.
_KINDS = {
    "multiboot2": ("multiboot2", "module2", "module2"),
    "xen_hypervisor": ("xen_hypervisor", "xen_module", "xen_module"),
    "linux": ("", "linux", "initrd"),
}
_SEARCH = "search --label --set root"
_OVERRIDE = """if [ -s $prefix/grubenv ]; then
\tload_env
fi

if [ -n "$override_entry" ]; then
\tset default=$override_entry
fi
""".split("\n")


class Failed(Exception):
    """It ends with a trace; the text is its last line."""


class Entry:
    """A menu entry as it keeps it: the lines that it does not know, and the parts of those that it does."""

    def __init__(self, title: str, extra: str) -> None:
        self.title = title
        self.extra = extra
        self.other: List[str] = []
        self.kind = "multiboot2"
        self.xen: Optional[str] = None
        self.kernel: Optional[str] = None
        self.options = {"xen": "", "dom0": ""}
        self.initrd: Optional[str] = None
        self.root: Optional[str] = None

    def words(self, side: str) -> List[str]:
        if (self.xen if side == "xen" else self.kernel) is None:
            raise Failed("TypeError: expected string or bytes-like object")
        return re.findall(r'\S[^ "]*(?:"[^"]*")?\S*', self.options[side])

    def take(self, line: str) -> None:
        text = line.strip()
        if text.startswith(("multiboot2", "xen_hypervisor")):
            if text.startswith("xen_hypervisor"):
                self.kind = "xen_hypervisor"
            self.xen, self.options["xen"] = _file_and_options(text)
        elif text.startswith(("module2", "xen_module")):
            if not self.xen:
                need = "multiboot2 kernel" if text.startswith("module2") else "hypervisor"
                raise Failed(f"RuntimeError: Need a {need}")
            if self.kernel:
                self.initrd = _behind_first(text)
            else:
                self.kernel, self.options["dom0"] = _file_and_options(text)
        elif text.startswith("linux"):
            self.kind = "linux"
            self.kernel, self.options["dom0"] = _file_and_options(text)
        elif text.startswith("initrd"):
            if not self.kernel:
                raise Failed("RuntimeError: Need a kernel")
            self.initrd = _behind_first(text)
        elif text.startswith(_SEARCH):
            words = text.split()
            if len(words) < 5:
                raise Failed("IndexError: list index out of range")
            self.root = words[4]
        else:
            self.other.append(line.rstrip())

    def written(self) -> List[str]:
        lines = [f"menuentry '{self.title}'{self.extra or ' '}{{"]
        lines += self.other if self.other != [""] else []
        if self.root:
            lines.append(f"\t{_SEARCH} {self.root}")
        first, kernel, initrd = _KINDS[self.kind]
        if first:
            lines.append(f"\t{first} {self.xen} {self.options['xen'] if self.xen is not None else None}")
        if self.kernel or not first:
            lines.append(
                f"\t{kernel} {self.kernel} {self.options['dom0'] if self.kernel is not None else None}"
            )
        if self.initrd:
            lines.append(f"\t{initrd} {self.initrd}")
        return [*lines, "}"]


def _file_and_options(text: str) -> Tuple[str, str]:
    parts = [*text.split(None, 2), "", ""]
    return parts[1], parts[2]


def _behind_first(text: str) -> str:
    parts = text.split(None, 1)
    if len(parts) < 2:
        raise Failed("IndexError: list index out of range")
    return parts[1]


class Understood(NamedTuple):
    entries: Dict[str, Entry]
    order: List[str]  # their labels
    default: str
    timeout: Optional[int]
    serial: Optional[Tuple[str, str]]  # port, speed
    between: List[List[str]]  # the lines before each entry


def understood(text: str, brand: str) -> Understood:
    entries: Dict[str, Entry] = {}
    order: List[str] = []
    between: List[List[str]] = []
    lines: List[str] = []
    default, timeout, serial, entry = "0", None, None, None
    for line in text.split("\n"):
        stripped = line.strip()
        begins = re.match(r"menuentry ['\"]([^']*)['\"](.*){", stripped)
        if stripped.startswith("set default=") and stripped == line.rstrip():
            default = stripped.split("=")[1]
            quoted = re.match(r"['\"](.*)['\"]$", default)
            default = quoted.group(1) if quoted else default
        elif stripped.startswith("set timeout=") and stripped == line.rstrip():
            timeout = _number(stripped.split("=")[1])
        elif stripped.startswith("serial"):
            match = re.match(r"serial --unit=(\d+) --speed=(\d+)", stripped)
            serial = (match.group(1), match.group(2)) if match else serial
        elif stripped.startswith("terminal_"):
            pass
        elif begins:  # in an entry that has not ended: the title is new, what was read stays
            entry = entry or Entry("", "")
            entry.title, entry.extra = begins.group(1), begins.group(2)
            if not between and not any("load_env" in each for each in lines):
                lines += _OVERRIDE
            between.append(lines)
            lines = []
        elif entry is None or not entry.title:
            lines.append(line.rstrip())
        elif stripped == "}":
            label = _label(entry.title, brand, len(order))
            order.append(label)
            entries[label] = entry
            entry = None
        else:
            entry.take(line)
    try:
        default = order[int(default)]
    except ValueError:
        pass
    except IndexError as error:
        raise Failed("IndexError: list index out of range") from error
    return Understood(entries, order, default, timeout, serial, between)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise Failed(f"ValueError: invalid literal for int() with base 10: {text!r}") from error


def _label(title: str, brand: str, number: int) -> str:
    if title == brand:
        return "xe"
    endings = {"(Serial)": "xe-serial", "Safe Mode": "safe", "upgrade": "upgrade"}
    for ending, label in endings.items():
        if title.endswith(ending):
            return label
    if " / " in title:
        return "fallback-serial" if "(Serial," in title else "fallback"
    return f"label{number}"


def written(found: Understood) -> str:
    lines: List[str] = []
    if found.serial:
        lines.append("serial --unit={} --speed={}".format(*found.serial))
        lines += ["terminal_input serial console", "terminal_output serial console"]
    if found.default in found.order:
        lines.append(f"set default={found.order.index(found.default)}")
    elif found.default:
        lines.append(f"set default='{found.default}'")
    if found.timeout:
        lines.append(f"set timeout={found.timeout}")
    for number, label in enumerate(found.order):
        lines += found.between[number] if number < len(found.between) else []
        lines += found.entries[label].written()
    return "".join(f"{line}\n" for line in lines)


def run(arguments: Sequence[str], text: str, brand: str) -> Tuple[str, Optional[str]]:
    """What it prints, and the new text where it writes one: `--get-xen`, `--set-dom0`, `--delete-xen` ... and
    the keys."""
    option, *words = arguments
    action, side = option[2:].split("-")
    found = understood(text, brand)
    if action != "get":
        _set(found, side, words, action == "set")
        return "", written(found)
    if found.default not in found.entries:
        raise Failed(f"KeyError: {found.default!r}")
    given = found.entries[found.default].words(side)
    return "\n".join(word for word in given for key in words if _matches(word, key)) + "\n", None


def _matches(word: str, key: str) -> bool:
    return word == key or word.startswith(f"{key}=")


def _set(found: Understood, side: str, words: List[str], append: bool) -> None:
    """Its fault: what is kept is asked of each key on its own, so with two keys every other option is kept
    twice."""
    keys = [word.split("=")[0] for word in words]
    for label in found.order:
        if label in ("xe", "xe-serial"):
            entry = found.entries[label]
            kept = [word for word in entry.words(side) for key in keys if not _matches(word, key)]
            entry.options[side] = " ".join([*kept, *(words if append else [])])
