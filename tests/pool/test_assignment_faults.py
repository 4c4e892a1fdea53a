"""A call that gives VFs is cut off, or failed by xapi: nothing is lost, nothing half done."""

import errno
import time
from typing import Any, Dict, List, Tuple

import pytest
import XenAPI
from interference import WRITES, all_cuts, all_failures, calls_told, meanwhile, silent
from managed_pool import FOREIGN, Pool
from refusals import error_of
from sriovlib.calls import assign_vf
from sriovlib.pool import ledger, locked, master, pci_entries
from sriovlib.xapi import session as own_xapi
from sriovlib.xapi.own_session import OwnSession
from sriovlib.xapi.session import SECONDS, SOCKET, XapiSilent

pytestmark = [pytest.mark.story, pytest.mark.pool(hosts=1)]

MAC = "02:16:3e:00:00:05"
CALLS: Dict[str, Dict[str, str]] = {
    "assign_vf": {"pf": "eth1", "vlan": "12"},
    "unassign_vf": {"all": "true"},
    "reinstate_vfs": {},
    "park_vm": {},
}


def have_one_request(pool: Pool, web: str, function: str) -> None:
    """The VM has the request with MAC and no other; its entry is out where it is to be written again."""
    there = pool.entry(web).requests
    for one in there[1:]:
        pool.act("unassign_vf", vm=web, request=str(one.number))
    if not there:
        pool.act("assign_vf", vm=web, pf="eth1", mac=MAC)
    if function == "reinstate_vfs":
        pool.set_pci(web, FOREIGN)


@pytest.mark.parametrize("function", CALLS)
def test_a_call_that_is_cut_off_loses_nothing(pool: Pool, web: str, function: str) -> None:
    """Killed before any of its calls to xapi; then the administrator calls again."""
    have_one_request(pool, web, function)
    for _ in all_cuts(lambda: pool.act(function, vm=web, **CALLS[function])):
        entry = pool.entry(web)
        allowed = {"assign_vf": (1, 2), "unassign_vf": (0, 1)}
        assert len(entry.requests) in allowed.get(function, (1,))
        if entry.requests:
            assert entry.requests[0].settings["mac"] == MAC
        pool.act("reinstate_vfs", vm=web)
        entry = pool.entry(web)
        leased = list(entry.lease.vfs.values()) if entry.lease else []
        assert len(leased) == len(entry.requests)
        assert sorted(pci_entries.plugging_order(pool.pci(web))) == sorted(["0000:00:1b.0", *leased])
        assert pool.pci(web).split(",")[0] == FOREIGN
        have_one_request(pool, web, function)
    pool.act("unassign_vf", vm=web, all="true")
    assert pool.pci(web) == FOREIGN


@pytest.mark.parametrize("function", CALLS)
def test_a_call_that_xapi_fails_changes_nothing(pool: Pool, web: str, function: str) -> None:
    """The connection is refused once, at each of its calls in turn."""
    have_one_request(pool, web, function)
    before = pool.everything()
    for error in all_failures(lambda: pool.act(function, vm=web, **CALLS[function])):
        assert (error.code, pool.everything()) == ("SRIOV_XAPI_SILENT", before), error
    assert pool.everything() != before


def test_undoing_has_time_of_its_own(pool: Pool, web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """xapi becomes slow in the last write, until the call's time is up; what was written is taken back all
    the same."""
    before = pool.everything()
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
    error_of(pool.act, "assign_vf", vm=web, pf="eth1").says("SRIOV_XAPI_SILENT")
    assert slow == [WRITES]
    monkeypatch.undo()
    assert pool.everything() == before


def test_a_key_that_cannot_be_collected_is_left_to_the_next_call(pool: Pool, web: str) -> None:
    """The VM is gone: the call has done what it was asked for before it turned to that."""
    pool.act("assign_vf", vm=web, pf="eth1")
    pool.destroy(web)
    vm = pool.vm("db")

    def fail(_number: int, method: str, *params: Any) -> None:
        if method == "pool.remove_from_other_config" and web in params[1]:
            silent()

    with calls_told(fail):
        assert pool.act("assign_vf", vm=vm, pf="eth1")["request"] == 1
    assert pool.ledger(web) is not None
    pool.act("assign_vf", vm=vm, pf="eth1")
    assert list(ledger.keys(pool.pool_keys())) == [vm]


def test_a_file_that_cannot_be_read_is_not_xapis_fault(
    pool: Pool, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any) -> Any:
        raise OSError(errno.EIO, "could not be read", "/etc/xensource-inventory")

    monkeypatch.setattr(locked, "work", broken)
    error_of(pool.act, "assign_vf", vm=web, pf="eth1").says("SRIOV_INTERNAL_ERROR", "could not be read")


def test_a_callers_session_that_ends_while_it_writes(pool: Pool, web: str) -> None:
    """Its client logs out, or xapi has too many sessions: what was written is taken back all the same."""
    before, sessions = pool.everything(), set(pool.box.xapi.database.refs("session"))
    home = pool.one.machine
    with XenAPI.Session(pool.box.url) as short:
        short.login_with_password("root", pool.box.xapi.password, "1.0", "a client")
        socket, reference = home.path(SOCKET), short._session

        def end() -> None:
            own_xapi.call_json(socket, "session.logout", [reference], time.monotonic() + SECONDS)

        with meanwhile(WRITES, end):
            args: Tuple[Any, ...] = ({"vm_uuid": web, "pf": "eth1"}, assign_vf.assign_vf)
            refused = error_of(master.act, home, OwnSession(reference), "assign_vf", *args)
    refused.says("SRIOV_XAPI_SILENT", "SESSION_INVALID")
    assert "taken back" not in refused.message
    assert pool.everything() == before
    assert set(pool.box.xapi.database.refs("session")) == sessions


def test_a_write_that_stays_is_told_of(pool: Pool, web: str) -> None:
    """xapi goes away before the last write, and does not come back."""
    gone: List[str] = []

    def act(_number: int, method: str, *_params: Any) -> None:
        gone.extend([method] if method == WRITES else [])
        if gone:
            silent()

    with calls_told(act):
        refused = error_of(pool.act, "assign_vf", vm=web, pf="eth1")
    refused.says("SRIOV_XAPI_SILENT", "could not be undone", "list_assignments")
    assert pool.entry(web).requests
