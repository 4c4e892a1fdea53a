"""A call that was cut off is completed by calling again, whatever it had come to; and one that has written
all is no failure."""

from typing import Any, Dict, List

import pytest
from interference import WRITES, all_cuts, calls_told, silent
from managed_pool import FOREIGN, Pool
from sriovlib.pool import ledger

pytestmark = [pytest.mark.story, pytest.mark.pool(hosts=1)]

VF = "0000:07:10.0"


def test_unassign_vf_again(pool: Pool, web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    released = []
    monkeypatch.setattr(
        "sriovlib.pool.locked.release",
        lambda _call, host, vfs: released.append((host, *vfs)),
    )
    args = {"vf": pool.act("assign_vf", vm=web, pf="eth1")["vf"]}
    for number in all_cuts(lambda: pool.act("unassign_vf", vm=web, **args)):
        released.clear()
        assert pool.act("unassign_vf", vm=web, **args)["requests"] == []
        assert len(pool.key_names(web)) == 1
        assert (pool.entry(web).requests, pool.keys(web)[:2]) == ((), ({"pci": FOREIGN}, {})), number
        assert (pool.one.uuid, VF) in released, number
        pool.act("assign_vf", vm=web, pf="eth1")


@pytest.mark.parametrize("args", [{"request": "2"}, {"request": "0"}, {"vf": "0000:07:10.6"}])
def test_unassign_vf_of_a_request_that_the_vm_never_had(pool: Pool, web: str, args: Dict[str, str]) -> None:
    pool.act("assign_vf", vm=web, pf="eth1")
    pool.refused("unassign_vf", vm=web, **args).says("SRIOV_NOT_FOUND", "has no request")


@pytest.mark.parametrize("vlan", ["12", "13"])
def test_assign_vf_again(pool: Pool, web: str, vlan: str) -> None:
    """As long as the VM's entries do not name the VF it is the same request; with other settings another."""
    begun = 0
    for number in all_cuts(lambda: pool.act("assign_vf", vm=web, vlan="12", pf="eth1", on=pool.one)):
        before, is_named = pool.entry(web).requests, VF in str(pool.pci(web))
        got = pool.act("assign_vf", vm=web, vlan=vlan, pf="eth1", on=pool.one)
        after = pool.entry(web).requests
        if not before or (vlan == "12" and not is_named):
            assert [one.number for one in after] == [got["request"]], number
            assert before in ((), after)
            assert pool.pci(web) == f"{FOREIGN},4/{VF}"
        else:
            assert [one.settings["vlan"] for one in after] == ["12", vlan], number
        begun += bool(before) and not is_named
        pool.act("unassign_vf", vm=web, all="true")
        pool.set_ledger(web, None)
    assert begun > 2


def test_adopt_vm_again(pool: Pool, web: str) -> None:
    begun = 0
    pool.set_pci(web, f"{FOREIGN},007/{VF}")
    for number in all_cuts(lambda: pool.act("adopt_vm", vm=web)):
        is_cut_off = len(pool.key_names(web)) > 1
        begun += is_cut_off and bool(pool.entry(web).requests)
        if is_cut_off or not pool.entry(web).requests:
            assert [one["vf"] for one in pool.act("adopt_vm", vm=web)["vfs"]] == [VF], number
        entries = {"pci": f"{FOREIGN},7/{VF}", ledger.MARK: web}
        assert pool.keys(web)[:2] == (entries, {})
        assert len(pool.key_names(web)) == 1
        pool.act("unassign_vf", vm=web, all="true")
        pool.set_ledger(web, None)
        pool.set_pci(web, f"{FOREIGN},007/{VF}")
    assert begun > 3


@pytest.mark.parametrize("function", ["assign_vf", "reinstate_vfs"])
def test_an_old_key_that_stays_undoes_nothing(pool: Pool, web: str, function: str) -> None:
    """xapi goes away when all is written, but before the key of the entry before it is removed; the next
    call, for whatever VM, does that."""
    pool.act("assign_vf", vm=web, pf="eth1")
    if function == "reinstate_vfs":
        pool.set_pci(web, FOREIGN)
    else:
        pool.act("unassign_vf", vm=web, all="true")
    written: List[str] = []

    def act(_number: int, method: str, *_params: Any) -> None:
        if written and method == "pool.remove_from_other_config":
            silent()
        written.extend([method] if method == WRITES else [])

    with calls_told(act):
        pool.act(function, vm=web, **({"pf": "eth1"} if function == "assign_vf" else {}))
    assert len(pool.key_names(web)) == 2
    assert pool.entry(web).lease is not None
    assert pool.pci(web) == f"{FOREIGN},4/{VF}" == pool.entry(web).pci
    pool.act("assign_vf", vm=pool.vm("db"), pf="eth1")
    assert len(pool.key_names(web)) == 1
