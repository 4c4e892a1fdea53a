"""Keys of the ledger in pool.other_config: what becomes of them when VMs go, when somebody writes into them
or takes them out, and what that may cost others."""

import json

import pytest
from managed_pool import Pool
from refusals import is_conflict
from sriovlib.pool import ledger

pytestmark = pytest.mark.story

VF = "0000:07:10.0"


def test_keys_of_vms_that_are_gone_are_collected(pool: Pool) -> None:
    gone, template = pool.with_vf("gone"), pool.with_vf("template")
    pool.destroy(gone)
    pool.set_template(template)
    assert pool.codes() == ["REQUEST_STALE"] * 2
    pool.with_vf("a")
    assert (pool.ledger(gone), pool.ledger(template) is not None) == (None, True)


def copied(pool: Pool, kind: str) -> str:
    """What there is of a VM that had a VF and is gone: a clone, a template or a snapshot of it."""
    web = pool.with_vf("web", pf="eth1", vlan="12")
    if kind == "snapshot":
        copy = pool.snapshot(web)
    else:
        copy = pool.clone(web, "web copy")
        pool.set_template(copy, kind == "template")
    pool.destroy(web)
    for name in ("other", "another"):
        pool.with_vf(name)
    assert pool.ledger(web) is not None
    return copy


def test_a_key_stays_while_there_is_a_copy_of_its_vms_entries(pool: Pool) -> None:
    """Else nobody would know the clone for one, and it would start with its origin's VF in no VLAN."""
    copy = copied(pool, "clone")
    missing, clone = pool.conflicts()
    is_conflict(missing, "REQUEST_STALE")
    is_conflict(clone, "COPY", vms=[copy, *missing["vm_uuids"]])
    pool.start_refused(copy, pool.other).says("SRIOV_VF_IN_USE", *missing["vm_uuids"], "copy")
    (got,) = pool.adopt(copy)["vfs"]  # as the hint advises
    assert got["settings"]["vlan"] == "12"
    pool.assign(copy, pf="eth1")
    assert pool.conflicts() == []
    assert pool.ledger(missing["vm_uuids"][0]) is None


@pytest.mark.parametrize("kind", ["template", "snapshot"])
def test_a_key_stays_while_copies_can_be_made_of_its_vm(pool: Pool, kind: str) -> None:
    copy = copied(pool, kind)
    (origin,) = pool.conflict("REQUEST_STALE")["vm_uuids"]
    made = pool.clone(copy, "made of it")
    pool.set_template(made, False)
    (got,) = pool.adopt(made, origin_uuid=origin)["vfs"]
    assert got["settings"]["vlan"] == "12"
    pool.destroy(copy)
    pool.unassign(made)
    assert pool.ledger(origin) is None


def test_a_key_without_requests_stays_while_there_is_a_copy(pool: Pool) -> None:
    """Its clone is not refused, but told of."""
    web = pool.with_vf("web", pf="eth1")
    copy = pool.clone(web, "web copy")
    pool.unassign(web)
    pool.destroy(web)
    pool.assign(pool.vm("other"), pf="eth1")
    pool.conflict_of("COPY", f"xe vm-param-remove uuid={copy}", web)
    pool.set_pci(copy, None)
    pool.assign(pool.vm("another"), pf="eth1")
    assert pool.conflicts() == []


def test_a_key_that_cannot_be_read_is_reported_and_left_alone(pool: Pool) -> None:
    """Until somebody does as is advised: the key out, the VM's entries out, and assigned anew."""
    vm, other = pool.with_vf("a", pf="eth1", vlan="5"), pool.vm("b")
    pool.set_ledger(vm, '{"version":2}')
    (name,) = pool.key_names(vm)
    advice = f"xe vm-param-remove uuid={vm} param-name=other-config param-key=pci"
    for function, args in (
        ("assign_vf", {"pf": "eth1"}),
        ("reinstate_vfs", {}),
        ("unassign_vf", {"all": "true"}),
        ("adopt_vm", {}),
    ):
        pool.refused(function, vm=vm, **args).says("SRIOV_LEDGER", "pool-param-remove", advice)
    pool.assign(other, pf="eth1")
    pool.conflict("LEDGER_UNREADABLE", vms=[vm])
    assert pool.pool_keys()[name] == '{"version":2}'
    pool.set_ledger(vm, None)
    pool.set_pci(vm, None)
    got = pool.assign(vm, pf="eth1", vlan="5")
    assert (got["request"], pool.pci(vm)) == (1, f"0/{VF}")
    assert pool.conflicts() == []


def test_entries_of_a_vm_whose_key_cannot_be_read_are_held(pool: Pool) -> None:
    """Also where another VM is lent that address of another host: it may be lent it here."""
    unread, _ = pool.with_vf("unread", vf=VF), pool.with_vf("second", vf=VF, on=pool.other)
    pool.set_ledger(unread, '{"version":2}')
    refused = pool.refused("assign_vf", vm=pool.vm("a"), vf=VF, on=pool.one)
    refused.says("SRIOV_NO_FREE_VF", f"unread ({unread})")
    (shown,) = pool.vfs(state="assigned")
    assert (shown["address"], shown["assigned_to"]["vm_uuid"]) == (VF, unread)


def test_a_key_beside_the_vms_own_is_taken_out_as_the_hint_says(pool: Pool) -> None:
    """Its name has no serial, so that it could be the newer one: the VM's own key is left."""
    vm = pool.with_vf("a", pf="eth1", vlan="5")
    (own,) = [name for name in pool.pool_keys() if vm in name]
    (ref,) = pool.api("pool.get_all")
    pool.api("pool.add_to_other_config", ref, f"sriov-vm-{vm}.old", "{}")
    hint = pool.refused("assign_vf", vm_uuid=vm, pf="eth1")[2]
    assert f"param-key=sriov-vm-{vm}.old`): then {own} counts" in hint
    assert pool.conflict("LEDGER_UNREADABLE")["hint"] in hint
    pool.api("pool.remove_from_other_config", ref, f"sriov-vm-{vm}.old")
    pool.call("reinstate_vfs", vm_uuid=vm)
    assert (pool.pci(vm), pool.conflicts()) == (f"0/{VF}", [])


def test_a_key_with_the_last_serial_is_renamed_as_the_hint_says(pool: Pool) -> None:
    vm = pool.with_vf("a", pf="eth1")
    (name,) = [name for name in pool.pool_keys() if vm in name]
    (ref,) = pool.api("pool.get_all")
    last, first = f"sriov-vm-{vm}.{'9' * 16}", f"sriov-vm-{vm}.1"
    text = pool.pool_keys()[name]

    def rename(before: str, after: str) -> None:
        pool.api("pool.add_to_other_config", ref, after, text)
        pool.api("pool.remove_from_other_config", ref, before)

    rename(name, last)
    code, message, hint = pool.refused("unassign_vf", vm_uuid=vm, all="true")
    assert (code, last in message, f"{first}, and remove" in hint) == ("SRIOV_LEDGER", True, True)
    rename(last, first)
    assert pool.call("unassign_vf", vm_uuid=vm, all="true")["changed"]


def test_a_note_that_looks_like_a_key_stays_and_stops_no_start(pool: Pool) -> None:
    pool.set_ledger('"note', "keep me")
    pool.start(pool.with_vf("a", pf="eth1"), pool.other)
    assert pool.pool_keys()[ledger.PREFIX + '"note'] == "keep me"


def test_numbers_that_somebody_made_too_large_cost_nobody_else(pool: Pool) -> None:
    """A serial after which there is none: other VMs are given VFs all the same. And a VM that has no number
    left for another request is told so."""
    vm, other = pool.vm("a"), pool.vm("b")
    pool.assign(vm, pf="eth1")
    key = pool.ledger(vm)
    key["lease"]["serial"] = key["next"] = ledger.LARGEST
    pool.set_ledger(vm, json.dumps(key))
    assert pool.assign(other, pf="eth1")["request"] == 1
    pool.refused("assign_vf", vm=vm, pf="eth1").says("SRIOV_LEDGER", f"a ({vm})")
    assert pool.unassign(vm)["changed"]
    assert pool.call("list_assignments", vm=other)["conflicts"] == []


def test_entries_of_pages_are_refused_and_cost_no_other_vm(pool: Pool) -> None:
    """A vm-admin may make a VM with any `pci`; more than 64 KiB of it are not read."""
    odd = pool.vm("odd", ",".join(f"{number}/0000:07:10.0" for number in range(5000)))
    advice = f"xe vm-param-remove uuid={odd} param-name=other-config param-key=pci"
    for function, args in (("assign_vf", {"pf": "eth1"}), ("adopt_vm", {}), ("reinstate_vfs", {})):
        pool.refused(function, vm=odd, **args).says("SRIOV_BAD_ARGUMENT", f"odd ({odd})", advice)
    assert pool.assign(pool.vm("web"), pf="eth1")["request"] == 1
    pool.conflict("ENTRY_INVALID", vms=[odd])
    pool.start_refused(odd, pool.one).says("SRIOV_BAD_ARGUMENT", "65536", advice)


def test_iovirt_keys_of_pages_are_refused(pool: Pool) -> None:
    keys = {"pci": f"0/{VF}", "sriovmacs": "0/02:16:3e:00:00:0a" + "," * 70_000}
    odd = pool.vm("odd", other_config=keys, affinity=pool.one.ref)
    refused = pool.refused("adopt_vm", vm=odd).says("SRIOV_BAD_ARGUMENT", "sriovmacs")
    assert len(refused.message) < 500


@pytest.mark.parametrize("waiting", [False, True])
def test_keys_and_vms_of_the_first_builds_are_replaced_at_the_next_change(pool: Pool, waiting: bool) -> None:
    """Keys without a serial, of a call that was cut off too; and no mark on the VM."""
    vm = pool.with_vf("web", vlan="12")
    text, pci = json.dumps(pool.ledger(vm)), pool.pci(vm)
    pool.set_ledger(vm, None)
    pool.set_ledger(vm, text)
    (ref,) = pool.api("pool.get_all")
    if waiting:
        pool.api("pool.add_to_other_config", ref, f"sriov-next-{vm}", text)
        pool.api("pool.remove_from_other_config", ref, f"sriov-vm-{vm}")
        pool.set_pci(vm, None)
    pool.api("VM.remove_from_other_config", pool.ref(vm), ledger.MARK)
    assert pool.requests(vm)[0]["settings"]["vlan"] == "12"
    pool.reinstate(vm)
    assert [name for name in pool.pool_keys() if vm in name] == [f"sriov-vm-{vm}.1"]
    assert (pool.pci(vm), pool.keys(vm)[0][ledger.MARK]) == (pci, vm)
    assert pool.conflicts() == []
