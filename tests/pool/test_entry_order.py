"""A guest sees its VFs in the order in which they are plugged: that of its requests, whoever wrote its
entries meanwhile."""

from typing import Any, Dict, List

import pytest
from managed_pool import Pool

pytestmark = pytest.mark.story

VF, SECOND, THIRD = "0000:07:10.0", "0000:07:10.2", "0000:07:10.4"
SOUND = "0000:00:1f.3"


def two_vfs(pool: Pool) -> str:
    """A VM with a VF in VLAN 12, and then one in VLAN 13."""
    vm = pool.with_vf("web", vlan="12")
    pool.assign(vm, network=pool.network("eth1"), vlan="13")
    assert pool.pci(vm) == f"0/{VF},1/{SECOND}"
    return vm


def messages(pool: Pool) -> List[Dict[str, Any]]:
    return list(pool.api("message.get_all_records").values())


@pytest.mark.parametrize("text", [f"0/{VF},0/{SECOND}", f"0/{VF},1/{SECOND},2/{VF}"])
def test_a_start_does_not_exchange_the_guests_nics(pool: Pool, text: str) -> None:
    vm = two_vfs(pool)
    pool.set_pci(vm, text)
    pool.conflict_of("LEASE_STALE", "order", f"{SECOND}, {VF}")
    assert pool.restarts(vm, pool.one, "order", f"{VF}, {SECOND}") == [VF, SECOND]
    assert (pool.settings(pool.one, VF)[1], pool.settings(pool.one, SECOND)[1]) == (12, 13)
    assert "LEASE_STALE" not in pool.codes()


def test_a_reboot_that_exchanges_the_guests_nics_goes_on_and_is_told_of(pool: Pool) -> None:
    """What it plugs cannot be changed any more."""
    vm = two_vfs(pool)
    pool.start(vm, pool.one)
    pool.set_pci(vm, f"0/{VF},0/{SECOND}")
    before = len(messages(pool))
    pool.guest_reboots(vm)
    assert pool.power_state(vm) == "Running"
    (told,) = messages(pool)[before:]
    assert told["name"] == "SRIOV_STALE_ENTRIES"
    assert f"({SECOND}, {VF}; before: {VF}, {SECOND})" in told["body"]
    pool.conflict_of("LEASE_STALE", "Shut it down")


def test_an_adopted_vm_keeps_the_order_of_its_vfs(pool: Pool) -> None:
    """Of equal numbers the last of the text is plugged first."""
    web = pool.vm("web", f"0/{VF},0/{SECOND}")
    adopted = pool.adopt(web, on=pool.one)
    assert [one["vf"] for one in adopted["vfs"]] == [SECOND, VF]
    assert pool.pci(web) == f"0/{SECOND},1/{VF}"


def test_text_that_xapi_ignores_behind_an_entry(pool: Pool) -> None:
    web = pool.vm("web", f"0/{VF};0/{SECOND}")
    pool.conflict_of("ENTRY_INVALID", VF, f"`;0/{SECOND}`")
    adopted = pool.adopt(web, on=pool.one)
    assert [one["vf"] for one in adopted["vfs"]] == [VF]
    assert any(f";0/{SECOND}" in warning for warning in adopted["warnings"])
    assert pool.pci(web) == f"0/{VF}"
