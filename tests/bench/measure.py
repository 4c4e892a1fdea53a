"""Measuring: one program or call at a time, all in turn, until the time for it is used up.

What is measured, and what the numbers mean, is for others to say.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))
FEWEST, MOST = 5, 60  # rounds, where measuring has its time


class Sample(NamedTuple):
    seconds: float
    cpu: Optional[float] = None  # seconds; as the next one, of programs only
    peak_mib: Optional[float] = None


Case = Callable[[], Sample]
Pair = Tuple[Sample, Sample]  # the floor, a case


class Result(NamedTuple):
    """What the rounds came to, for one case."""

    median: float
    shortest: float
    longest: float
    ratio: float  # to the last run of the floor before: the median of these
    cpu_ratio: Optional[float]  # the same of CPU time, which hardly depends on what else is running
    peak_mib: Optional[float]
    runs: int


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
            raise WentWrong(f"{argv[:2]} ended with status {answer['status']}: {self.output()[:2000]}")
        return Sample(answer["seconds"], answer["cpu"], answer["peak_kib"] / 1024)

    def output(self) -> str:
        """What the last program printed."""
        with open(self._output, encoding="utf-8") as file:
            return file.read()

    def __enter__(self) -> "Launcher":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.communicate()


def in_turn(
    floor: Case, cases: Mapping[str, Case], seconds: float, fewest: int = FEWEST
) -> Tuple[Result, Dict[str, Result]]:
    """Runs one case after the other, again and again, and the floor before every other one: a machine
    that is busy for a while slows both, and their ratio tells. The caller has run each once already:
    byte code and caches are there."""
    floors: List[Sample] = []
    pairs: Dict[str, List[Pair]] = {name: [] for name in cases}
    end = time.monotonic() + seconds
    rounds = 0
    while rounds < fewest or (time.monotonic() < end and rounds < MOST):
        rounds += 1
        for number, (name, case) in enumerate(cases.items()):
            if number % 2 == 0:
                floors.append(floor())
            pairs[name].append((floors[-1], case()))
    return _result([(one, one) for one in floors]), {name: _result(pairs[name]) for name in cases}


def _result(pairs: Sequence[Pair]) -> Result:
    seconds = [sample.seconds for _, sample in pairs]
    cpu = [sample.cpu / floor.cpu for floor, sample in pairs if sample.cpu and floor.cpu]
    return Result(
        median=statistics.median(seconds),
        shortest=min(seconds),
        longest=max(seconds),
        ratio=statistics.median(sample.seconds / floor.seconds for floor, sample in pairs),
        cpu_ratio=statistics.median(cpu) if cpu else None,
        peak_mib=max((sample.peak_mib for _, sample in pairs if sample.peak_mib), default=None),
        runs=len(pairs),
    )
