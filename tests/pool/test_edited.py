"""Entries that other tools write over ours: Xen Orchestra's PCI tab, `xe`, Terraform."""

import pytest
import xen_orchestra
from managed_pool import Pool

pytestmark = [pytest.mark.story, pytest.mark.pool(ports=("eth1", "eth2"))]

FIRST, SECOND = "0000:07:10.0", "0000:07:10.2"
CARD, DISK = "0000:07:10.1", "0000:07:10.3"  # VFs of another port, by hand


@pytest.fixture
def pair(pool: Pool) -> str:
    """A VM with two VFs, in two VLANs, and an entry of somebody else's."""
    web = pool.with_vf("web", vlan="12", vf=FIRST)
    pool.assign(web, vlan="13", vf=SECOND, on=pool.one)
    pool.set_pci(web, f"0/{FIRST},1/{SECOND},7/{CARD}")
    return web


def restarts_right(pool: Pool, vm: str, pci: str) -> None:
    """The start is replaced by one with these entries, where each VF has its VLAN; the next is plain."""
    pool.restarts(vm, pool.one)
    assert pool.pci(vm) == pci
    own = [device for device in pool.devices(vm) if device in (FIRST, SECOND)]
    assert [(device, pool.settings(pool.one, device)[1]) for device in own] == [(FIRST, 12), (SECOND, 13)]
    pool.shut_down(vm)
    pool.start(vm, pool.one)
    assert pool.pci(vm) == pci


def test_a_device_attached_in_xen_orchestra(pool: Pool, pair: str) -> None:
    """Equal numbers are plugged from the last to the first, so the guest would see the VFs swapped."""
    xen_orchestra.attach(pool, pair, DISK)
    assert pool.pci(pair) == f"0/{FIRST},0/{SECOND},0/{CARD},0/{DISK}"
    pool.conflict_of("LEASE_STALE", f"{SECOND}, {FIRST}")
    restarts_right(pool, pair, f"0/{CARD},0/{DISK},1/{FIRST},2/{SECOND}")


def test_a_vf_of_ours_detached_in_xen_orchestra_is_still_requested(pool: Pool, pair: str) -> None:
    xen_orchestra.detach(pool, pair, FIRST)
    assert pool.pci(pair) == f"0/{SECOND},0/{CARD}"
    pool.conflict_of("LEASE_STALE", "does not name the VFs of its requests 1")
    restarts_right(pool, pair, f"0/{CARD},1/{FIRST},2/{SECOND}")


def test_entries_that_xe_or_terraform_replaced(pool: Pool, pair: str) -> None:
    pool.set_pci(pair, f"0/{CARD}")
    assert pool.reinstate(pair)["pci_changed"]
    assert pool.pci(pair) == f"0/{CARD},1/{FIRST},2/{SECOND}"
    pool.set_pci(pair, None)  # xapi starts a VM without entries unasked, so that start has no VFs
    pool.conflict_of("LEASE_STALE", "`reinstate_vfs`")
    pool.reinstate(pair)
    assert pool.pci(pair) == f"0/{FIRST},1/{SECOND}"


def test_one_vf_among_equal_numbers_needs_no_second_start(pool: Pool) -> None:
    web = pool.with_vf("web", vf=FIRST)
    xen_orchestra.attach(pool, web, CARD)
    pool.start(web, pool.one)
    assert pool.devices(web) == [CARD, FIRST]
