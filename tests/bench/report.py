"""The one table: a line a figure, size and Python."""

from typing import Dict, List, NamedTuple, Optional, Sequence

from bench.figures import FLOOR, OTHER, PEAK, READ, Figure, Target
from bench.measure import Result
from bench.measured_host import Size

UNITS = {FLOOR: "x floor", PEAK: "MiB", READ: "MB"}
COLUMNS = (  # of a Result, and with how many digits
    ("floor", 2),
    ("floor_cpu", 2),
    ("other", 2),
    ("other_cpu", 2),
    ("peak_mib", 1),
    ("processes", 0),
    ("read_mb", 2),
)
NOTHING = Result(None, None, None, None, None, None, None, 0)
LONGEST = 200  # of a reason


class Row(NamedTuple):
    figure: Figure
    size: Size
    python: str
    result: Optional[Result]
    why: Dict[str, str]  # why `this`, or the `other` tree, has no number
    missing: bool = False  # it is the Python that is not there

    @property
    def told(self) -> str:
        return self.size.told(self.figure.by)


class Table:
    """Why something has no number stands below it."""

    def __init__(self, against: Optional[str]) -> None:
        self._against = against
        self._notes: List[str] = []

    def lines(self, rows: Sequence[Row], markdown: bool) -> List[str]:
        other = f"x {self._against or 'COMMIT'}"
        head = ["figure", "size", "Python", "x floor", "CPU", other, "CPU", "MiB", "processes", "MB read"]
        cells = [[*head, "target", "met"], *map(self._cells, rows)]
        floors = {row.figure.name: row.figure.beside for row in rows if row.figure.beside}
        told = [f"The floor of `{name}` is {beside}." for name, beside in floors.items()]
        notes = [f"({number}) {note}" for number, note in enumerate(self._notes, 1)]
        start = "- " if markdown else ""
        return [*_lines(cells, markdown), "", *(start + text for text in (*told, *notes))]

    def _cells(self, row: Row) -> List[str]:
        targets = [target for target in row.figure.targets if target.size == row.size]
        result = row.result or NOTHING
        shown = [_number(getattr(result, name), digits) for name, digits in COLUMNS]
        if row.result is None:
            shown[0] = self._not(row.why["this"])
        elif self._against and result.other is None:
            shown[2] = self._not(row.why.get("other", "it has no number"))
        met = [self._met(target, row) for target in targets]
        return [
            row.figure.name,
            row.told,
            row.python,
            *shown,
            ", ".join(self._target(target) for target in targets),
            ", ".join(met),
        ]

    def _target(self, target: Target) -> str:
        unit = f"x {self._against or 'COMMIT'}" if target.of == OTHER else UNITS[target.of]
        return f"<= {target.at_most:g} {unit}"

    def _met(self, target: Target, row: Row) -> str:
        number = getattr(row.result, target.of, None)
        if number is not None:
            return "yes" if number <= target.at_most else "no"
        if row.result is None:
            return self._not(row.why["this"])
        return self._not(row.why.get("other", "it takes --against COMMIT"))

    def _not(self, why: str) -> str:
        note = " ".join(why.split())[:LONGEST]
        if note not in self._notes:
            self._notes.append(note)
        return f"not measured ({self._notes.index(note) + 1})"


def _number(number: Optional[float], digits: int) -> str:
    """With digits that say something, where it is small."""
    if number is None:
        return ""
    return f"{number:,.{digits}f}" if number >= 0.1 or not number else f"{number:.{digits}g}"


def _lines(rows: Sequence[Sequence[str]], markdown: bool) -> List[str]:
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def progress(row: Row) -> str:
    """A line for whoever waits."""
    if row.result is None:
        return f"{row.figure.name}, {row.told}, Python {row.python}: {row.why['this'][:LONGEST]}"
    floor, other = _number(row.result.floor, 2), _number(row.result.other, 2)
    times = f"{floor} x floor" + (f", {other} x the commit" if other else "")
    return f"{row.figure.name}, {row.told}, Python {row.python}: {times} ({row.result.rounds} rounds)"
