"""A VM's VFs as its custom field in XenCenter and Xen Orchestra."""

from typing import Any, List, Optional, Tuple
from xml.etree import ElementTree

import pytest
from interference import all_cuts, calls_watched, xapi_fails
from live_moves import running_with_vf
from managed_pool import Pool
from sriovlib.pool import FIELD, FIELD_DEFINITIONS, FIELD_WISH, custom_field
from sriovlib.pool.alerts import check

VF, NEXT_VF = "0000:07:10.0", "0000:07:10.2"
# As XenCenter writes them (CustomFieldsManager.cs, GetCustomFieldDefinitionXML).
OTHERS = (
    '<CustomFieldDefinitions><CustomFieldDefinition name="sriov owner" type="String" defaultValue="" />'
    '<CustomFieldDefinition name="due &lt; &quot;x" type="Date" defaultValue="" /></CustomFieldDefinitions>'
)
NONE = "<CustomFieldDefinitions />"


def want(pool: Pool, wish: Optional[str]) -> None:
    """The administrator does, and the master looks."""
    (ref,) = pool.api("pool.get_all")
    pool.api("pool.remove_from_other_config", ref, FIELD_WISH)
    if wish is not None:
        pool.api("pool.add_to_other_config", ref, FIELD_WISH, wish)
    check.check(pool.box.master.machine)


def field(pool: Pool, vm: str) -> Any:
    return pool.record(vm)["other_config"].get(FIELD)


def definitions(pool: Pool) -> Any:
    (ref,) = pool.api("pool.get_all")
    return pool.api("pool.get_gui_config", ref).get("XenCenter.CustomFields")


def read(text: str) -> List[Tuple[str, str]]:
    """Name and type of each, as XenCenter reads them: the children of the first node."""
    first = ElementTree.fromstring(text)
    assert first.tag == "CustomFieldDefinitions"
    return [(node.attrib["name"], node.attrib["type"]) for node in first]


@pytest.mark.story
def test_it_is_kept_true(pool: Pool) -> None:
    web, db = pool.with_vf("web", vlan="12"), pool.vm("db")
    want(pool, None)
    assert (field(pool, web), definitions(pool)) == (None, None)
    want(pool, "yes")
    assert field(pool, web) == f"{VF} (VLAN 12) of host1"
    assert field(pool, db) is None
    assert read(definitions(pool)) == [("sriov", "String")]
    pool.assign(web, network=pool.network("eth1"), profile="router")  # in no VLAN
    copy = pool.clone(web, "copy")
    assert field(pool, copy)
    want(pool, "On")
    assert field(pool, web) == f"{VF} (VLAN 12) and {NEXT_VF} of host1"
    assert field(pool, copy) is None
    pool.call("park_vm", vm=web)
    want(pool, "yes")
    assert field(pool, web) == "parked, without VFs"
    pool.reinstate(web, on=pool.other)
    want(pool, "yes")
    assert field(pool, web).endswith(" of host2")
    pool.unassign(web)
    want(pool, "yes")
    assert field(pool, web) is None


@pytest.mark.story
def test_it_says_that_a_vf_is_away(pool: Pool) -> None:
    web = running_with_vf(pool)
    want(pool, "yes")
    assert field(pool, web) == f"{VF} (VLAN 12) of host1"
    pool.call("detach_vfs", vm=web)
    want(pool, "yes")
    assert field(pool, web) == f"{VF} (VLAN 12) of host1, detached"
    pool.call("attach_vfs", vm=web)
    want(pool, "yes")
    assert field(pool, web) == f"{VF} (VLAN 12) of host1"


@pytest.mark.story
def test_nothing_is_written_that_is_so_already(pool: Pool) -> None:
    vm = pool.with_vf("web")
    want(pool, "yes")
    calls: List[str] = []
    with calls_watched(pool.box, pool.one, lambda _number, name: calls.append(name)):
        check.check(pool.one.machine)
    assert field(pool, vm)
    assert calls
    assert [name for name in calls if name.startswith(("VM.", "pool.")) and ".get_" not in name] == []


@pytest.mark.story
def test_no_takes_it_away_and_other_words_change_nothing(pool: Pool) -> None:
    vm = pool.with_vf("web")
    (ref,) = pool.api("pool.get_all")
    pool.api("pool.add_to_gui_config", ref, FIELD_DEFINITIONS, OTHERS)
    want(pool, "yes")
    assert field(pool, vm)
    for wish in (None, "perhaps\n", ""):
        want(pool, wish)
        assert field(pool, vm)
    want(pool, " No ")
    assert (field(pool, vm), definitions(pool)) == (None, OTHERS)


@pytest.mark.story
def test_wish_that_is_none_is_a_conflict(pool: Pool) -> None:
    """Until it is put right; the answer that was kept of the same pool without it is not given again."""
    vm = pool.with_vf("web")
    assert pool.codes() == []
    for wish, shown in (("perhaps\n", "`perhaps`"), ("", "``")):
        want(pool, wish)
        pool.conflict("CONFIG_ERROR", f"sriov-custom-field is {shown}", "takes yes or no", vms=[])
        assert pool.conflicts(vm=vm) == []
    for right in ("TRUE", "off", None):
        want(pool, right)
        assert pool.codes() == []


@pytest.mark.story
def test_definitions_that_xencenter_cannot_have_written_are_a_conflict(pool: Pool) -> None:
    """Ours cannot be added to them, so they are left alone, and the VMs' fields are written all the same."""
    vm = pool.with_vf("web")
    (ref,) = pool.api("pool.get_all")
    pool.api("pool.add_to_gui_config", ref, FIELD_DEFINITIONS, "no XML")
    assert pool.codes() == []
    want(pool, "yes")
    assert (bool(field(pool, vm)), definitions(pool)) == (True, "no XML")
    pool.conflict("CONFIG_ERROR", "pool.gui_config:XenCenter.CustomFields", "XenCenter does not show", vms=[])
    pool.api("pool.remove_from_gui_config", ref, FIELD_DEFINITIONS)
    assert pool.codes() == []
    want(pool, "yes")
    assert read(definitions(pool)) == [("sriov", "String")]


@pytest.mark.story
def test_definitions_of_others_outlive_a_check_that_is_killed(pool: Pool) -> None:
    """At no call is there a moment without them."""
    pool.with_vf("web")
    (ref,) = pool.api("pool.get_all")
    pool.api("pool.add_to_gui_config", ref, "another", "key")
    pool.api("pool.add_to_gui_config", ref, FIELD_DEFINITIONS, OTHERS)
    pool.api("pool.add_to_other_config", ref, FIELD_WISH, "yes")
    with_ours = custom_field.with_ours(OTHERS)
    for number in all_cuts(lambda: check.check(pool.one.machine)):
        assert definitions(pool) in (OTHERS, with_ours), number
    assert definitions(pool) == with_ours
    assert pool.api("pool.get_gui_config", ref)["another"] == "key"


@pytest.mark.story
@pytest.mark.parametrize("wish", ["yes", "no"])
def test_templates_and_snapshots_have_none(pool: Pool, wish: str) -> None:
    """They have no VFs, and xapi copies the field into them; from there it would come back."""
    web = pool.with_vf("web")
    want(pool, "yes")
    template, snapshot = pool.clone(web, "template"), pool.snapshot(web)
    pool.api("VM.set_is_a_template", pool.ref(template), True)
    assert field(pool, template)
    assert field(pool, snapshot)
    with xapi_fails(pool.box, pool.one, "VM.remove_from_other_config", times=1):
        want(pool, wish)
    want(pool, wish)
    assert (field(pool, template), field(pool, snapshot)) == (None, None)
    assert bool(field(pool, web)) == (wish == "yes")


@pytest.mark.story
def test_a_vm_that_xapi_refuses_stops_no_other(pool: Pool) -> None:
    vms = {name: pool.with_vf(name) for name in ("web", "db")}
    with xapi_fails(pool.box, pool.one, "VM.add_to_other_config", times=1):
        want(pool, "yes")
    (refused,) = [name for name, vm in vms.items() if not field(pool, vm)]
    assert f"VM {refused} ({vms[refused]}): {FIELD}: " in pool.log(pool.one)
    want(pool, "yes")
    assert all(field(pool, vm) for vm in vms.values())
    pool.set_ledger(vms["web"], "{")  # what it has is not known
    want(pool, "yes")
    assert all(field(pool, vm) for vm in vms.values())


@pytest.mark.parametrize(
    ("before", "others"),
    [("", []), (NONE, []), (OTHERS, [("sriov owner", "String"), ('due < "x', "Date")])],
)
def test_definitions_of_others_stay(before: str, others: List[Tuple[str, str]]) -> None:
    after = custom_field.with_ours(before)
    assert after is not None
    assert read(after) == [*others, ("sriov", "String")]
    assert custom_field.with_ours(after) == after


@pytest.mark.parametrize("odd", ["x", "<a/>", "<CustomFieldDefinitions>"])
def test_what_is_not_xencenters_is_left_alone(odd: str) -> None:
    assert custom_field.with_ours(odd) is None
