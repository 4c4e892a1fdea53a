"""INI text that people edit too: `[section]`, `key = value`, comments with `#` or `;`. A change keeps every
other line as it is; reading is strict, and an error names its line while the rest holds."""

from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from ..safetext import is_number

TRUE, FALSE = ("yes", "true", "on", "1"), ("no", "false", "off", "0")

_COMMENT = "#;"
_BOM = "\ufeff"  # what some editors begin a file with
_SHOWN = 80  # characters of a wrong line


class _Pair(NamedTuple):
    key: str
    value: str
    comment: str  # with the blank before it


def _pair(line: str) -> Optional[_Pair]:
    """`key = value # comment`, or None. Split by hand, for people below root write such text too: a pattern
    with two runs of blanks beside each other takes the cube of the time for a long one."""
    key, equals, rest = line.partition("=")
    key = key.strip()
    if not equals or not key or key[0] in _COMMENT or key[0] == "[":
        return None
    end = _end_of_value(rest)
    return _Pair(key, rest[:end].strip(), rest[end:])


def _end_of_value(rest: str) -> int:
    """Where the blank is that stands before a comment."""
    for at in range(1, len(rest) if any(mark in rest for mark in _COMMENT) else 0):
        if rest[at] in _COMMENT and rest[at - 1].isspace():
            return at - 1
    return len(rest)


def _heading(line: str) -> Optional[str]:
    """The name in `[name] # comment`, with the blanks around it; None for any other line."""
    name, bracket, rest = line.lstrip().partition("]")
    if not bracket or not name.startswith("[") or rest.lstrip()[:1] not in ("", *_COMMENT):
        return None
    return name[1:]


class Document(NamedTuple):
    """The lines of an INI file, and what they say. Values and keys are text."""

    lines: List[str]
    sections: Dict[str, Dict[str, str]]
    errors: List[str]  # a sentence for each line that says nothing; the rest of the file holds
    places: Dict[Tuple[str, str], int]  # the line of a section's key; of the section itself with key ""

    def get(self, section: str, key: str) -> Optional[str]:
        return self.sections.get(section, {}).get(key)


def parse(text: str) -> Document:
    """What the text says. A byte order mark is no part of any line, for nobody who reads `lines`."""
    lines = text[:-1].split("\n") if text.endswith("\n") else text.split("\n") if text else []
    return _understood([line.lstrip(_BOM) for line in lines])


def _understood(lines: List[str]) -> Document:
    sections: Dict[str, Dict[str, str]] = {}
    places: Dict[Tuple[str, str], int] = {}
    errors: List[str] = []
    name: Optional[str] = None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip()[0] in _COMMENT:
            continue
        heading = _heading(line)
        pair = _pair(line) if heading is None else None
        if heading is not None:
            name = heading.strip()
            if name in sections:
                errors.append(f"line {number}: a second section [{name}]; both count")
            sections.setdefault(name, {})
            places.setdefault((name, ""), number)
        elif pair and name is not None:
            if pair.key in sections[name]:
                errors.append(f"line {number}: `{pair.key[:_SHOWN]}` is given twice; the last one counts")
            sections[name][pair.key] = pair.value
            places[name, pair.key] = number
        elif pair:
            errors.append(f"line {number}: `{line.strip()[:_SHOWN]}` stands before the first [section]")
        else:
            errors.append(f"line {number}: `{line.strip()[:_SHOWN]}` is neither [section] nor key = value")
    return Document(lines, sections, errors, places)


def changed(document: Document, section: str, values: Dict[str, Optional[str]]) -> Document:
    """The document with some keys of a section set, or taken out (None); all else stays.

    A section that becomes empty goes, unless comments of the user's are in it.
    """
    lines = list(document.lines)
    for key, value in values.items():
        lines = _with(lines, section, key, value)
    return _understood(lines)


def renamed(document: Document, names: Mapping[str, str]) -> Document:
    """The document with other names (old -> new) of some sections; all else stays."""
    lines = []
    for line in document.lines:
        heading = _heading(line)
        new = None if heading is None else names.get(heading.strip())
        lines.append(line if heading is None or new is None else line.replace(heading, new, 1))
    return _understood(lines)


def without(document: Document, section: str) -> Document:
    """The document without the keys of a section."""
    return changed(document, section, dict.fromkeys(document.sections.get(section, {})))


def put_back(document: Document, before: Document, sections: Iterable[str]) -> Document:
    """The document with the keys of some sections as they were before; all else as it is now. Those that
    it has not are added at once, in the time that it takes to write them."""
    added: List[str] = []
    for section in sections:
        was = before.sections.get(section, {})
        now = document.sections.get(section)
        if now is None:
            added += ["", f"[{section}]", *(_line(*pair) for pair in was.items())] if was else []
        elif was != now:
            values: Dict[str, Optional[str]] = {**dict.fromkeys(now), **was}
            document = changed(document, section, values)
    return _understood(_trimmed(document.lines) + added[0 if document.lines else 1 :]) if added else document


def _line(key: str, value: str) -> str:
    return f"{key} = {value}".rstrip()


def _with(lines: List[str], section: str, key: str, value: Optional[str]) -> List[str]:
    start = end = None  # the lines below the section's heading
    places = []  # of the key in it
    inside = False
    for number, line in enumerate(lines):
        heading = _heading(line)
        if heading is not None:
            inside = heading.strip() == section
            start = number + 1 if inside and start is None else start
        elif inside:
            pair = _pair(line)
            places += [number] if pair and pair.key == key else []
        if inside and line.strip():
            end = number + 1
    if value is None:
        kept = [line for number, line in enumerate(lines) if number not in places]
        return _without_empty(kept, section)
    text = _line(key, value)
    if places:
        before = _pair(lines[places[-1]])
        text += before.comment if before else ""
        return lines[: places[-1]] + [text] + lines[places[-1] + 1 :]
    if start is None or end is None:
        return lines + ([""] if lines and lines[-1].strip() else []) + [f"[{section}]", text]
    return lines[:end] + [text] + lines[end:]


def _without_empty(lines: List[str], section: str) -> List[str]:
    for number, line in enumerate(lines):
        heading = _heading(line)
        if heading is not None and heading.strip() == section:
            if not line.rstrip().endswith("]"):
                return lines  # somebody wrote a comment there
            rest = lines[number + 1 :]
            until = next((n for n, below in enumerate(rest) if _heading(below) is not None), len(rest))
            if any(below.strip() for below in rest[:until]):
                return lines
            return _trimmed(lines[:number]) + ([""] if rest[until:] and number else []) + rest[until:]
    return lines


def _trimmed(lines: List[str]) -> List[str]:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines


def number(text: Optional[str]) -> Optional[int]:
    """A whole number, or None for anything else."""
    return int(text) if text is not None and is_number(text) and len(text) <= 9 else None


def boolean(text: Optional[str]) -> Optional[bool]:
    """`yes`/`no` and the like; None for anything else."""
    word = (text or "").lower()
    return True if word in TRUE else False if word in FALSE else None
