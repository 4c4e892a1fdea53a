"""Entries that look like a copy of what a VM had before it gave all back: told of, where it may be one."""

from typing import Any, Dict, Optional

import pytest
from sriovlib.pool import copies
from sriovlib.pool.ledger import Choice, Entry, Lease, Request
from sriovlib.pool.state import PoolState, Vm

MINE, FORMER, VF = "vm-mine", "vm-former", "0000:07:10.0"
GAVE_BACK = Entry((), None, 3, True, "", (VF,))
REQUEST = Request(1, Choice("network", "lan"), {})
HAS_ONE = Entry((REQUEST,), Lease("host", {1: "0000:07:10.2"}, 4, {}, {}), 2, True, "", ())


def vm(uuid: str, nomigrate: Optional[str], **other_config: str) -> Vm:
    return Vm("ref", uuid, uuid, "Halted", (), None, None, f"0/{VF}", nomigrate, other_config)


def former_origins(of: Vm, **entries: Entry) -> Any:
    known: Dict[str, Entry] = {FORMER: GAVE_BACK, **{f"vm-{name}": one for name, one in entries.items()}}
    state = PoolState("pool", "master", {}, known, {}, {MINE: of})
    return copies.former_origins(state, of, [VF])


def test_a_copy_of_a_vm_that_has_given_its_vfs_back() -> None:
    assert former_origins(vm(MINE, "true")) == [FORMER]


def test_an_entry_without_the_nomigrate_that_a_copy_has_is_by_hand() -> None:
    assert former_origins(vm(MINE, None)) == []


def test_a_vm_with_requests_has_entries_of_its_own() -> None:
    assert former_origins(vm(MINE, "true"), mine=HAS_ONE) == []


@pytest.mark.parametrize(("past", "found"), [((), [FORMER]), (("0000:07:10.2",), [FORMER]), ((VF,), [])])
def test_what_a_vm_had_itself_a_revert_has_brought_back(past: Any, found: Any) -> None:
    assert former_origins(vm(MINE, "true"), mine=Entry((), None, 2, True, "", past)) == found


def test_a_vm_that_has_requests_now_is_no_former_origin() -> None:
    assert former_origins(vm(MINE, "true"), former=HAS_ONE._replace(past=(VF,))) == []
