"""Devices that xapi itself gives to VMs: VFs of its own SR-IOV, by a VIF. They are no entries, and xenopsd
plugs them as it does entries, at each reboot again."""

from typing import Optional

import pytest
from interference import Gate, calls_watched
from managed_pool import Pool
from sriovlib.vf import start_notes

pytestmark = pytest.mark.story

OURS, MANAGEMENT = "0000:07:10.0", "0000:02:00.0"


@pytest.fixture
def pool(pool: Pool) -> Pool:
    """xapi has eth2 of the first host for its own SR-IOV, and its VFs are on the network `by xapi`."""
    pool.box.add_sriov_network(pool.one, "eth2", "by xapi")
    return pool


def with_vif(pool: Pool, vm: str) -> str:
    (network,) = pool.box.xapi.database.by_name_label("network", "by xapi")
    pool.box.xapi.database.create("VIF", {"device": "0", "VM": pool.ref(vm), "network": network})
    return vm


@pytest.mark.parametrize("vlan", [None, 12])
def test_a_guest_with_xapis_vf_reboots_while_the_toolstack_restarts(pool: Pool, vlan: Optional[int]) -> None:
    """Also where it has a VF of a request beside it."""
    vm = with_vif(pool, pool.with_vf("web", vlan=str(vlan)) if vlan else pool.vm("web"))
    pool.start(vm, pool.one)
    devices = pool.devices(vm)
    assert (len(devices), OURS in devices) == ((2, True) if vlan else (1, False))
    with pool.box.silent_xapi(pool.one), pool.impatient(pool.one):
        pool.guest_reboots(vm)
        pool.guest_reboots(vm)
    assert pool.devices(vm) == devices
    if vlan:
        assert pool.settings(pool.one, OURS) == (pool.mac(vm), vlan)


def test_a_guest_with_xapis_vf_that_ran_before_the_package_came_reboots_once_xapi_has_answered(
    pool: Pool,
) -> None:
    vm = with_vif(pool, pool.vm("web"))
    pool.start(vm, pool.one)
    start_notes.remove(pool.one.machine, vm)
    pool.guest_reboots(vm)
    with pool.box.silent_xapi(pool.one), pool.impatient(pool.one):
        pool.guest_reboots(vm)
    assert len(pool.devices(vm)) == 1


def test_a_start_with_xapis_vf_takes_one_call_and_no_lock(pool: Pool) -> None:
    vm, host = with_vif(pool, pool.vm("web")), pool.one
    with calls_watched(pool.box, host) as seen, host.machine.lock("vfs", "sriov-restore"):
        pool.start(vm, pool.one)
        pool.guest_shuts_down(vm)  # its note stays
        pool.start(vm, pool.one)
        pool.shut_down(vm)
    assert (seen.count("VM.get_all_records_where"), "pool.get_all_records" in seen) == (2, False)
    assert start_notes.read(host.machine, vm) is None


def test_an_entry_beside_xapis_vf_is_judged(pool: Pool) -> None:
    vm = with_vif(pool, pool.vm("web"))
    pool.start(vm, pool.one)
    pool.set_pci(vm, f"1/{MANAGEMENT}")
    pool.reboot_refused(vm).says("SRIOV_NEEDED_BY_DOM0")
    assert pool.one.machine.exists("/sys/class/net/eth0")


@pytest.mark.parametrize("after", [f"0/{OURS}", f"0/{OURS},7/{MANAGEMENT}"])
def test_entries_that_change_during_a_start_refuse_it(pool: Pool, after: str) -> None:
    """xapi has told xenopsd of those before, and those would be plugged whatever the hook sees by now."""
    vm, host = pool.vm("web", f"0/{MANAGEMENT}"), pool.one
    with Gate(host, "10-before") as gate:
        gate.hold(pool.start_refused, vm)
        pool.set_pci(vm, after)
        gate.result().says("SRIOV_NOT_PLACED", "web", "changed", OURS, "Start the VM again.")
    assert host.machine.exists("/sys/class/net/eth0")
