"""Which VM another one is a copy of, by its mark as far as the ledger confirms it."""

from typing import Any, Dict, Optional

import pytest
from sriovlib.pool import copies
from sriovlib.pool.ledger import Choice, Entry, Lease, Request
from sriovlib.pool.state import PoolState, Vm

MINE, WEB, FORMER, VF = "vm-mine", "vm-web", "vm-former", "0000:07:10.0"
REQUEST = Request(1, Choice("network", "lan"), {})
HAS = Entry((REQUEST,), Lease("host", {1: VF}, 4, {}, {}), 2, True, "")
HAD = Entry((), None, 3, True, "", (VF,))


def origin(mark: Optional[str], own: Optional[Entry] = None, **state: Any) -> Optional[str]:
    """Of a VM with that mark, and an entry for that VF."""
    other_config = {"pci": f"0/{VF}", **({} if mark is None else {"sriov-vm": mark})}
    vm = Vm("ref", MINE, MINE, "Halted", (), None, None, f"0/{VF}", None, other_config)
    entries: Dict[str, Entry] = {WEB: HAS, FORMER: HAD, **({} if own is None else {MINE: own})}
    pool: Any = PoolState("pool", "master", {}, entries, {}, {MINE: vm})
    return copies.origin(pool._replace(**state), vm)


@pytest.mark.parametrize(("mark", "found"), [(WEB, WEB), (FORMER, FORMER), (None, None), (MINE, None)])
def test_the_mark_names_it(mark: Optional[str], found: Optional[str]) -> None:
    assert origin(mark) == found


def test_a_mark_of_a_vm_that_the_ledger_does_not_know() -> None:
    assert origin("vm-of-another-pool") is None


def test_a_mark_of_a_vm_with_other_vfs() -> None:
    """Somebody changed it."""
    elsewhere = HAS._replace(lease=Lease("host", {1: "0000:07:10.2"}, 4, {}, {}))
    assert origin(WEB, entries={WEB: elsewhere}) is None


def test_a_vm_with_requests_is_no_copy() -> None:
    assert origin(WEB, HAS) is None


def test_a_vm_whose_key_cannot_be_read_is_not_called_a_copy() -> None:
    assert origin(WEB, unreadable={MINE: "it is no JSON"}) is None


@pytest.mark.parametrize(("past", "found"), [((), WEB), (("0000:07:10.2",), WEB), ((VF,), None)])
def test_what_a_revert_brought_back_is_no_copy(past: Any, found: Any) -> None:
    assert origin(WEB, Entry((), None, 2, True, "", past)) == found
