"""Measuring: the floor, this tree and the other one in turn, again and again, and what that came to.

What is measured, and what the numbers mean, is for others to say.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

HERE = os.path.dirname(os.path.abspath(__file__))


class Sample(NamedTuple):
    """What one run took."""

    seconds: float
    cpu: Optional[float] = None  # seconds; as the next ones, of programs only
    peak_mib: Optional[float] = None
    processes: Optional[float] = None  # that it started
    read_mb: Optional[float] = None  # from xapi


Case = Callable[[], Sample]


class Effort(NamedTuple):
    """How often, and how long, a figure is measured."""

    fewest: int = 5  # rounds
    most: int = 60
    seconds: float = 5.0  # for these, then no more than the fewest
    at_most: float = 60.0  # and then not even these


class WentWrong(Exception):
    """What was to be measured did not do its work."""


class Launcher:
    """The process that starts the programs (launcher.py)."""

    def __init__(self, folder: str) -> None:
        self._output = os.path.join(folder, "output")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", os.path.join(HERE, "launcher.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def run(self, argv: Sequence[str], environment: Mapping[str, str]) -> Sample:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"argv": argv, "environment": environment, "output": self._output}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if answer["status"] != 0:
            said = (self.output() + self.output(".err")).strip().splitlines()[-3:]
            raise WentWrong(f"{argv[1:3]} ended with status {answer['status']}: {' '.join(said)}")
        return Sample(answer["seconds"], answer["cpu"], answer["peak_kib"] / 1024)

    def output(self, stream: str = "") -> str:
        """What the last program printed."""
        with open(self._output + stream, encoding="utf-8", errors="replace") as file:
            return file.read()

    def __enter__(self) -> "Launcher":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.communicate()


class Result(NamedTuple):
    """By name: how many times the floor's (`floor`) or the other tree's (`other`) time and CPU time; what is
    counted. None where there is no such number."""

    floor: Optional[float]
    floor_cpu: Optional[float]
    other: Optional[float]
    other_cpu: Optional[float]
    peak_mib: Optional[float]
    processes: Optional[float]
    read_mb: Optional[float]
    rounds: int


def in_turn(cases: Mapping[str, Case], effort: Effort) -> Result:
    """Runs `floor`, `this` and `other`, as far as they are there, one after the other, and each second time
    the other way round: a machine that is busy for a while slows all, and the ratios tell. The caller has run
    each once already: byte code and caches are there."""
    names = list(cases)
    rounds: List[Dict[str, Sample]] = []
    begun = time.monotonic()
    while _goes_on(len(rounds), time.monotonic() - begun, effort):
        order = names[:: -1 if len(rounds) % 2 else 1]
        rounds.append({name: cases[name]() for name in order})
    own = [one["this"] for one in rounds]
    return Result(
        floor=_ratio(rounds, "floor", "seconds"),
        floor_cpu=_ratio(rounds, "floor", "cpu"),
        other=_ratio(rounds, "other", "seconds"),
        other_cpu=_ratio(rounds, "other", "cpu"),
        peak_mib=max((one.peak_mib for one in own if one.peak_mib), default=None),
        processes=_median(own, "processes"),
        read_mb=_median(own, "read_mb"),
        rounds=len(rounds),
    )


def _goes_on(rounds: int, seconds: float, effort: Effort) -> bool:
    if rounds < effort.fewest:
        return rounds == 0 or seconds < effort.at_most
    return rounds < effort.most and seconds < effort.seconds


def _ratio(rounds: Sequence[Mapping[str, Sample]], to: str, what: str) -> Optional[float]:
    """The median of the ratios within each round."""
    pairs = [(getattr(one["this"], what), getattr(one[to], what)) for one in rounds if to in one]
    ratios = [this / other for this, other in pairs if this and other]
    return statistics.median(ratios) if ratios else None


def _median(samples: Sequence[Sample], what: str) -> Optional[float]:
    known = [getattr(one, what) for one in samples if getattr(one, what) is not None]
    return statistics.median(known) if known else None
