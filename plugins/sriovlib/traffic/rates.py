"""What a VF carried between two readings of it. Pure.

A driver's counters begin when it likes: with the VF, with its PF's driver, with the guest's driver. So what
counts is how much more a counter says than before: of two readings that are of one VF, by one port, in one
domain that has neither got nor lost a device since, and where nothing has gone backwards. Otherwise nothing
is said for once, and the later reading is what the next one is compared with.
"""

from typing import Collection, Dict, Mapping, NamedTuple, Optional

from ..machine.vf_counters import Counters
from ..machine.xenstore_watch import ALL

LONGEST = 20.0  # seconds between two readings: what is older says little of now


class Holder(NamedTuple):
    """Who has a VF."""

    vm_uuid: str
    domid: int
    request: int


class Reading(NamedTuple):
    """Of one VF. `port`: the index of its port's interface, which the kernel gives to no other."""

    holder: Holder
    port: int
    at: float  # time.monotonic()
    counters: Counters


class Carried(NamedTuple):
    """By one VF in some seconds: the differences of its counters."""

    holder: Holder
    counters: Counters
    seconds: float


def untouched(readings: Mapping[str, Reading], moved: Collection[int]) -> Dict[str, Reading]:
    """Those that still say something of their holder. `moved`: domains that got or lost a device since; ALL
    among them: any may have."""
    return {vf: one for vf, one in readings.items() if ALL not in moved and one.holder.domid not in moved}


def between(before: Mapping[str, Reading], now: Mapping[str, Reading]) -> Dict[str, Carried]:
    """VF -> what it carried. The readings are untouched by what happened from the first to the last."""
    found = {vf: _between(before.get(vf), reading) for vf, reading in now.items()}
    return {vf: one for vf, one in found.items() if one is not None}


def _between(before: Optional[Reading], now: Reading) -> Optional[Carried]:
    if before is None or (before.holder, before.port) != (now.holder, now.port):
        return None
    seconds = now.at - before.at
    if not 0 < seconds <= LONGEST:
        return None
    more = Counters(*(later - earlier for earlier, later in zip(before.counters, now.counters)))
    return None if min(more) < 0 else Carried(now.holder, more, seconds)


def added(totals: Mapping[str, Carried], carried: Mapping[str, Carried]) -> Dict[str, Carried]:
    """VF -> what it has carried for its holder in all that is known: a sum of its own, since the driver's
    counter has what other VMs carried before."""
    found = dict(totals)
    for vf, one in carried.items():
        before = totals.get(vf)
        if before is not None and before.holder == one.holder:
            sums = Counters(*(old + new for old, new in zip(before.counters, one.counters)))
            one = one._replace(counters=sums, seconds=before.seconds + one.seconds)
        found[vf] = one
    return found


def is_told(counters: Counters) -> bool:
    """Whether the driver has told anything. Zeroes are what rtnetlink says where the driver refuses (i40e
    while it resets a VF), so a VF that has carried nothing yet looks like one of which nothing is known, and
    counts as that: the next reading is compared with the one before."""
    return any(counters)
