"""A call that gives VFs meets others: starts, a VM that goes, a new master, calls that hold the lock."""

from typing import Any, List, Mapping

import pytest
from caller import WRITES, Caller, meanwhile
from sriovlib.calls import assign_vf, reinstate_vfs
from sriovlib.errors import SriovError
from sriovlib.machine.host import Host
from sriovlib.pool import locked, reinstate
from sriovlib.xapi.session import Xapi

pytestmark = pytest.mark.story


def test_a_start_that_slips_in_takes_all_back(caller: Caller) -> None:
    before = caller.state()
    database = caller.box.xapi.database

    def start() -> None:
        database.add_to("VM", caller.ref, "current_operations", "OpaqueRef:1", "start")

    with meanwhile(WRITES, start), pytest.raises(SriovError) as refused:
        caller.act(assign_vf.assign_vf, pf="eth1")
    assert refused.value.code == "SRIOV_BUSY"
    assert "start" in refused.value.message
    assert caller.state() == before


def test_a_vm_that_becomes_a_template_meanwhile_gets_no_vf(caller: Caller) -> None:
    """After the VMs were read, so that only the second look can see it."""
    before = caller.state()

    def become() -> None:
        caller.session.xenapi.VM.set_is_a_template(caller.ref, True)

    with meanwhile(WRITES, become), pytest.raises(SriovError) as refused:
        caller.act(assign_vf.assign_vf, pf="eth1")
    assert (refused.value.code, "template" in refused.value.message) == ("SRIOV_BUSY", True)
    assert caller.state() == before


def test_somebody_writes_the_same_key_meanwhile(caller: Caller) -> None:
    """`xe vm-param-set` after ours was written: what the call would answer is not so any more."""
    before = caller.state()

    def write() -> None:
        caller.session.xenapi.VM.remove_from_other_config(caller.ref, "pci")
        caller.session.xenapi.VM.add_to_other_config(caller.ref, "pci", "0/0000:00:1b.0")

    # asked for once before the lock is had; the second time is the second look
    with meanwhile("VM.get_record", write, 2), pytest.raises(SriovError) as refused:
        caller.act(assign_vf.assign_vf, pf="eth1")
    assert (refused.value.code, "other_config:pci" in refused.value.message) == ("SRIOV_BUSY", True)
    assert caller.state() == before


@pytest.mark.parametrize("when", ["pool.get_other_config", "pool.get_all_records", WRITES])
def test_a_vm_that_goes_meanwhile_leaves_nothing(caller: Caller, when: str) -> None:
    """Before the lock is had, after it, and while its keys are written."""

    def destroy() -> None:
        caller.session.xenapi.VM.destroy(caller.ref)

    with meanwhile(when, destroy), pytest.raises(SriovError) as refused:
        caller.act(assign_vf.assign_vf, pf="eth1")
    assert (refused.value.code, caller.vm in refused.value.message) == ("SRIOV_NOT_FOUND", True)
    assert caller.pool_keys() == {}


def test_another_master_takes_all_back(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    before = caller.state()
    real = Xapi.call
    calls: List[str] = []

    def deposed(self: Xapi, method: str, *params: Any) -> Any:
        calls.append(method)
        if method == "pool.get_master" and "pool.add_to_other_config" in calls:
            return "OpaqueRef:another"
        return real(self, method, *params)

    with monkeypatch.context() as patch:
        patch.setattr(Xapi, "call", deposed)
        with pytest.raises(SriovError) as refused:
            caller.act(assign_vf.assign_vf, pf="eth1")
    assert (refused.value.code, caller.state()) == ("SRIOV_BUSY", before)


def test_who_holds_the_lock_is_named(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """After two minutes; after one where a start waits."""
    assert (locked.CALL_SECONDS, locked.HOOK_SECONDS) == (120, 60)
    monkeypatch.setattr(locked, "CALL_SECONDS", 0.2)
    with caller.host.lock(locked.LOCK, "assign_vf for somebody"), pytest.raises(SriovError) as refused:
        caller.act(assign_vf.assign_vf, pf="eth1")
    assert refused.value.code == "SRIOV_BUSY"
    assert "assign_vf for somebody" in refused.value.message

    monkeypatch.setattr(locked, "CALL_SECONDS", 600)
    monkeypatch.setattr(locked, "HOOK_SECONDS", 0.2)
    with caller.host.lock(locked.LOCK, "assign_vf for somebody"), pytest.raises(SriovError) as refused:
        caller.act(reinstate_vfs.reinstate_vfs, starting="true")
    assert "assign_vf for somebody" in refused.value.message

    def reinstate_in_time(host: Host, session: Any, args: Mapping[str, str]) -> Any:
        return reinstate.reinstate(host, session, args["vm_uuid"], None, True, seconds=0.2)

    monkeypatch.setattr(locked, "HOOK_SECONDS", 600)  # a start that needs nothing waits less
    with caller.host.lock(locked.LOCK, "assign_vf for somebody"), pytest.raises(SriovError) as refused:
        caller.act(reinstate_in_time, starting="true")
    assert "assign_vf for somebody" in refused.value.message
