"""What the measurements came to, as tables for people and as a file that a later run can be held against."""

import json
import os
from typing import Any, Dict, List, Mapping, Optional, Tuple

from bench.measure import Result

Results = Dict[str, Dict[str, Result]]  # version of Python -> case -> result

# Case -> at most so many times the floor, at most so many MiB.
AIMS: Dict[str, Tuple[Optional[float], float]] = {
    "inventory, 0 VFs": (None, 40),
    "inventory, 126 VFs": (1.3, 40),
    "inventory, 1,024 VFs": (2.0, 40),
}
WORTH_A_WORD = 0.1  # of a ratio, between two runs


def table(results: Mapping[str, Result]) -> List[str]:
    """A line a case."""
    width = max(len(case) for case in results)
    lines = [f"{'':{width}}    median       min - max      x floor  CPU x floor  peak MiB  runs"]
    for case, result in results.items():
        line = f"{case:{width}}  {_ms(result.median)}  {_ms(result.shortest)} -{_ms(result.longest)}"
        line += f"  {result.ratio:7.2f}  {_known(result.cpu_ratio, 11, 2)}  {_known(result.peak_mib, 8, 1)}"
        lines.append(f"{line}  {result.runs:4}  {verdict(case, result)}".rstrip())
    return lines


def _known(number: Optional[float], width: int, digits: int) -> str:
    return " " * width if number is None else f"{number:{width}.{digits}f}"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:5.0f} ms"


def verdict(case: str, result: Result) -> str:
    """The aims of a case, and whether they are met; nothing for a case without."""
    times, peak = AIMS.get(case, (None, None))
    parts = [] if times is None else [f"<= {times:g} x: {_met(result.ratio <= times)}"]
    if peak is not None and result.peak_mib is not None:
        parts.append(f"<= {peak:g} MiB: {_met(result.peak_mib <= peak)}")
    return ", ".join(parts)


def _met(aim: bool) -> str:
    return "met" if aim else "MISSED"


def save(path: str, results: Results) -> None:
    plain = {
        version: {case: one._asdict() for case, one in cases.items()} for version, cases in results.items()
    }
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(plain, file, indent=1)


def load(path: str) -> Results:
    with open(path, encoding="utf-8") as file:
        plain: Dict[str, Dict[str, Any]] = json.load(file)
    return {version: {case: Result(**one) for case, one in cases.items()} for version, cases in plain.items()}


def differences(before: Results, after: Results) -> List[str]:
    """Which programs became better or worse: in CPU time, in times of the floor of the same run."""
    lines = []
    for version in sorted(set(before) & set(after)):
        for case, result in after[version].items():
            then = before[version][case].cpu_ratio if case in before[version] else None
            now = result.cpu_ratio
            if then and now and abs(now - then) > WORTH_A_WORD * then:
                word = "better" if now < then else "WORSE"
                lines.append(f"Python {version}, {case}: {then:.2f} -> {now:.2f} x floor (CPU), {word}")
    return lines or [f"nothing became better or worse by more than {WORTH_A_WORD:.0%}"]
