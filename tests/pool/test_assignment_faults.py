"""A call that gives VFs is cut off, or failed by xapi: nothing is lost, nothing half done."""

import errno
import os
import time
from typing import Any, Callable, Dict, List, Tuple

import pytest
import XenAPI
from caller import FOREIGN, WRITES, Caller, cut_at, failed_at, meanwhile
from sriovlib.calls import assign_vf, reinstate_vfs, unassign_vf
from sriovlib.errors import SriovError
from sriovlib.pool import ledger, locked, master, pci_entries
from sriovlib.xapi import session as own_xapi
from sriovlib.xapi.session import SECONDS, SOCKET, Xapi, XapiSilent

pytestmark = pytest.mark.story


CALLS: Dict[str, Tuple[Callable[..., Any], Dict[str, str]]] = {
    "assign": (assign_vf.assign_vf, {"pf": "eth1", "vlan": "12"}),
    "unassign": (unassign_vf.unassign_vf, {"request": "1"}),
    "reinstate": (reinstate_vfs.reinstate_vfs, {}),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_cut_off_loses_nothing(caller: Caller, name: str) -> None:
    """Killed before any of its calls to xapi; then the administrator calls again."""
    function, args = CALLS[name]
    caller.act(assign_vf.assign_vf, pf="eth1", mac="02:16:3e:00:00:05")
    first, number, cut = 1, 0, True
    while cut:
        number += 1
        if name == "reinstate":  # what it is called for: somebody took the entries out
            caller.session.xenapi.VM.remove_from_other_config(caller.ref, "pci")
            caller.session.xenapi.VM.add_to_other_config(caller.ref, "pci", FOREIGN)
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
        caller.act(reinstate_vfs.reinstate_vfs)
        _, of_vm, platform = caller.state()
        leased = list(entry.lease.vfs.values()) if entry.lease else []
        assert sorted(pci_entries.plugging_order(of_vm["pci"])) == sorted(["0000:00:1b.0", *leased])
        assert of_vm["pci"].split(",")[0] == FOREIGN
        assert ("nomigrate" in platform) == bool(entry.requests)
        if changed and name == "assign":
            caller.act(unassign_vf.unassign_vf, request=str(before.next_number))
        elif changed:
            first = before.next_number
            caller.act(assign_vf.assign_vf, pf="eth1", mac="02:16:3e:00:00:05")
    caller.act(unassign_vf.unassign_vf, all="true")
    _, of_vm, platform = caller.state()
    assert (of_vm, platform) == ({"pci": FOREIGN}, {})
    assert number > 10


@pytest.mark.parametrize("name", CALLS)
def test_what_xapi_fails_changes_nothing(caller: Caller, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    function, args = CALLS[name]
    caller.act(assign_vf.assign_vf, pf="eth1")
    if name == "reinstate":
        caller.session.xenapi.VM.remove_from_other_config(caller.ref, "pci")
        caller.session.xenapi.VM.add_to_other_config(caller.ref, "pci", FOREIGN)
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


def test_undoing_has_time_of_its_own(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """xapi becomes slow in the last write, until the call's time is up; what was written is taken back all
    the same."""
    before = caller.state()
    real = own_xapi.call_json
    slow: List[str] = []

    def call(path: str, method: str, params: Any, deadline: float) -> Any:
        if method == WRITES and not slow:
            slow.append(method)
            monkeypatch.setattr(time, "monotonic", lambda real=time.monotonic: real() + SECONDS)
            raise XapiSilent("timed out")
        if time.monotonic() > deadline:
            raise XapiSilent("timed out")
        return real(path, method, params, deadline)

    monkeypatch.setattr(own_xapi, "call_json", call)
    with pytest.raises(SriovError) as refused:
        caller.act(assign_vf.assign_vf, pf="eth1")
    assert (refused.value.code, slow) == ("SRIOV_XAPI_SILENT", [WRITES])
    monkeypatch.undo()
    assert caller.state() == before


def test_what_cannot_be_collected_is_left_to_the_next_call(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of a VM that is gone: the call has done what it was asked for before it turned to that."""
    gone = caller.vm
    caller.act(assign_vf.assign_vf, pf="eth1")
    caller.session.xenapi.VM.destroy(caller.ref)
    caller.vm = str(caller.session.xenapi.VM.get_uuid(caller.box.add_vm("db")))
    real = Xapi.call

    def failing(self: Xapi, method: str, *params: Any) -> Any:
        if method == "pool.remove_from_other_config" and gone in str(params[1]):
            raise XapiSilent("xapi is not there")
        return real(self, method, *params)

    with monkeypatch.context() as patch:
        patch.setattr(Xapi, "call", failing)
        assert caller.act(assign_vf.assign_vf, pf="eth1")["request"] == 1
    assert gone in ledger.keys(caller.pool_keys())
    caller.act(assign_vf.assign_vf, pf="eth1")
    assert list(ledger.keys(caller.pool_keys())) == [caller.vm]


@pytest.mark.parametrize("entries", ["there", "gone"])
def test_a_vm_with_requests_does_not_migrate_and_one_without_does(caller: Caller, entries: str) -> None:
    """`unassign_vf` is killed before each of its calls, also where somebody has taken the entries out: as
    long as the ledger has the request xapi must not migrate the VM, and the next call takes the key out."""
    number, cut = 1, True
    while cut:
        number += 1
        caller.act(assign_vf.assign_vf, pf="eth1")
        if entries == "gone":
            caller.session.xenapi.VM.remove_from_other_config(caller.ref, "pci")
        cut = cut_at(number, lambda: caller.act(unassign_vf.unassign_vf, all="true"))
        if caller.entry().requests:
            assert caller.state()[2] == {"nomigrate": "true"}, number
        caller.act(unassign_vf.unassign_vf, all="true")
        assert caller.state()[2] == {}, number
    assert number > 10


def test_no_room_in_run_is_no_reason_to_fail(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has the lock cannot be written into it then."""

    def full(*_args: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    assert caller.act(assign_vf.assign_vf, pf="eth1")["request"] == 1


def test_a_file_that_cannot_be_read_is_not_xapis_fault(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any) -> Any:
        raise OSError(errno.EIO, "could not be read", "/etc/xensource-inventory")

    monkeypatch.setattr(locked, "work", broken)
    with pytest.raises(OSError, match="could not be read"):
        caller.act(assign_vf.assign_vf, pf="eth1")


def test_the_callers_session_ends_while_it_writes(caller: Caller) -> None:
    """Its client logs out, or xapi has too many sessions: what was written is taken back all the same."""
    before = caller.state()
    sessions = set(caller.box.xapi.database.refs("session"))
    with XenAPI.Session(caller.box.url) as short:
        short.login_with_password("root", caller.box.xapi.password, "1.0", "a client")
        args = {"vm_uuid": caller.vm, "pf": "eth1"}
        socket, reference = caller.host.path(SOCKET), short._session

        def end() -> None:
            own_xapi.call_json(socket, "session.logout", [reference], time.monotonic() + SECONDS)

        with meanwhile(WRITES, end), pytest.raises(SriovError) as refused:
            master.act(caller.host, short, "assign_vf", args, assign_vf.assign_vf)
    assert (refused.value.code, "SESSION_INVALID" in refused.value.message) == ("SRIOV_XAPI_SILENT", True)
    assert "taken back" not in refused.value.message
    assert caller.state() == before
    assert set(caller.box.xapi.database.refs("session")) == sessions


def test_a_write_that_stays_is_told_of(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """xapi goes away before the last write, and does not come back."""
    real = Xapi.call
    written: List[str] = []

    def going(self: Xapi, method: str, *params: Any) -> Any:
        written.extend([method] if method == WRITES else [])
        if written:
            raise XapiSilent("xapi is not there")
        return real(self, method, *params)

    with monkeypatch.context() as patch:
        patch.setattr(Xapi, "call", going)
        with pytest.raises(SriovError) as refused:
            caller.act(assign_vf.assign_vf, pf="eth1")
    assert "could not be taken back" in refused.value.message
    assert "list_assignments" in refused.value.hint
    assert caller.entry().requests
