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


ELSEWHERE = HAS._replace(lease=Lease("host", {1: "0000:07:10.2"}, 4, {}, {}))


@pytest.mark.parametrize(
    ("mark", "own", "state", "found"),
    [
        pytest.param(WEB, None, {}, WEB, id="of-a-vm-with-vfs"),
        pytest.param(FORMER, None, {}, FORMER, id="of-a-vm-that-had-vfs"),
        pytest.param(None, None, {}, None, id="no-mark"),
        pytest.param(MINE, None, {}, None, id="its-own-mark"),
        pytest.param("vm-of-another-pool", None, {}, None, id="not-in-the-ledger"),
        pytest.param(WEB, None, {"entries": {WEB: ELSEWHERE}}, None, id="mark-of-a-vm-with-other-vfs"),
        pytest.param(WEB, HAS, {}, None, id="with-requests-of-its-own"),
        pytest.param(WEB, None, {"unreadable": {MINE: "it is no JSON"}}, None, id="own-key-unreadable"),
        pytest.param(WEB, HAD._replace(past=()), {}, WEB, id="had-none-of-these-vfs"),
        pytest.param(WEB, HAD._replace(past=("0000:07:10.2",)), {}, WEB, id="had-another-vf"),
        pytest.param(WEB, HAD, {}, None, id="reverted-to-its-own-entries"),
    ],
)
def test_the_vm_that_it_is_a_copy_of(
    mark: Optional[str], own: Optional[Entry], state: Any, found: Optional[str]
) -> None:
    assert origin(mark, own, **state) == found


def test_what_a_vms_owner_wrote_as_its_mark_fills_no_page() -> None:
    assert len(copies.from_elsewhere("x" * 5000, WEB)) < 250
