"""A call that was cut off is completed by calling again, whatever it had come to; and one that has written
all is no failure."""

from typing import Any

import pytest
from caller import FOREIGN, WRITES, Caller, cut_at
from sriovlib.calls import adopt_vm, assign_vf, reinstate_vfs, unassign_vf
from sriovlib.pool import ledger
from sriovlib.xapi.session import Xapi, XapiSilent

pytestmark = pytest.mark.story

VF = "0000:07:10.0"


def set_pci(caller: Caller, text: str) -> None:
    caller.session.xenapi.VM.remove_from_other_config(caller.ref, "pci")
    caller.session.xenapi.VM.add_to_other_config(caller.ref, "pci", text)


def taken_back(caller: Caller) -> bool:
    _, of_vm, platform = caller.state()
    return (
        len(caller.key_names()) == 1
        and not caller.entry().requests
        and (of_vm, platform) == ({"pci": FOREIGN}, {})
    )


@pytest.mark.parametrize("by", ["request", "vf"])
def test_unassign_vf_once_more(caller: Caller, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    released = []
    monkeypatch.setattr(
        "sriovlib.pool.locked.release",
        lambda _host, _session, _pool, host, _vm, vfs: released.append((host, *vfs)),
    )
    number, cut = 0, True
    while cut:
        number += 1
        got = caller.act(assign_vf.assign_vf, pf="eth1")
        args = {by: str(got[by])}
        cut = cut_at(number, lambda args=args: caller.act(unassign_vf.unassign_vf, **args))  # type: ignore[misc]
        released.clear()
        again = caller.act(unassign_vf.unassign_vf, **args)
        assert again["requests"] == []
        assert taken_back(caller), number
        assert (caller.box.hosts[0].uuid, got["vf"]) in released, number
    assert number > 10


def test_a_request_that_the_vm_never_had(caller: Caller) -> None:
    caller.act(assign_vf.assign_vf, pf="eth1")
    for args in ({"request": "2"}, {"request": "0"}, {"vf": "0000:07:10.6"}):
        with pytest.raises(Exception, match="has no request") as refused:
            caller.act(unassign_vf.unassign_vf, **args)
        assert getattr(refused.value, "code", "") == "SRIOV_NOT_FOUND"
    assert len(caller.entry().requests) == 1


@pytest.mark.parametrize("vlan", ["12", "13"])
def test_assign_vf_once_more(caller: Caller, vlan: str) -> None:
    """As long as the VM's entries do not name the VF it is the same request; with other settings another."""
    number, cut, begun = 0, True, 0
    while cut:
        number += 1
        args = {"pf": "eth1", "host_uuid": caller.box.hosts[0].uuid}
        cut = cut_at(number, lambda args=args: caller.act(assign_vf.assign_vf, vlan="12", **args))  # type: ignore[misc]
        before = caller.entry().requests
        is_named = VF in str(caller.state()[1].get("pci"))
        got = caller.act(assign_vf.assign_vf, vlan=vlan, **args)
        after = caller.entry().requests
        if not before or (vlan == "12" and not is_named):
            assert [one.number for one in after] == [got["request"]], number
            assert before in ((), after)
            assert caller.state()[1]["pci"] == f"{FOREIGN},4/{VF}"
        else:
            assert [one.settings["vlan"] for one in after] == ["12", vlan], number
        begun += bool(before) and not is_named
        caller.act(unassign_vf.unassign_vf, all="true")
        caller.forget()
    assert begun > 2


def test_a_request_that_another_call_left_is_not_what_is_asked_for(caller: Caller) -> None:
    """What was cut off took the second request back; the VM has the first one, and asks for one more."""
    for _ in range(2):
        caller.act(assign_vf.assign_vf, pf="eth1")
    number, cut = 0, True
    while cut:
        number += 1
        last = caller.entry().requests[-1].number
        cut = cut_at(
            number,
            lambda last=last: caller.act(unassign_vf.unassign_vf, request=str(last)),  # type: ignore[misc]
        )
        there = [one.number for one in caller.entry().requests]
        got = caller.act(assign_vf.assign_vf, pf="eth1")["request"]
        assert got not in there, number
        for one in there[1:]:
            caller.act(unassign_vf.unassign_vf, request=str(one))


def test_adopt_vm_once_more(caller: Caller) -> None:
    number, cut, begun = 0, True, 0
    while cut:
        number += 1
        set_pci(caller, f"{FOREIGN},007/{VF}")
        cut = cut_at(number, lambda: caller.act(adopt_vm.adopt_vm))
        is_cut_off = len(caller.key_names()) > 1
        begun += is_cut_off and bool(caller.entry().requests)
        if is_cut_off or not caller.entry().requests:
            assert [one["vf"] for one in caller.act(adopt_vm.adopt_vm)["vfs"]] == [VF], number
        _, of_vm, platform = caller.state()
        assert of_vm == {"pci": f"{FOREIGN},7/{VF}", ledger.MARK: caller.vm}
        assert platform == {"nomigrate": "true"}
        assert len(caller.key_names()) == 1
        caller.act(unassign_vf.unassign_vf, all="true")
        caller.forget()
    assert begun > 3


def test_a_vm_that_has_requests_is_not_adopted(caller: Caller) -> None:
    caller.act(assign_vf.assign_vf, pf="eth1")
    with pytest.raises(Exception, match="has requests already"):
        caller.act(adopt_vm.adopt_vm)


@pytest.mark.parametrize("function", [assign_vf.assign_vf, reinstate_vfs.reinstate_vfs])
def test_an_old_key_that_stays_undoes_nothing(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, function: Any
) -> None:
    """xapi goes away when all is written, but before the key of the entry before it is removed; the next
    call, for whatever VM, does that."""
    caller.act(assign_vf.assign_vf, pf="eth1")
    if function == reinstate_vfs.reinstate_vfs:
        set_pci(caller, FOREIGN)
    else:
        caller.act(unassign_vf.unassign_vf, all="true")
    real, written = Xapi.call, []

    def call(self: Xapi, method: str, *params: Any) -> Any:
        written.extend([method] if method == WRITES else [])
        if written and method == "pool.remove_from_other_config":
            raise XapiSilent("xapi is not there")
        return real(self, method, *params)

    args = {"pf": "eth1"} if function == assign_vf.assign_vf else {}
    with monkeypatch.context() as patch:
        patch.setattr(Xapi, "call", call)
        assert caller.act(function, **args)["vm_uuid"] == caller.vm
    assert len(caller.key_names()) == 2
    entry = caller.entry()
    assert entry.lease is not None
    assert caller.state()[1]["pci"] == f"{FOREIGN},4/{VF}" == entry.pci
    first, caller.vm = caller.vm, str(caller.session.xenapi.VM.get_uuid(caller.box.add_vm("db")))
    caller.act(assign_vf.assign_vf, pf="eth1")
    caller.vm = first
    assert len(caller.key_names()) == 1
