"""The archives of rrd_archive.py against what xcp-rrdd's own rrd.ml gave (xen-api e2ee48d688, compiled by
itself; v25.33.1 gives the same): a plugin's reading half a second before rrdd's, every five seconds."""

import math
from typing import List

import pytest
from rrd_archive import Gauge

BEGUN = 1_700_000_000.0
LEAD = 0.5
KNOWN = 1000.0

# Seconds after a step at which rrdd reads; readings: `k` is known, `o` out of range, `m` missing; what rrd.ml
# then has of five seconds each, `k` or 0, and of the last two minutes.
RECORDED = [
    (2.0, "kkkkkkmmmmkkkkkkkkkkkkkkkk", "kkkkkkk000kkkkkkkkkkkkkkkk", [583.333, 916.667]),
    (2.0, "kkkkkkookkkkkkookkkkkkkkkkkk", "kkkkkk00kkkkkk00kkkkkkkkkkkk", [726.19, 916.667]),
    (2.0, "kkkkkkkkkkkkooooooookkkkkkkk", "kkkkkkkkkkkk00000000kkkkkkkk", [750, math.nan]),
    (2.0, "kkkkkkkkmmmmmmmmmmmmmmmmmmmmmmmmmmmm", "kkkkkkkkk000000000000000000000000000", [0, 0]),
    (
        2.0,
        "kkkkkkkkoooooooooooooooooooooooooooo",
        "kkkkkkkk0000000000000000000000000000",
        [math.nan, math.nan],
    ),
    (0.3, "kkkkkkmmmmkkkkkkkkkkkkkkkk", "kkkkkkkk000kkkkkkkkkkkkkkk", [666.667, 916.667]),
    (0.3, "kkkkkkookkkkkkookkkkkkkkkkkk", "kkkkkk00kkkkkk00kkkkkkkkkkkk", [791.667, 900]),
    (0.3, "kkkkkkkkkkkkooooooookkkkkkkk", "kkkkkkkkkkkk00000000kkkkkkkk", [833.333, math.nan]),
    (0.3, "kkkkkkkkmmmmmmmmmmmmmmmmmmmmmmmmmmmm", "kkkkkkkkk000000000000000000000000000", [0, 0]),
    (
        0.3,
        "kkkkkkkkoooooooooooooooooooooooooooo",
        "kkkkkkkk0000000000000000000000000000",
        [math.nan, math.nan],
    ),
]


@pytest.mark.parametrize(("phase", "readings", "seconds", "minutes"), RECORDED)
def test_as_rrd_ml(phase: float, readings: str, seconds: str, minutes: List[float]) -> None:
    gauge = Gauge(0.0, math.inf, BEGUN + phase - 5 - LEAD)
    for place, kind in enumerate(readings):
        now = BEGUN + phase + 5 * place
        if kind == "m":
            gauge.update(None, now)
        else:
            gauge.update(KNOWN if kind == "k" else -1.0, now - LEAD)
    assert gauge.seconds.values[-len(seconds) :] == [KNOWN if one == "k" else 0.0 for one in seconds]
    assert gauge.minutes.values[-2:] == pytest.approx(minutes, rel=1e-5, nan_ok=True)
