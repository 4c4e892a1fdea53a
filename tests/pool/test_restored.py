"""VMs that backup tools make: restored, warm-migrated, started for a health check. They carry `pci` and the
mark of their source, in its pool or in another."""

from typing import Any

import pytest
import xen_orchestra
from managed_pool import OTHER_SLOTS, Pool
from sriovlib.vf import restore
from values import Failure

pytestmark = pytest.mark.story

VF, NEXT_VF = "0000:07:10.0", "0000:07:10.2"
ELSEWHERE = "c0ffee00-1111-4222-8333-444455556666"


def of_another_pool(pool: Pool, name: str, **values: Any) -> str:
    """Its source has requests there, in a VLAN that this pool may use for others."""
    return pool.vm(name, other_config={"pci": f"0/{VF},1/0000:00:1b.0", "sriov-vm": ELSEWHERE}, **values)


@pytest.mark.parametrize("source", ["runs", "halted"])
def test_a_copy_restored_beside_its_source_is_refused_and_harms_nobody(pool: Pool, source: str) -> None:
    web = pool.with_vf("web", vlan="12")
    if source == "runs":
        pool.start(web, pool.one)
    copy = xen_orchestra.restored(pool, web)
    before = pool.keys(web)
    for host in pool.hosts:
        refusal = pool.start_refused(copy, host).says("SRIOV_VF_IN_USE", VF, f"web ({web})")
        assert "`adopt_vm`" in refusal.hint
    assert pool.keys(web) == before
    pool.adopt(copy)
    pool.start(copy, pool.one)
    assert pool.devices(copy) == [NEXT_VF]
    assert pool.settings(pool.one, NEXT_VF) == (pool.mac(copy), 12)
    assert pool.mac(copy) != pool.mac(web)


def test_blocks_that_a_copy_brought_along_go_when_it_gets_vfs(pool: Pool) -> None:
    """The source was backed up while it ran with a VF that xapi did not know."""
    web = pool.with_vf("web")
    pool.start(web, pool.one)
    copy = xen_orchestra.restored(pool, web)
    assert pool.blocks(copy) == pool.blocks(web) != {}
    pool.adopt(copy)
    assert pool.blocks(copy) == {}


def test_addresses_of_another_pool_are_never_used(pool: Pool) -> None:
    moved = of_another_pool(pool, "moved")
    for host in pool.hosts:
        pool.start_refused(moved, host).says(
            "SRIOV_NOT_ASSIGNED", ELSEWHERE, f"`xe vm-param-remove uuid={moved} param-name=other-config"
        )
    pool.conflict("COPY", ELSEWHERE, "origin_uuid=none", vms=[moved])
    pool.refused("adopt_vm", vm=moved).says("SRIOV_BAD_ARGUMENT", ELSEWHERE, "origin_uuid=none")
    pool.refused("adopt_vm", vm=moved, on=pool.one).says("SRIOV_BAD_ARGUMENT", ELSEWHERE)
    assert pool.assign(pool.vm("web"), vf=VF, on=pool.one)["vf"] == VF  # its entries keep nothing from others

    given = pool.assign(moved, pf="eth1", on=pool.one)
    assert pool.pci(moved) == f"0/{NEXT_VF}"
    assert "0000:00:1b.0" in given["warnings"][0]
    pool.start(moved, pool.one)
    assert pool.devices(moved) == [NEXT_VF]


def test_a_vm_of_another_pool_starts_without_its_entries_or_adopted_with_them(pool: Pool) -> None:
    plain, meant = (
        of_another_pool(pool, "plain"),
        pool.vm("meant", f"0/{VF}", other_config={"sriov-vm": ELSEWHERE}),
    )
    pool.set_pci(plain, None)
    pool.start(plain, pool.one)
    assert pool.devices(plain) == []
    pool.adopt(meant, origin_uuid="none", on=pool.other)
    pool.start(meant, pool.other)
    assert (pool.devices(meant), pool.conflicts()) == ([VF], [])


def test_a_vm_restored_after_its_source_was_destroyed(pool: Pool) -> None:
    web, other = pool.with_vf("web", vlan="12"), pool.vm("other")
    record = pool.record(web)
    pool.unassign(web)
    pool.destroy(web)
    pool.assign(other, vf=NEXT_VF)  # a change of any VM collects the key of one that is gone
    again = pool.vm("web", other_config=record["other_config"])
    pool.start_refused(again, pool.one).says("SRIOV_NOT_ASSIGNED", web)


def test_a_vm_that_came_with_a_host_that_joined(pool: Pool) -> None:
    """xapi takes its VMs over, and not what its own pool had in other_config: the VM is marked as one with
    requests, and its VLAN is not known any more. The host's VFs are there."""
    alone = pool.box.eject(pool.other)
    restore.restore(alone.machine)
    joined = pool.box.rejoin(alone)
    vm = pool.vm("brought along", f"0/{VF}")
    pool.api("VM.add_to_other_config", pool.ref(vm), "sriov-vm", vm)
    for host in (pool.one, joined):
        refusal = pool.start_refused(vm, host)
        refusal.says("SRIOV_NOT_ASSIGNED", "not in this pool's ledger", "origin_uuid=none")
    pool.conflict("COPY", "alone or with its host", vms=[vm])
    adopted = pool.adopt(vm, origin_uuid="none", on=joined)
    pool.start(vm, joined)
    assert (pool.devices(vm), pool.conflicts()) == ([adopted["vfs"][0]["vf"]], [])


@OTHER_SLOTS
def test_a_warm_migration_ends_with_a_vm_that_one_call_makes_startable(pool: Pool) -> None:
    """migrate-vm.mjs: the source is halted and its start blocked, then its copy is started."""
    web = pool.with_vf("web", vlan="12")
    pool.start(web, pool.one)
    pool.shut_down(web)
    for operation in ("start", "start_on"):
        pool.api("VM.add_to_blocked_operations", pool.ref(web), operation, "migrated")
    target = xen_orchestra.restored(pool, web)
    pool.start_refused(target, pool.other).says("SRIOV_VF_IN_USE", "`adopt_vm`")
    pool.adopt(target, on=pool.other)
    pool.start(target, pool.other)
    (vf,) = pool.devices(target)
    assert pool.settings(pool.other, vf) == (pool.mac(target), 12)


def test_a_differential_restore_over_its_source_is_a_revert(pool: Pool) -> None:
    """importIncrementalVm with a target: the record of the backup is written over the VM's own."""
    web = pool.with_vf("web", vf=VF)
    backup = pool.record(web)["other_config"]
    pool.unassign(web)
    pool.assign(web, vf=NEXT_VF)
    pool.api("VM.set_other_config", pool.ref(web), backup)
    assert pool.restarts(web, pool.one) == [NEXT_VF]


def test_a_health_check_of_a_copy_with_vfs_fails_with_what_to_do(pool: Pool) -> None:
    """HealthCheckVmBackup.mjs waits for VM.start itself, and xapi hands the entries to xenopsd before any
    hook runs: so no start that is replaced by another one passes for it."""
    web = pool.with_vf("web", vlan="12")
    pool.start(web, pool.one)
    with pytest.raises(Failure) as failure:
        xen_orchestra.health_check(pool, web)
    assert failure.value.description[0] == "XAPI_HOOK_FAILED"
    assert pool.conflicts() == []  # the copy is destroyed
    plain = pool.vm("plain")
    xen_orchestra.health_check(pool, plain)
