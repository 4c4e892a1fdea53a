"""What xcp-rrdd records of a gauge (xen-api of August 2026: ocaml/libs/xapi-rrd/lib/rrd.ml,
ds_update, rra_update, do_cfs; ocaml/xcp-rrdd/bin/rrdd/rrdd_monitor.ml). Held against numbers that its own
rrd.ml gave (test_rrd_archive.py).

It has no way to record "unknown" in the archive of five seconds: a gauge that is missing there is its last
value for one or two steps, and then 0; one out of its range is 0. In longer archives what is missing is 0 as
well; a time of which more than half is out of range is unknown.
"""

import math
from typing import List, Optional

STEP = 5
TOO_OLD = 300.0  # seconds between two updates
SHARE = 0.5  # of steps that may be unknown


class Ring:
    """The averages of so many steps each, the last one last; NaN: unknown."""

    def __init__(self, steps: int, begun: float) -> None:
        self.values: List[float] = []
        self._steps = steps
        self._average, self._unknown = 0.0, int(begun // STEP) % steps

    def push(self, first: int, steps: int, value: float) -> None:
        """`value` is that of some steps, from the step with the number `first` on."""
        to_end = self._steps - first % self._steps
        self._take(min(to_end, steps), value)
        if steps >= to_end:
            is_known = self._unknown <= int(SHARE * self._steps)
            self.values.append(self._average if is_known else math.nan)
            self.values += [value] * ((steps - to_end) // self._steps)
            self._average, self._unknown = 0.0, 0
            self._take((steps - to_end) % self._steps, value)

    def _take(self, steps: int, value: float) -> None:
        if not math.isnan(value):
            self._average += value * steps / self._steps
            return
        known = self._steps - self._unknown
        if known > steps:  # else, as rrdd has it, nothing is noted of the unknown
            self._average *= known / (known - steps)
            self._unknown += steps


class Gauge:
    def __init__(self, least: float, most: float, begun: float) -> None:
        self._range = least, most
        self._value = 0.0
        self._updated = begun
        self.seconds, self.minutes = Ring(1, begun), Ring(60 // STEP, begun)

    def update(self, value: Optional[float], at: float) -> None:
        """None: it was missing in the reading."""
        first, last = int(self._updated // STEP), int(at // STEP)
        is_too_old, self._updated = at - self._updated > TOO_OLD, at
        is_told = value is not None and not is_too_old and not math.isnan(value)
        if value is not None and is_told:
            self._value = value
        if last > first:
            least, most = self._range
            is_known = not is_too_old and least <= self._value <= most
            for ring in (self.seconds, self.minutes):
                ring.push(first, last - first, self._value if is_known else math.nan)
            if not is_told:
                self._value = 0.0
