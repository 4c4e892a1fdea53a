"""Which host's VFs a VM gets: of the one that was asked for, its affinity, the one of its other VFs, or one
that has what is asked for; and where else it could start with them."""

import sys
from typing import Iterator

import pytest
from administrator import Administrator, two_hosts
from box import PoolInABox
from box_host import set_vfs
from machine_description import Interface, default_description

pytestmark = pytest.mark.story

FIRST, SECOND = "0000:07:00.0", "0000:07:00.1"  # eth1 and eth2 of the usual host
VF, NEXT_VF = "0000:07:10.0", "0000:07:10.2"


@pytest.fixture
def pool() -> Iterator[Administrator]:
    """Two hosts alike."""
    with two_hosts(FIRST, SECOND) as pool:
        yield pool


def test_portable_vfs_are_preferred_pool_wide(pool: Administrator) -> None:
    network = pool.network("eth1")
    first, second = pool.vm("a"), pool.vm("b", affinity=pool.box.hosts[1].ref)
    one = pool.call("assign_vf", vm_uuid=first, network=network)
    other = pool.call("assign_vf", vm_uuid=second, network=network)
    assert other["host_uuid"] == pool.box.hosts[1].uuid
    assert one["vf"] != other["vf"]
    assert one["portable"] is other["portable"] is True


def test_a_vm_is_portable_if_all_of_its_vfs_are(pool: Administrator) -> None:
    home, other = pool.box.hosts
    pool.call("assign_vf", vm_uuid=pool.vm("there"), vf=VF, host_uuid=other.uuid)
    vm = pool.vm("a")
    assert not pool.call("assign_vf", vm_uuid=vm, vf=VF, host_uuid=home.uuid)["portable"]
    second = pool.call("assign_vf", vm_uuid=vm, network=pool.network("eth1"))
    assert not second["portable"]
    assert any("when it starts there" in warning for warning in second["warnings"])
    rows = {request["vf"]: request["portable"] for request in pool.listed(vm)["requests"]}
    assert rows == {VF: False, second["vf"]: True}


def test_the_host_of_the_vms_vfs_is_the_one(pool: Administrator) -> None:
    home, other = pool.box.hosts[1], pool.box.hosts[0]
    vm = pool.vm("a")
    got = pool.call("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=home.uuid)
    assert "host_uuid" in pool.refused("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=other.uuid)[2]
    moved = pool.call("reinstate_vfs", vm_uuid=vm, host_uuid=other.uuid)
    assert (moved["host_uuid"], moved["changed"], moved["pci_changed"]) == (other.uuid, True, False)
    assert moved["vfs"] == [{"request": 1, "vf": got["vf"], "before": got["vf"]}]
    (vf,) = pool.call("list_vfs", other, state="assigned")
    assert vf["assigned_to"]["vm_uuid"] == vm
    assert not pool.call("reinstate_vfs", vm_uuid=vm)["changed"]


def test_a_host_without_the_network_is_named(pool: Administrator) -> None:
    """Asked for, or given by the VFs that the VM has; an affinity is only a preference."""
    one, other = pool.box.hosts
    pool.box.add_vlan(one, "eth1", 77, "only on host1")
    vm, near = pool.vm("a"), pool.vm("b", affinity=other.ref)
    asked = pool.refused("assign_vf", vm_uuid=vm, network="only on host1", host_uuid=other.uuid)
    pool.call("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=other.uuid)
    for details in (asked, pool.refused("assign_vf", vm_uuid=vm, network="only on host1")):
        assert details[0] == "SRIOV_NO_FREE_VF"
        for name in ("host2", "network only on host1"):
            assert name in details[1]
    assert pool.call("assign_vf", vm_uuid=near, network="only on host1")["host_uuid"] == one.uuid


def test_another_hosts_management_is_not_taken_for_this_ones() -> None:
    """eth1 carries the management network of host2, and is a free port of host1."""
    bridge = Interface("xenbr1", "bridge", ("eth1",), ipv4="192.168.1.12/24")
    elsewhere = default_description(2, interfaces=(bridge,), management_interface="xenbr1")
    with PoolInABox([default_description(1), elsewhere], interpreter=sys.executable) as box:
        one, other = box.hosts
        set_vfs(one, FIRST, 4)
        pool = Administrator(box)
        refused = pool.refused("assign_vf", vm_uuid=pool.vm("a"), pf="eth1", host_uuid=other.uuid)
        assert (refused[0], "host2" in refused[1]) == ("SRIOV_MANAGEMENT_INTERFACE", True)
        for args in ({}, {"host_uuid": one.uuid}):
            got = pool.call("assign_vf", vm_uuid=pool.vm("b"), pf="eth1", **args)
            assert got["host_uuid"] == one.uuid
        near = pool.call("assign_vf", vm_uuid=pool.vm("c", affinity=other.ref), pf="eth1")
        assert near["host_uuid"] == one.uuid
        assert pool.conflicts() == []


def test_one_host_for_the_old_request_and_the_new_one(pool: Administrator) -> None:
    """The host of its VFs is lost. Another has most free VFs of the port that is asked for now, and none of
    the port that was asked for then: it must not be chosen."""
    master, lost = pool.box.hosts
    set_vfs(master, FIRST, 0)
    (third,) = pool.box.add_hosts(1)
    for port in (FIRST, SECOND):
        set_vfs(third, port, 2)
    vm = pool.vm("a")
    pool.call("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=lost.uuid)
    pool.box.lose(lost)
    assert pool.call("assign_vf", vm_uuid=vm, pf="eth2")["host_uuid"] == third.uuid
    assert len(pool.listed(vm)["requests"]) == 2


def test_a_host_that_takes_no_vms_comes_last(pool: Administrator) -> None:
    """It is disabled, for maintenance. Its VFs can be asked for all the same, by its name or its affinity."""
    disabled, other = pool.box.hosts
    set_vfs(other, FIRST, 0)
    set_vfs(other, FIRST, 1)
    pool.api("host.disable", disabled.ref)
    by_pf = pool.call("assign_vf", vm_uuid=pool.vm("a"), pf="eth1")
    by_network = pool.call("assign_vf", vm_uuid=pool.vm("b"), network=pool.network("eth2"))
    assert (by_pf["host_uuid"], by_network["host_uuid"]) == (other.uuid, other.uuid)
    near = pool.call("assign_vf", vm_uuid=pool.vm("c", affinity=disabled.ref), network=pool.network("eth2"))
    only = pool.call("assign_vf", vm_uuid=pool.vm("d"), network=pool.network("eth1"))
    assert (near["host_uuid"], only["host_uuid"]) == (disabled.uuid, disabled.uuid)


def test_a_request_that_cannot_keep_its_vf_is_told_of(pool: Administrator) -> None:
    """dom0's driver has taken the first VF meanwhile."""
    home = pool.box.hosts[0]
    vm = pool.vm("a", affinity=home.ref)
    pool.call("assign_vf", vm_uuid=vm, pf="eth1")
    home.machine.run(["modprobe", "ixgbevf"])
    for free in (NEXT_VF, "0000:07:10.4"):
        home.machine.write_attribute("/sys/bus/pci/drivers/ixgbevf/unbind", free)
    got = pool.call("assign_vf", vm_uuid=vm, pf="eth1")
    (moved,) = [warning for warning in got["warnings"] if VF in warning]
    new = {request["request"]: request["vf"] for request in pool.listed(vm)["requests"]}[1]
    assert new in moved
    assert new != VF
    assert pool.pci(vm).split(",")[0].endswith(new)
