"""`/etc/sriov.conf`: what this host is meant to be, kept over reboots; read and edited by people too.

INI: `[section]`, `key = value`, comments with `#` or `;`. A change keeps every other line as it is.

    [host]
    # load pciback at each boot
    pciback = yes

    [xen before enable_iommu]
    # a boot entry = the IOMMU options that it had (empty: none); disable_iommu puts them back
    xe = iommu=0
"""

import re
from typing import Dict, List, NamedTuple, Optional

from .errors import SriovError
from .host import Host

PATH = "/etc/sriov.conf"
TRUE, FALSE = ("yes", "true", "on", "1"), ("no", "false", "off", "0")

_SECTION = re.compile(r"\s*\[([^\]]*)\]\s*(?:[#;].*)?")
_KEY = re.compile(r"\s*([^\s=#;\[][^=]*?)\s*=\s*(.*?)\s*")


class Document(NamedTuple):
    """The lines of an INI file, and what they say. Values and keys are text."""

    lines: List[str]
    sections: Dict[str, Dict[str, str]]
    errors: List[str]  # a sentence for each line that says nothing; the rest of the file holds

    def get(self, section: str, key: str) -> Optional[str]:
        return self.sections.get(section, {}).get(key)


def parse(text: str) -> Document:
    lines = text.splitlines()
    sections: Dict[str, Dict[str, str]] = {}
    errors: List[str] = []
    section: Optional[Dict[str, str]] = None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        heading, pair = _SECTION.fullmatch(line), _KEY.fullmatch(line)
        if heading:
            name = heading.group(1).strip()
            if name in sections:
                errors.append(f"line {number}: a second section [{name}]; both count")
            section = sections.setdefault(name, {})
        elif pair and section is not None:
            if pair.group(1) in section:
                errors.append(f"line {number}: `{pair.group(1)}` is given twice; the last one counts")
            section[pair.group(1)] = pair.group(2)
        elif pair:
            errors.append(f"line {number}: `{line.strip()}` stands before the first [section]")
        else:
            errors.append(f"line {number}: `{line.strip()}` is neither [section] nor key = value")
    return Document(lines, sections, errors)


def changed(document: Document, section: str, values: Dict[str, Optional[str]]) -> Document:
    """The document with some keys of a section set, or taken out (None); all else stays.

    A section that becomes empty goes, unless comments of the user's are in it.
    """
    lines = list(document.lines)
    for key, value in values.items():
        lines = _with(lines, section, key, value)
    return parse("\n".join(lines))


def _with(lines: List[str], section: str, key: str, value: Optional[str]) -> List[str]:
    start = end = None  # the lines below the section's heading
    places = []  # of the key in it
    inside = False
    for number, line in enumerate(lines):
        heading = _SECTION.fullmatch(line)
        if heading:
            inside = heading.group(1).strip() == section
            start = number + 1 if inside and start is None else start
        elif inside:
            pair = _KEY.fullmatch(line)
            places += [number] if pair and pair.group(1) == key else []
        if inside and line.strip():
            end = number + 1
    if value is None:
        kept = [line for number, line in enumerate(lines) if number not in places]
        return _without_empty(kept, section)
    text = f"{key} = {value}".rstrip()
    if places:
        return lines[: places[-1]] + [text] + lines[places[-1] + 1 :]
    if start is None or end is None:
        return lines + ([""] if lines and lines[-1].strip() else []) + [f"[{section}]", text]
    return lines[:end] + [text] + lines[end:]


def _without_empty(lines: List[str], section: str) -> List[str]:
    for number, line in enumerate(lines):
        heading = _SECTION.fullmatch(line)
        if heading and heading.group(1).strip() == section:
            rest = lines[number + 1 :]
            until = next((n for n, below in enumerate(rest) if _SECTION.fullmatch(below)), len(rest))
            if any(below.strip() for below in rest[:until]):
                return lines
            return _trimmed(lines[:number]) + ([""] if rest[until:] and number else []) + rest[until:]
    return lines


def _trimmed(lines: List[str]) -> List[str]:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines


def read(host: Host) -> Document:
    """The file; an empty document where there is none."""
    return parse(host.text(PATH) or "")


def write(host: Host, document: Document) -> None:
    """Replaces the file, whole or not at all; one that would be empty goes. The caller holds the
    lock `config`."""
    try:
        if not document.lines:
            host.remove_file(PATH)
            return
        host.replace_file(PATH, ("\n".join(document.lines) + "\n").encode())
    except OSError as error:
        raise SriovError(
            "SRIOV_CONFIG_NOT_WRITTEN",
            f"{PATH} could not be written: {error.strerror}.",
            "Make room or make it writable, then call again; nothing was changed.",
        ) from error


def number(text: Optional[str]) -> Optional[int]:
    """A whole number, or None for anything else."""
    return int(text) if text is not None and text.isdigit() else None


def boolean(text: Optional[str]) -> Optional[bool]:
    """`yes`/`no` and the like; None for anything else."""
    word = (text or "").lower()
    return True if word in TRUE else False if word in FALSE else None
