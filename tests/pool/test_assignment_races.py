"""A call that gives VFs meets others: starts, a VM that goes, a new master, calls that hold the lock."""

from typing import Any, Callable, List, Mapping

import pytest
from interference import WRITES, meanwhile
from managed_pool import Pool
from refusals import error_of
from sriovlib.pool import locked
from sriovlib.xapi.session import Xapi

pytestmark = [pytest.mark.story, pytest.mark.pool(hosts=1)]


@pytest.mark.parametrize(
    ("when", "number", "act", "said"),
    [
        (WRITES, 1, lambda pool, vm: pool.set_operation(vm, "start"), "start"),
        (WRITES, 1, lambda pool, vm: pool.set_template(vm), "template"),
        # asked for once before the lock is had, once with it; the third time is the second look
        ("VM.get_record", 3, lambda pool, vm: pool.set_pci(vm, "0/0000:00:1b.0"), "other_config:pci"),
    ],
)
def test_a_change_of_the_vm_meanwhile_takes_all_back(
    pool: Pool, web: str, when: str, number: int, act: Callable[[Pool, str], None], said: str
) -> None:
    keys, (before, _, _) = pool.pool_keys(), pool.keys(web)
    with meanwhile(when, lambda: act(pool, web), number):
        error_of(pool.act, "assign_vf", vm=web, pf="eth1").says("SRIOV_BUSY", said)
    assert (pool.pool_keys(), pool.keys(web)[0]) == (keys, before)


@pytest.mark.parametrize(
    ("when", "number"), [("event.from", 2), ("event.from", 3), ("event.from", 4), (WRITES, 1)]
)
def test_a_vm_that_is_destroyed_meanwhile_leaves_nothing(
    pool: Pool, web: str, when: str, number: int
) -> None:
    """Before the lock is had, after it as the ledger and as the VMs are read, and while its keys are
    written."""
    with meanwhile(when, lambda: pool.destroy(web), number):
        error_of(pool.act, "assign_vf", vm=web, pf="eth1").says("SRIOV_NOT_FOUND", web)
    assert pool.pool_keys() == {}


def test_a_master_deposed_while_it_writes_takes_all_back(
    pool: Pool, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pool.everything()
    real = Xapi.call
    calls: List[str] = []

    def deposed(self: Xapi, method: str, *params: Any) -> Any:
        calls.append(method)
        if method == "pool.get_master" and "pool.add_to_other_config" in calls:
            return "OpaqueRef:another"
        return real(self, method, *params)

    with monkeypatch.context() as patch:
        patch.setattr(Xapi, "call", deposed)
        error_of(pool.act, "assign_vf", vm=web, pf="eth1").says("SRIOV_BUSY")
    assert pool.everything() == before


@pytest.mark.parametrize(
    ("limit", "function", "args"),
    [("CALL_SECONDS", "assign_vf", {"pf": "eth1"}), ("HOOK_SECONDS", "reinstate_vfs", {"starting": "true"})],
)
def test_who_holds_the_lock_is_named(
    pool: Pool, web: str, monkeypatch: pytest.MonkeyPatch, limit: str, function: str, args: Mapping[str, str]
) -> None:
    """After two minutes; after one where a start waits."""
    assert (locked.CALL_SECONDS, locked.HOOK_SECONDS) == (120, 60)
    monkeypatch.setattr(locked, limit, 0.2)
    with pool.one.machine.lock(locked.LOCK, "assign_vf for somebody"):
        error_of(pool.act, function, vm=web, **args).says("SRIOV_BUSY", "assign_vf for somebody")
