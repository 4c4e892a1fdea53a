"""What a VF is said to have carried: never more than its holder did, and nothing where that is unknown."""

from typing import Dict, List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sriovlib.machine.vf_counters import Counters
from sriovlib.machine.xenstore_watch import ALL
from sriovlib.traffic import rates
from sriovlib.traffic.rates import Carried, Holder, Reading

VF = "0000:07:10.0"
WEB, MAIL = Holder("11111111-2222-4333-8444-555555555555", 3, 1), Holder("66666666", 4, 1)


def reading(at: float, rx: int, holder: Holder = WEB, port: int = 4) -> Reading:
    return Reading(holder, port, at, Counters(rx, 7, rx // 100, 1, 0, 0))


def carried(before: Reading, now: Reading) -> Optional[Carried]:
    return rates.between({VF: before}, {VF: now}).get(VF)


def test_what_is_more_than_before() -> None:
    before = Reading(WEB, 4, 100.0, Counters(1000, 500, 10, 5, 4, 2))
    now = Reading(WEB, 4, 105.0, Counters(51000, 1000, 60, 10, 9, 2))
    assert carried(before, now) == Carried(WEB, Counters(50000, 500, 50, 5, 5, 0), 5.0)


def test_a_vf_that_carries_nothing() -> None:
    assert carried(reading(100, 5), reading(105, 5)) == Carried(WEB, Counters(0, 0, 0, 0, 0, 0), 5.0)


def test_a_first_reading_says_nothing() -> None:
    assert rates.between({}, {VF: reading(100, 5)}) == {}


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(reading(105, 900), id="a counter has gone backwards"),
        pytest.param(Reading(WEB, 4, 105, Counters(9000, 7, 3, 1, 0, 0)), id="one of them has"),
        pytest.param(reading(105, 9000, MAIL), id="another VM has it"),
        pytest.param(reading(105, 9000, WEB._replace(domid=8)), id="the VM has rebooted"),
        pytest.param(reading(105, 9000, WEB._replace(request=2)), id="it is of another request"),
        pytest.param(reading(105, 9000, port=9), id="the driver was loaded again"),
        pytest.param(reading(100, 9000), id="no time has passed"),
        pytest.param(reading(121, 9000), id="too long ago"),
    ],
)
def test_two_readings_that_do_not_belong_together(now: Reading) -> None:
    assert carried(reading(100, 1000), now) is None


@pytest.mark.parametrize(("moved", "stays"), [([], True), ([8], True), ([3], False), ([8, ALL], False)])
def test_a_reading_is_of_no_use_once_its_domain_got_or_lost_a_device(moved: List[int], stays: bool) -> None:
    before = {VF: reading(100, 1000)}
    assert rates.untouched(before, moved) == (before if stays else {})


@pytest.mark.parametrize(("rx", "is_told"), [(0, False), (1, True)])
def test_zeroes_are_no_answer(rx: int, is_told: bool) -> None:
    assert rates.is_told(Counters(rx, 0, 0, 0, 0, 0)) is is_told


@given(st.lists(st.one_of(st.integers(1, 10**6), st.just(-1)), min_size=1, max_size=30))
def test_all_that_is_said_is_no_more_than_was_carried(steps: List[int]) -> None:
    """-1: the driver begins to count anew."""
    counter = truth = said = 0
    totals: Dict[str, Carried] = {}
    before: Dict[str, Reading] = {}
    for second, step in enumerate(steps):
        counter = 0 if step < 0 else counter + step
        truth += max(0, step)
        now = {VF: Reading(WEB, 4, float(second), Counters(counter, 0, 0, 0, 0, 0))}
        if not rates.is_told(now[VF].counters):
            continue
        more = rates.between(before, now)
        totals = rates.added(totals, more)
        said += sum(one.counters.rx_bytes for one in more.values())
        assert all(min(one.counters) >= 0 for one in more.values())
        before = now
    assert said <= truth
    assert sum(one.counters.rx_bytes for one in totals.values()) == said


def test_totals_begin_anew_with_another_holder() -> None:
    web = Carried(WEB, Counters(1, 2, 3, 4, 5, 6), 5.0)
    twice = Carried(WEB, Counters(2, 4, 6, 8, 10, 12), 10.0)
    assert rates.added({VF: web}, {VF: web}) == {VF: twice}
    mail = web._replace(holder=MAIL)
    assert rates.added({VF: twice}, {VF: mail}) == {VF: mail}
    assert rates.added({VF: twice}, {}) == {VF: twice}
