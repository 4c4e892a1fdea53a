"""Keys of the ledger in pool.other_config: what becomes of them when VMs go, when somebody writes into them
or takes them out, and what that may cost others."""

import json

import pytest
from administrator import Administrator
from sriovlib.pool import ledger

pytestmark = pytest.mark.story

VF = "0000:07:10.0"


def test_keys_of_vms_that_are_gone_are_collected(pool: Administrator) -> None:
    gone, template, vm = pool.vm("gone"), pool.vm("template"), pool.vm("a")
    for one in (gone, template):
        pool.call("assign_vf", vm_uuid=one, pf="eth1")
    pool.api("VM.destroy", pool.ref(gone))
    pool.api("VM.set_is_a_template", pool.ref(template), True)
    assert pool.codes() == ["REQUEST_STALE"] * 2
    pool.call("assign_vf", vm_uuid=vm, pf="eth1")
    assert pool.ledger(gone) is None
    assert pool.ledger(template) is not None


def copied(pool: Administrator, kind: str) -> str:
    """What there is of a VM that had a VF and is gone: a clone, a template or a snapshot of it."""
    web = pool.vm("web")
    pool.call("assign_vf", vm_uuid=web, pf="eth1", vlan="12")
    if kind == "snapshot":
        copy = pool.uuid(pool.api("VM.snapshot", pool.ref(web), "with a VF"))
    else:
        copy = pool.clone(web, "web copy")
        pool.api("VM.set_is_a_template", pool.ref(copy), kind == "template")
    pool.api("VM.destroy", pool.ref(web))
    for _ in range(2):
        pool.call("assign_vf", vm_uuid=pool.vm("other"), pf="eth1")
    assert pool.ledger(web) is not None
    return copy


def test_a_key_stays_while_there_is_a_copy_of_its_vms_entries(pool: Administrator) -> None:
    """Else nobody would know the clone for one, and it would start with its origin's VF in no VLAN."""
    copy = copied(pool, "clone")
    missing, clone = pool.conflicts()
    assert (missing["code"], clone["code"]) == ("REQUEST_STALE", "COPY")
    assert clone["vm_uuids"] == [copy, *missing["vm_uuids"]]
    assert "It does not start with them." in clone["hint"]

    (got,) = pool.call("adopt_vm", vm_uuid=copy)["vfs"]  # as the hint advises
    assert got["settings"]["vlan"] == "12"
    pool.call("assign_vf", vm_uuid=copy, pf="eth1")
    assert pool.conflicts() == []
    assert pool.ledger(missing["vm_uuids"][0]) is None


@pytest.mark.parametrize("kind", ["template", "snapshot"])
def test_nor_is_it_taken_out_while_such_vms_can_be_made(pool: Administrator, kind: str) -> None:
    copy = copied(pool, kind)
    (origin,) = pool.conflict("REQUEST_STALE")["vm_uuids"]
    made = pool.clone(copy, "made of it")
    pool.api("VM.set_is_a_template", pool.ref(made), False)
    (got,) = pool.call("adopt_vm", vm_uuid=made, origin_uuid=origin)["vfs"]
    assert got["settings"]["vlan"] == "12"
    pool.api("VM.destroy", pool.ref(copy))
    pool.call("unassign_vf", vm_uuid=made, all="true")
    assert pool.ledger(origin) is None


def test_the_key_of_a_vm_that_gave_all_back_stays_too(pool: Administrator) -> None:
    """Its clone is not refused, but told of."""
    web = pool.vm("web")
    pool.call("assign_vf", vm_uuid=web, pf="eth1")
    copy = pool.clone(web, "web copy")
    pool.call("unassign_vf", vm_uuid=web, all="true")
    pool.api("VM.destroy", pool.ref(web))
    pool.call("assign_vf", vm_uuid=pool.vm("other"), pf="eth1")
    assert [one["vm_uuids"] for one in pool.conflicts() if one["code"] == "COPY"] == [[copy, web]]
    pool.set_pci(copy, None)
    pool.call("assign_vf", vm_uuid=pool.vm("another"), pf="eth1")
    assert pool.conflicts() == []


def test_a_key_that_cannot_be_read_is_reported_and_left_alone(pool: Administrator) -> None:
    vm, other = pool.vm("a"), pool.vm("b")
    pool.set_ledger(vm, "{nonsense")
    for function, args in (
        ("assign_vf", {"pf": "eth1"}),
        ("reinstate_vfs", {}),
        ("unassign_vf", {"all": "true"}),
        ("adopt_vm", {}),
    ):
        assert pool.refused(function, vm_uuid=vm, **args)[0] == "SRIOV_LEDGER"
    pool.call("assign_vf", vm_uuid=other, pf="eth1")
    assert pool.conflict("LEDGER_UNREADABLE")["vm_uuids"] == [vm]
    assert pool.pool_keys()[ledger.PREFIX + vm] == "{nonsense"


def test_what_is_advised_for_it_helps(pool: Administrator) -> None:
    """The key out, the VM's entries out, and assigned anew."""
    vm = pool.vm("a")
    pool.call("assign_vf", vm_uuid=vm, pf="eth1", vlan="5")
    pool.set_ledger(vm, '{"version":2}')
    hint = pool.refused("assign_vf", vm_uuid=vm, pf="eth1")[2]
    assert "pool-param-remove" in hint
    assert f"xe vm-param-remove uuid={vm} param-name=other-config param-key=pci" in hint
    pool.set_ledger(vm, None)
    pool.set_pci(vm, None)
    got = pool.call("assign_vf", vm_uuid=vm, pf="eth1", vlan="5")
    assert (got["request"], pool.pci(vm)) == (1, f"0/{VF}")
    assert pool.conflicts() == []


def test_entries_of_a_vm_whose_key_cannot_be_read_are_held(pool: Administrator) -> None:
    """Also where another VM is lent that address of another host: it may be lent it here."""
    one, other = pool.box.hosts
    unread, second = pool.vm("unread"), pool.vm("second")
    for vm, host in ((unread, one), (second, other)):
        pool.call("assign_vf", vm_uuid=vm, vf=VF, host_uuid=host.uuid)
    pool.set_ledger(unread, '{"version":2}')
    vm = pool.vm("a")
    refused = pool.refused("assign_vf", vm_uuid=vm, vf=VF, host_uuid=one.uuid)
    assert (refused[0], f"unread ({unread})" in refused[1]) == ("SRIOV_NO_FREE_VF", True)
    (shown,) = pool.call("list_vfs", one, state="assigned")
    assert (shown["address"], shown["assigned_to"]["vm_uuid"]) == (VF, unread)


def test_a_note_that_looks_like_a_key_is_nobodys(pool: Administrator) -> None:
    pool.set_ledger("note", "keep me")
    vm = pool.vm("a")
    pool.call("assign_vf", vm_uuid=vm, pf="eth1")
    pool.call("unassign_vf", vm_uuid=vm, all="true")
    assert pool.pool_keys()[ledger.PREFIX + "note"] == "keep me"


def test_numbers_that_somebody_made_too_large_cost_nobody_else(pool: Administrator) -> None:
    """A serial after which there is none: other VMs are given VFs all the same. And a VM that has no number
    left for another request is told so."""
    vm, other = pool.vm("a"), pool.vm("b")
    pool.call("assign_vf", vm_uuid=vm, pf="eth1")
    key = pool.ledger(vm)
    key["lease"]["serial"] = key["next"] = ledger.LARGEST
    pool.set_ledger(vm, json.dumps(key))
    assert pool.call("assign_vf", vm_uuid=other, pf="eth1")["request"] == 1
    refused = pool.refused("assign_vf", vm_uuid=vm, pf="eth1")
    assert (refused[0], f"a ({vm})" in refused[1]) == ("SRIOV_LEDGER", True)
    assert pool.call("unassign_vf", vm_uuid=vm, all="true")["changed"]
    assert pool.call("list_assignments", vm_uuid=other)["conflicts"] == []


def test_what_is_written_by_hand_later_counts_in_every_call(pool: Administrator) -> None:
    """The VM had that VF, gave it back, and its owner writes the entry again: list_vfs and set_vf_count see
    what assign_vf sees."""
    vm, host = pool.vm("web"), pool.box.hosts[0]
    pool.call("assign_vf", vm_uuid=vm, vf=VF, host_uuid=host.uuid)
    pool.call("unassign_vf", vm_uuid=vm, all="true")
    pool.set_pci(vm, f"0/{VF}")
    (shown,) = pool.call("list_vfs", host, state="assigned")
    assert (shown["address"], shown["assigned_to"]["vm_uuid"]) == (VF, vm)
    code, _, _ = pool.refused("set_vf_count", host, pf="eth1", count="0")
    assert code == "SRIOV_VF_IN_USE"


def test_a_vm_whose_entries_are_out_altogether_is_told_what_writes_them(pool: Administrator) -> None:
    vm = pool.vm("web")
    pool.call("assign_vf", vm_uuid=vm, vf=VF, host_uuid=pool.box.hosts[0].uuid)
    pool.set_pci(vm, None)
    assert pool.conflict("LEASE_STALE")["hint"].startswith("It starts without VFs; `reinstate_vfs`")
    pool.call("reinstate_vfs", vm_uuid=vm)
    assert (pool.pci(vm), pool.conflicts()) == (f"0/{VF}", [])


def test_what_a_template_was_lent_is_taken_back_and_then_it_is_named_no_more(pool: Administrator) -> None:
    vm = pool.vm("template")
    pool.call("assign_vf", vm_uuid=vm, pf="eth1")
    pool.api("VM.set_is_a_template", pool.ref(vm), True)
    assert f"vm_uuid={vm} and all=true" in pool.conflict("REQUEST_STALE")["hint"]
    pool.call("unassign_vf", vm_uuid=vm, all="true")
    assert pool.conflicts() == []


def test_reinstating_another_vm_collects_too(pool: Administrator) -> None:
    gone, vm = pool.vm("gone"), pool.vm("a")
    for one in (gone, vm):
        pool.call("assign_vf", vm_uuid=one, pf="eth1")
    pool.api("VM.destroy", pool.ref(gone))
    pool.call("reinstate_vfs", vm_uuid=vm, host_uuid=pool.box.hosts[1].uuid)
    assert pool.ledger(gone) is None


def test_entries_of_pages_are_refused_and_cost_no_other_vm(pool: Administrator) -> None:
    """A vm-admin may make a VM with any `pci`; more than 64 KiB of it are not read."""
    odd = pool.vm("odd", ",".join(f"{number}/0000:07:10.0" for number in range(5000)))
    for function, args in (("assign_vf", {"pf": "eth1"}), ("adopt_vm", {}), ("reinstate_vfs", {})):
        code, message, hint = pool.refused(function, vm_uuid=odd, **args)
        assert (code, f"odd ({odd})" in message) == ("SRIOV_BAD_ARGUMENT", True)
        assert f"xe vm-param-remove uuid={odd} param-name=other-config param-key=pci" in hint
    assert pool.call("assign_vf", vm_uuid=pool.vm("web"), pf="eth1")["request"] == 1
    conflict = pool.conflict("ENTRY_INVALID")
    assert (conflict["vm_uuids"], "does not start with them." in conflict["hint"]) == ([odd], True)


def test_what_iovirt_keys_say_in_pages_is_refused(pool: Administrator) -> None:
    keys = {"pci": f"0/{VF}", "sriovmacs": "0/02:16:3e:00:00:0a" + "," * 70_000}
    odd = pool.vm("odd", other_config=keys, affinity=pool.box.hosts[0].ref)
    code, message, hint = pool.refused("adopt_vm", vm_uuid=odd)
    assert (code, "sriovmacs" in message, "take that key out" in hint) == ("SRIOV_BAD_ARGUMENT", True, True)
    assert len(message) < 500


@pytest.mark.parametrize("waiting", [False, True])
def test_keys_and_vms_of_the_first_builds_are_replaced_at_the_next_change(
    pool: Administrator, waiting: bool
) -> None:
    """Keys without a serial, of a call that was cut off too; and no mark on the VM."""
    vm = pool.vm("web")
    pool.call("assign_vf", vm_uuid=vm, pf="eth1", vlan="12")
    text, pci = json.dumps(pool.ledger(vm)), pool.pci(vm)
    pool.set_ledger(vm, None)
    pool.set_ledger(vm, text)
    (ref,) = pool.api("pool.get_all")
    if waiting:
        pool.api("pool.add_to_other_config", ref, f"sriov-next-{vm}", text)
        pool.api("pool.remove_from_other_config", ref, f"sriov-vm-{vm}")
        pool.set_pci(vm, None)
    pool.api("VM.remove_from_other_config", pool.ref(vm), ledger.MARK)
    assert pool.listed(vm)["requests"][0]["settings"]["vlan"] == "12"
    pool.call("reinstate_vfs", vm_uuid=vm)
    assert [name for name in pool.pool_keys() if vm in name] == [f"sriov-vm-{vm}.1"]
    assert (pool.pci(vm), pool.record(vm)["other_config"][ledger.MARK]) == (pci, vm)
    assert pool.conflicts() == []
