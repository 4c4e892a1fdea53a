"""Hosts with two sockets: VFs near a VM's CPUs, and what is said of those that are far."""

from typing import Any, Dict, List

import pytest
from machine_description import Description, intel_82599
from managed_pool import Pool, alike

NEAR_0, NEAR_1 = "0000:07:10.0", "0000:85:10.0"  # the first VFs of the cards at node 0 and 1
DEVICE = "8086:10ed"


def two_sockets(number: int) -> Description:
    """A second fast card, of the second socket; of its eight CPUs each socket has four."""
    first, fast = alike(number).cards
    macs = (f"00:1b:21:01:{number:02x}:00", f"00:1b:21:01:{number:02x}:01")
    second = intel_82599(("0000:85:00.0", "0000:85:00.1"), ("eth3", "eth4"), macs)
    return alike(number)._replace(
        cards=(first, fast, second._replace(numa_node=1)), cpu_nodes=(0, 0, 0, 0, 1, 1, 1, 1)
    )


pytestmark = [
    pytest.mark.story,
    pytest.mark.pool(describe=two_sockets, hooks=False, by_kernel=True, ports=("eth1", "eth3")),
]


def pinned(pool: Pool, name: str, mask: str, **fields: Any) -> str:
    return pool.vm(name, VCPUs_params={"mask": mask}, VCPUs_max="2", **fields)


def warned(pool: Pool) -> Dict[str, List[str]]:
    return {row["vm_name"]: row["warnings"] for row in pool.call("list_assignments")["vms"]}


def test_a_vm_gets_vfs_of_the_node_that_it_is_pinned_to(pool: Pool) -> None:
    assert {vf["address"][:7]: vf["numa_node"] for vf in pool.vfs()} == {"0000:07": 0, "0000:85": 1}
    vm = pinned(pool, "second socket", "4,5")
    assert [pool.assign(vm, device=DEVICE)["vf"] for _ in range(2)] == [NEAR_1, "0000:85:10.2"]
    assert pool.assign(pool.vm("anywhere"), device=DEVICE)["vf"] == NEAR_0
    # What fits on every host comes first.
    pool.unassign(vm)
    for vf in pool.vfs(pool.other, pf="eth3"):
        pool.with_vf(vf["address"], vf=vf["address"], on=pool.other)
    got = pool.assign(vm, device=DEVICE, on=pool.one)
    assert (got["vf"], got["portable"]) == ("0000:07:10.2", True)


def test_a_far_vf_is_named_and_how_to_get_a_near_one(pool: Pool) -> None:
    vm = pinned(pool, "far", "4;5")
    pool.assign(vm, vf=NEAR_0)
    pool.assign(pinned(pool, "both", "0,4"), vf="0000:07:10.2")
    pool.assign(pinned(pool, "no mask", "0-3"), vf="0000:85:10.2")
    said = warned(pool)
    (warning,) = said.pop("far")
    for word in (NEAR_0, "node 0 of host1", "CPUs are on node 1", "`assign_vf` with request=1, vf="):
        assert word in warning
    (warning,) = said.pop("no mask")
    assert "`0-3` does not pin" in warning
    assert said == {"both": []}
    pool.assign(vm, request="1", vf=NEAR_1)
    assert warned(pool)["far"] == []
    pool.api("host.add_to_guest_VCPUs_params", pool.one.ref, "mask", "0,1,2,3")  # then no CPU is left to it
    assert warned(pool)["far"] == []


def test_where_the_memory_of_a_running_vm_is_newer_xapis_say(pool: Pool) -> None:
    vm = pool.with_vf("web", vf=NEAR_0)
    pool.api("VM.start_on", pool.ref(vm), pool.one.ref, False, False)
    database = pool.box.xapi.database
    metrics = database.get("VM", pool.ref(vm), "metrics")
    assert warned(pool) == {"web": []}
    database.set("VM_metrics", metrics, "numa_node_memory", {"0": "8192", "1": "4294967296"})
    assert warned(pool) == {"web": []}  # a xapi that does not say its version is not asked
    software = database.get("host", pool.one.ref, "software_version")
    database.set("host", pool.one.ref, "software_version", {**software, "xapi_build": "26.2.0"})
    ((warning,),) = warned(pool).values()
    assert "memory is on node 1" in warning
    database.set("VM_metrics", metrics, "numa_node_memory", {})
    assert warned(pool) == {"web": []}


@pytest.mark.pool(describe=lambda number: two_sockets(number)._replace(cpu_nodes=(-1,) * 8))
def test_unknown_is_neither_near_nor_far(pool: Pool) -> None:
    vm = pinned(pool, "pinned", "4,5")
    assert pool.assign(vm, device=DEVICE)["vf"] == NEAR_0
    assert warned(pool) == {"pinned": []}
