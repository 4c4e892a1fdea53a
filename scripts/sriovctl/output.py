"""Data on standard output: a table, or JSON, YAML, CSV, names.

A table has one row an object, its name first, and no blank in a cell, so that awk and cut can read it; what
a program must have exactly is in JSON and YAML, whose keys are the plugin's.
"""

import csv
import io
import json
import re
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from sriovlib.safetext import safe

from . import shown
from .errors import Usage

Record = Dict[str, Any]
FORMATS = ("wide", "json", "yaml", "name", "csv")
_GAP = "  "
_NARROWEST = 6  # of a column that is cut to fit a terminal
_PLAIN_KEY = re.compile("(?!(?:y|n|yes|no|on|off|true|false|null)$)[a-z_][a-z0-9_-]*$")


def _plain(_record: Record) -> str:
    return ""


class Column(NamedTuple):
    """`cell` and `style` take the record. A wide column is shown with -o wide and csv only. Styles are
    `good`, `warn`, `bad` and `dim`."""

    name: str
    cell: Callable[[Record], Any]
    wide: bool = False
    style: Callable[[Record], str] = _plain


def by_key(name: str, key: str, wide: bool = False, style: Callable[[Record], str] = _plain) -> Column:
    """The column that shows a value of the record as it is."""
    return Column(name, lambda record: record.get(key), wide, style)


class Form(NamedTuple):
    """How records are shown. `width` is the terminal's, None where nobody looks at one."""

    format: Optional[str] = None
    columns: Sequence[str] = ()
    headers: bool = True
    width: Optional[int] = None
    paint: Callable[[str, str], str] = lambda text, _style: text


def text(records: Sequence[Record], columns: Sequence[Column], form: Form) -> str:
    """All of the output, with its line break; of no records nothing but what a format needs."""
    if form.format == "json":
        return json.dumps(records, indent=2, ensure_ascii=True) + "\n"
    if form.format == "yaml":
        return "".join(f"{line}\n" for line in yaml_lines(list(records)))
    if form.format == "name":
        return "".join(f"{cell(columns[0].cell(record))}\n" for record in records)
    chosen = _chosen(columns, form)
    if form.format == "csv":
        return _csv(records, chosen, form.headers)
    return _table(records, chosen, form) if records else ""


def check(columns: Sequence[Column], names: Sequence[str]) -> None:
    """Raises Usage where one of these names is no column's; without columns there is no table."""
    if names and not columns:
        raise Usage("There is no table here that could have columns.", "Leave --columns out.")
    _chosen(columns, Form(columns=names))


def _chosen(columns: Sequence[Column], form: Form) -> List[Column]:
    if not form.columns:
        return [column for column in columns if form.format in ("wide", "csv") or not column.wide]
    by_name = {column.name: column for column in columns}
    names = [name.strip().upper() for name in form.columns]
    for name in names:
        if name not in by_name:
            raise Usage(f"There is no column {name} here.", f"There are {', '.join(by_name)}.")
    return [by_name[name] for name in names]


def cell(value: Any) -> str:
    """One cell: `-` for what is not known, `yes` and `no`, lists with commas, `_` for blanks."""
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ",".join(map(cell, value))
    return re.sub(r"\s", "_", shown.sentence(str(value)))


def _table(records: Sequence[Record], columns: Sequence[Column], form: Form) -> str:
    rows = [[cell(column.cell(record)) for column in columns] for record in records]
    if form.headers:
        rows.insert(0, [column.name for column in columns])
    widths = _fitted([max(map(len, column)) for column in zip(*rows)], form.width)
    styles = [[column.style(record) for column in columns] for record in records]
    if form.headers:
        styles.insert(0, ["head"] * len(columns))
    lines = []
    for row, its_styles in zip(rows, styles):
        cells = [
            form.paint(shortened(value, width), style) + " " * max(width - len(value), 0)
            for value, width, style in zip(row, widths, its_styles)
        ]
        lines.append(_GAP.join(cells).rstrip())
    return "\n".join(lines) + "\n"


def _fitted(widths: List[int], width: Optional[int]) -> List[int]:
    """The columns' widths, the widest ones cut until a row fits the terminal."""
    while width is not None and sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        widest = widths.index(max(widths))
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths


def shortened(value: str, width: int) -> str:
    return value if len(value) <= width else value[: width - 1] + "\u2026"


def _csv(records: Sequence[Record], columns: Sequence[Column], headers: bool) -> str:
    """As RFC 4180 writes it, with blanks as they are; empty for what is not known."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    if headers:
        writer.writerow([column.name for column in columns])
    for record in records:
        writer.writerow([_csv_value(column.cell(record)) for column in columns])
    return file.getvalue()


def _csv_value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "" if value is None else cell(value)
    if isinstance(value, (list, tuple)):
        return ",".join(map(_csv_value, value))
    return shown.lines(str(value))


def yaml_lines(value: Any) -> Iterator[str]:
    """A JSON value as block YAML; strings quoted as in JSON, which YAML 1.2 reads alike."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _below(f"{key if _PLAIN_KEY.match(key) else _scalar(key)}:", item)
    elif isinstance(value, list) and value:
        for item in value:
            if isinstance(item, (dict, list)) and item:
                first, *others = yaml_lines(item)
                yield f"- {first}"
                yield from (f"  {line}" for line in others)
            else:
                yield f"- {_scalar(item)}"
    else:
        yield _scalar(value)


def _below(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, (dict, list)) and value:
        yield key
        yield from (f"  {line}" for line in yaml_lines(value))
    else:
        yield f"{key} {_scalar(value)}"


def _scalar(value: Any) -> str:
    """JSON's escapes for characters beyond the first plane are two that YAML takes one by one, so these stand
    as they are; line ends that only Unicode knows would be folded, and marks that turn the direction of text
    would show another value than there is."""
    written = json.dumps(safe(value) if isinstance(value, str) else value, ensure_ascii=False)
    return re.sub(f"[\u0085\u2028\u2029{shown.TURNS}]", lambda found: f"\\u{ord(found.group()):04x}", written)
