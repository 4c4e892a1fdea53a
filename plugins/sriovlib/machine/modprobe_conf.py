"""What modprobe gives a module's parameter, and which line does: modprobe.d as kmod reads it.

kmod (libkmod-config.c; seen with version 30): the files of all folders by their names, of two with one name
the first folder's; a line goes on behind a backslash, a comment too; then the kernel's command line. All that
is found is passed, and the kernel takes the last of two alike (kernel/params.c). `-` and `_` are one letter.
"""

import re
from typing import Iterator, List, Mapping, NamedTuple, Tuple

from ..errors import SriovError
from .host import Host

FOLDERS = (
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
)
COMMAND_LINE = "/proc/cmdline"

_LINE = re.compile(r"(?:\\[\s\S]|[^\n])+")  # `\\` is a backslash that continues nothing
_WORD = re.compile(r'(?:\\\n|"[^"\n]*"|\S)+')


class Setting(NamedTuple):
    """One place that gives the parameter a value. `start` and `end` are those of the value in the text."""

    path: str
    line: int
    command: str  # options, or install: a command that modprobe runs in its stead
    value: str
    start: int
    end: int

    @property
    def place(self) -> str:
        if self.path == COMMAND_LINE:
            return "the dom0 kernel's command line"
        return f"line {self.line} of {self.path}"


def in_text(text: str, path: str, module: str, parameter: str) -> List[Setting]:
    """The settings in a file's text, in their order."""
    found = []
    for line in _LINE.finditer(text):
        words = list(_words(line))
        command = words[0][0] if words else ""
        if command in ("options", "install") and len(words) > 2 and _same(words[1][0], module):
            number = text.count("\n", 0, line.start()) + 1
            for word, start, end in words[2:]:
                name, equals, value = word.strip('"').partition("=")
                if equals and _same(name, parameter):
                    begin = start + text[start:end].index("=") + 1
                    found.append(Setting(path, number, command, value.strip('"'), begin, end))
    return found


def _words(line: "re.Match[str]") -> Iterator[Tuple[str, int, int]]:
    """The words of a line, and where they are in the whole text."""
    for word in _WORD.finditer(line.group()):
        yield word.group().replace("\\\n", ""), line.start() + word.start(), line.start() + word.end()


def _same(one: str, other: str) -> bool:
    return one.replace("-", "_") == other.replace("-", "_")


def settings(host: Host, module: str, parameter: str, texts: Mapping[str, str]) -> List[Setting]:
    """All places that give the parameter a value, in the order in which the kernel sees them: the last one
    counts. `texts` are files as they are going to be."""
    found: List[Setting] = []
    for path in _files(host, texts):
        text = texts[path] if path in texts else read(host, path)
        found += in_text(text, path, module, parameter)
    # A command in the place of loading runs modprobe itself, and what it gives comes behind all else.
    found.sort(key=lambda setting: setting.command == "install")
    own = [setting for setting in found if setting.command == "install"]
    return found[: len(found) - len(own)] + _of_command_line(host, module, parameter) + own


def _files(host: Host, texts: Mapping[str, str]) -> List[str]:
    paths = {path.rsplit("/", 1)[1]: path for path in texts}
    for folder in FOLDERS:
        for name in _names(host, folder):
            if name.endswith((".conf", ".alias")) and not name.startswith("."):
                paths.setdefault(name, f"{folder}/{name}")
    return [paths[name] for name in sorted(paths)]


def _names(host: Host, folder: str) -> List[str]:
    try:
        return host.listing(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unknown(folder, error) from error


def read(host: Host, path: str) -> str:
    """The text of a file, "" where there is none; one that cannot be read may say anything:
    `SRIOV_BOOT_CONFIG`."""
    try:
        return host.read_bytes(path).decode("utf-8", "surrogateescape")
    except (FileNotFoundError, IsADirectoryError):
        return ""
    except OSError as error:
        raise _unknown(path, error) from error


def _unknown(path: str, error: OSError) -> SriovError:
    return SriovError(
        "SRIOV_BOOT_CONFIG",
        f"{path} cannot be read ({error.strerror}), so the options that it gives drivers are not known.",
        "Correct or remove it, then call again.",
    )


def _of_command_line(host: Host, module: str, parameter: str) -> List[Setting]:
    text = host.text(COMMAND_LINE) or ""
    found = []
    for word in _WORD.finditer(text):
        owner, dot, rest = word.group().strip('"').partition(".")
        name, equals, value = rest.partition("=")
        if dot and equals and _same(owner, module) and _same(name, parameter):
            start = word.start() + word.group().index("=") + 1
            found.append(Setting(COMMAND_LINE, 1, "", value.strip('"'), start, word.end()))
    return found
