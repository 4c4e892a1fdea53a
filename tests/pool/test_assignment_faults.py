"""A call that gives VFs is cut off, failed by xapi, or meets another: nothing is lost, nothing half done."""

import os
import sys
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
from box import PoolInABox
from box_host import set_vfs
from machine_description import default_description
from sriovlib import assignments, ledger, master, pcientries, poolwork, reinstate
from sriovlib.errors import SriovError
from sriovlib.xapi import Xapi

pytestmark = pytest.mark.story

PORT = "0000:07:00.0"
FOREIGN = "3/0000:00:1b.0"


@pytest.fixture
def box() -> Iterator[PoolInABox]:
    with PoolInABox([default_description(1)], interpreter=sys.executable) as box:
        set_vfs(box.hosts[0], PORT, 4)
        yield box


class Caller:
    """Calls of the library in this process, whose calls to xapi can be cut, failed or watched."""

    def __init__(self, box: PoolInABox, session: Any) -> None:
        self.box = box
        self.session = session
        self.host = box.hosts[0].machine
        self.vm = str(session.xenapi.VM.get_uuid(box.add_vm("web", other_config={"pci": FOREIGN})))

    def act(self, function: Callable[..., Any], **args: str) -> Any:
        name = function.__name__
        return master.act(self.host, self.session, name, {"vm_uuid": self.vm, **args}, function)

    def state(self) -> Tuple[Any, Any, Any]:
        (pool,) = self.session.xenapi.pool.get_all()
        record = self.session.xenapi.VM.get_record(self.session.xenapi.VM.get_by_uuid(self.vm))
        other_config = self.session.xenapi.pool.get_other_config(pool)
        return other_config, record["other_config"], record["platform"]

    def entry(self) -> ledger.Entry:
        entries, unreadable = ledger.read_all(ledger.settled(self.state()[0]))
        assert unreadable == {}
        return entries.get(self.vm, poolwork.NO_ENTRY)


@pytest.fixture
def caller(box: PoolInABox) -> Iterator[Caller]:
    with box.session() as session:
        yield Caller(box, session)


def cut_at(number: int, call: Callable[[], Any]) -> bool:
    """Does `call` in a process that is gone just before its call number `number` to xapi; whether it came
    that far."""
    child = os.fork()
    if child == 0:
        real, count = Xapi.call, [0]

        def counted(self: Xapi, method: str, *params: Any) -> Any:
            count[0] += 1
            if count[0] == number:
                os._exit(9)
            return real(self, method, *params)

        Xapi.call = counted  # type: ignore[method-assign]
        try:
            call()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WEXITSTATUS(status) in (0, 9), "the call itself failed"
    return os.WEXITSTATUS(status) == 9


def failed_at(monkeypatch: pytest.MonkeyPatch, number: int, call: Callable[[], Any]) -> Tuple[Any, List[str]]:
    """The error of `call` when xapi refuses the connection once, at that call; and the methods called."""
    real = Xapi.call
    methods: List[str] = []

    def counted(self: Xapi, method: str, *params: Any) -> Any:
        methods.append(method)
        if len(methods) == number:
            raise ConnectionRefusedError("xapi is not there")
        return real(self, method, *params)

    with monkeypatch.context() as patch:
        patch.setattr(Xapi, "call", counted)
        try:
            call()
        except SriovError as error:
            return error, methods
    return None, methods


CALLS: Dict[str, Tuple[Callable[..., Any], Dict[str, str]]] = {
    "assign": (assignments.assign_vf, {"pf": "eth1", "vlan": "12"}),
    "unassign": (assignments.unassign_vf, {"request": "1"}),
    "reinstate": (reinstate.reinstate_vfs, {}),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_cut_off_loses_nothing(caller: Caller, name: str) -> None:
    """Killed before any of its calls to xapi; then the administrator calls again."""
    function, args = CALLS[name]
    caller.act(assignments.assign_vf, pf="eth1", mac="02:16:3e:00:00:05")
    ref = caller.session.xenapi.VM.get_by_uuid(caller.vm)
    first, number, cut = 1, 0, True
    while cut:
        number += 1
        if name == "reinstate":  # what it is called for: somebody took the entries out
            caller.session.xenapi.VM.remove_from_other_config(ref, "pci")
            caller.session.xenapi.VM.add_to_other_config(ref, "pci", FOREIGN)
        before = caller.entry()
        if name == "unassign":
            args = {"request": str(first)}
        cut = cut_at(number, lambda args=args: caller.act(function, **args))  # type: ignore[misc]
        entry = caller.entry()
        changed = [request.number for request in entry.requests] != [first]
        if changed and name == "assign":
            assert [request.number for request in entry.requests] == [first, before.next_number]
        elif changed:
            assert (name, entry.requests) == ("unassign", ())
        if entry.requests:
            assert entry.requests[0].settings["mac"] == "02:16:3e:00:00:05"
        caller.act(reinstate.reinstate_vfs)
        _, of_vm, platform = caller.state()
        leased = list(entry.lease.vfs.values()) if entry.lease else []
        assert sorted(pcientries.plugging_order(of_vm["pci"])) == sorted(["0000:00:1b.0", *leased])
        assert of_vm["pci"].split(",")[0] == FOREIGN
        assert ("nomigrate" in platform) == bool(entry.requests)
        if changed and name == "assign":
            caller.act(assignments.unassign_vf, request=str(before.next_number))
        elif changed:
            first = before.next_number
            caller.act(assignments.assign_vf, pf="eth1", mac="02:16:3e:00:00:05")
    caller.act(assignments.unassign_vf, all="true")
    _, of_vm, platform = caller.state()
    assert (of_vm, platform) == ({"pci": FOREIGN}, {})
    assert number > 10


@pytest.mark.parametrize("name", CALLS)
def test_what_xapi_fails_changes_nothing(caller: Caller, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    function, args = CALLS[name]
    caller.act(assignments.assign_vf, pf="eth1")
    if name == "reinstate":
        ref = caller.session.xenapi.VM.get_by_uuid(caller.vm)
        caller.session.xenapi.VM.remove_from_other_config(ref, "pci")
        caller.session.xenapi.VM.add_to_other_config(ref, "pci", FOREIGN)
    before = caller.state()
    number = 0
    while True:
        number += 1
        error, methods = failed_at(monkeypatch, number, lambda: caller.act(function, **args))
        if error is None:
            break
        assert error.code == "SRIOV_XAPI_SILENT", methods
        assert caller.state() == before, methods
    assert caller.state() != before
    assert number > 10


def test_a_start_that_slips_in_takes_all_back(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    before = caller.state()
    real = Xapi.call
    ref = caller.session.xenapi.VM.get_by_uuid(caller.vm)

    def slipping(self: Xapi, method: str, *params: Any) -> Any:
        if method == "VM.add_to_other_config" and not caller.session.xenapi.VM.get_current_operations(ref):
            caller.box.xapi.database.add_to("VM", ref, "current_operations", "OpaqueRef:1", "start")
        return real(self, method, *params)

    with monkeypatch.context() as patch:
        patch.setattr(Xapi, "call", slipping)
        with pytest.raises(SriovError) as refused:
            caller.act(assignments.assign_vf, pf="eth1")
    assert refused.value.code == "SRIOV_BUSY"
    assert "start" in refused.value.message
    assert caller.state() == before


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
            caller.act(assignments.assign_vf, pf="eth1")
    assert (refused.value.code, caller.state()) == ("SRIOV_BUSY", before)


def test_who_holds_the_lock_is_named(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poolwork, "CALL_SECONDS", 0.2)
    with caller.host.lock(poolwork.LOCK, "assign_vf for somebody"), pytest.raises(SriovError) as refused:
        caller.act(assignments.assign_vf, pf="eth1")
    assert refused.value.code == "SRIOV_BUSY"
    assert "assign_vf for somebody" in refused.value.message
