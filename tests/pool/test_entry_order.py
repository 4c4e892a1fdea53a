"""A guest sees its VFs in the order in which they are plugged: that of its requests, whoever wrote its
entries meanwhile."""

from typing import Any, Dict, List

import pytest
from administrator import Administrator
from estate import Estate

pytestmark = pytest.mark.story

VF, SECOND, THIRD = "0000:07:10.0", "0000:07:10.2", "0000:07:10.4"
SOUND = "0000:00:1f.3"


def two_vfs(estate: Estate) -> str:
    """A VM with a VF in VLAN 12, and then one in VLAN 13."""
    vm = estate.with_vf("web", vlan="12")
    estate.call("assign_vf", vm_uuid=estate.uuid(vm), network=estate.network, vlan="13")
    assert estate.pci(vm) == f"0/{VF},1/{SECOND}"
    return vm


def messages(estate: Estate) -> List[Dict[str, Any]]:
    return list(estate.box.xapi.call("message.get_all_records").values())


@pytest.mark.parametrize("text", [f"0/{VF},0/{SECOND}", f"0/{SECOND},1/{VF}", f"2/{VF},1/{SECOND}"])
def test_a_start_does_not_exchange_the_guests_nics(estate: Estate, text: str) -> None:
    vm = two_vfs(estate)
    estate.set_pci(vm, text)
    (stale,) = [one for one in estate.conflicts() if one["code"] == "LEASE_STALE"]
    assert f"in another order than that of its requests: {SECOND}, {VF}" in stale["message"]
    first, message, _ = estate.refused(vm, 0)
    assert first.startswith("SRIOV_RESTARTING ")
    assert f"its VFs in another order than its requests, and now has {VF}, {SECOND}" in message
    assert estate.box.wait_for_calls()
    assert estate.box.devices(vm) == [VF, SECOND]
    assert (estate.settings(0, VF)[1], estate.settings(0, SECOND)[1]) == (12, 13)
    assert [one for one in estate.conflicts() if one["code"] == "LEASE_STALE"] == []


def test_equal_numbers_in_the_right_order_are_right(estate: Estate) -> None:
    vm = two_vfs(estate)
    estate.set_pci(vm, f"0/{SECOND},0/{VF}")
    estate.start(vm, 0)
    assert estate.box.devices(vm) == [VF, SECOND]


def test_an_address_that_stands_twice_counts_where_it_stands_last(estate: Estate) -> None:
    vm = two_vfs(estate)
    estate.set_pci(vm, f"0/{VF},1/{SECOND},2/{VF}")
    assert estate.refused(vm, 0)[0].startswith("SRIOV_RESTARTING ")
    assert estate.box.wait_for_calls()
    assert estate.box.devices(vm) == [VF, SECOND]


def test_a_reboot_that_exchanges_them_goes_on_and_is_told_of(estate: Estate) -> None:
    """What it plugs cannot be changed any more."""
    vm = two_vfs(estate)
    estate.start(vm, 0)
    estate.set_pci(vm, f"0/{VF},0/{SECOND}")
    before = len(messages(estate))
    estate.box.reboot_from_inside(vm)
    assert estate.box.power_state(vm) == "Running"
    (told,) = messages(estate)[before:]
    assert told["name"] == "SRIOV_STALE_ENTRIES"
    assert f"({SECOND}, {VF}; before: {VF}, {SECOND})" in told["body"]
    (stale,) = [one for one in estate.conflicts() if one["code"] == "LEASE_STALE"]
    assert "Shut it down and start it" in stale["hint"]


def test_a_call_puts_the_order_right_and_keeps_the_entries_of_others(pool: Administrator) -> None:
    """Xen Orchestra rewrites all entries with one number as it attaches a device."""
    web = pool.vm("web")
    for _ in range(2):
        pool.call("assign_vf", vm_uuid=web, pf="eth1")
    pool.set_pci(web, f"0/{VF},0/{SECOND},0/{SOUND}")
    assert pool.call("reinstate_vfs", vm_uuid=web)["pci_changed"]
    assert pool.pci(web) == f"0/{SOUND},1/{VF},2/{SECOND}"
    assert pool.conflicts() == []
    pool.set_pci(web, f"7/{SECOND},8/{SOUND},9/{VF}")
    pool.call("assign_vf", vm_uuid=web, pf="eth1")
    assert pool.pci(web) == f"7/{VF},8/{SOUND},9/{SECOND},10/{THIRD}"


def test_an_adopted_vm_keeps_the_order_that_it_had(pool: Administrator) -> None:
    """Of equal numbers the last of the text is plugged first."""
    web = pool.vm("web")
    pool.set_pci(web, f"0/{VF},0/{SECOND}")
    adopted = pool.call("adopt_vm", vm_uuid=web, host_uuid=pool.box.hosts[0].uuid)
    assert [one["vf"] for one in adopted["vfs"]] == [SECOND, VF]
    assert pool.pci(web) == f"0/{SECOND},1/{VF}"


def test_text_that_xapi_ignores_behind_an_entry(pool: Administrator) -> None:
    web = pool.vm("web")
    pool.set_pci(web, f"0/{VF};0/{SECOND}")
    _, dropped = pool.conflicts()
    assert dropped["code"] == "ENTRY_INVALID"
    assert f"xapi reads {VF} of the entry" in dropped["message"]
    assert f"ignores `;0/{SECOND}`" in dropped["message"]
    assert dropped["address"] == VF
    adopted = pool.call("adopt_vm", vm_uuid=web, host_uuid=pool.box.hosts[0].uuid)
    assert [one["vf"] for one in adopted["vfs"]] == [VF]
    assert any(f";0/{SECOND}" in warning for warning in adopted["warnings"])
    assert pool.pci(web) == f"0/{VF}"
