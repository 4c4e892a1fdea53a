"""Which host's VFs a VM gets: of the one that was asked for, its affinity, the one of its other VFs, or one
that has what is asked for; and where else it could start with them."""

import pytest
from box_host import set_vfs
from machine_description import Description, Interface
from managed_pool import Pool, alike

pytestmark = [pytest.mark.story, pytest.mark.pool(ports=("eth1", "eth2"), by_kernel=True)]

FIRST, SECOND = "0000:07:00.0", "0000:07:00.1"  # eth1 and eth2 of the usual host
VF, NEXT_VF = "0000:07:10.0", "0000:07:10.2"


def test_a_vm_is_portable_if_all_of_its_vfs_are(pool: Pool) -> None:
    pool.with_vf("there", vf=VF, on=pool.other)
    vm = pool.vm("a")
    assert not pool.assign(vm, vf=VF, on=pool.one)["portable"]
    second = pool.assign(vm, network=pool.network("eth1"))
    assert not second["portable"]
    assert any("when it starts" in warning for warning in second["warnings"])
    rows = {request["vf"]: request["portable"] for request in pool.requests(vm)}
    assert rows == {VF: False, second["vf"]: True}


def test_further_vfs_are_of_the_host_of_the_first(pool: Pool) -> None:
    other, home = pool.hosts
    vm = pool.vm("a")
    got = pool.assign(vm, pf="eth1", on=home)
    pool.refused("assign_vf", vm=vm, pf="eth1", on=other).says("SRIOV_BAD_ARGUMENT", "host_uuid")
    moved = pool.reinstate(vm, on=other)
    assert (moved["host_uuid"], moved["changed"], moved["pci_changed"]) == (other.uuid, True, False)
    assert moved["vfs"] == [{"request": 1, "vf": got["vf"], "before": got["vf"]}]
    (vf,) = pool.vfs(other, state="assigned")
    assert vf["assigned_to"]["vm_uuid"] == vm
    assert not pool.reinstate(vm)["changed"]


def test_a_host_without_the_network_is_named(pool: Pool) -> None:
    """Asked for, or given by the VFs that the VM has; an affinity is only a preference."""
    one, other = pool.hosts
    pool.box.add_vlan(one, "eth1", 77, "only on host1")
    vm, near = pool.vm("a"), pool.vm("b", affinity=other.ref)
    asked = pool.refused("assign_vf", vm=vm, network="only on host1", on=other)
    pool.assign(vm, pf="eth1", on=other)
    for refused in (asked, pool.refused("assign_vf", vm=vm, network="only on host1")):
        refused.says("SRIOV_NO_FREE_VF", "host2", "network only on host1")
    assert pool.assign(near, network="only on host1")["host_uuid"] == one.uuid


def with_management_on_eth1(number: int) -> Description:
    """eth1 carries the management network of host2, and is a free port of host1."""
    if number == 1:
        return alike(1)
    bridge = Interface("xenbr1", "bridge", ("eth1",), ipv4="192.168.1.12/24")
    return alike(number)._replace(interfaces=(bridge,), management_interface="xenbr1")


@pytest.mark.pool(describe=with_management_on_eth1, ports=())
def test_another_hosts_management_is_not_taken_for_this_ones(pool: Pool) -> None:
    one, other = pool.hosts
    set_vfs(one, FIRST, 4)
    pool.refused("assign_vf", vm=pool.vm("a"), pf="eth1", on=other).says(
        "SRIOV_MANAGEMENT_INTERFACE", "host2"
    )
    near = pool.vm("c", affinity=other.ref)
    for vm, host in ((pool.vm("b"), None), (pool.vm("d"), one), (near, None)):
        assert pool.assign(vm, pf="eth1", on=host)["host_uuid"] == one.uuid
    assert pool.conflicts() == []


def test_old_and_new_requests_get_vfs_of_one_host(pool: Pool) -> None:
    """The host of its VFs is lost. Another has most free VFs of the port that is asked for now, and none of
    the port that was asked for then: it must not be chosen."""
    master, lost = pool.hosts
    set_vfs(master, FIRST, 0)
    (third,) = pool.box.add_hosts(1)
    for port in (FIRST, SECOND):
        set_vfs(third, port, 2)
    vm = pool.with_vf("a", pf="eth1", on=lost)
    pool.box.lose(lost)
    assert pool.assign(vm, pf="eth2")["host_uuid"] == third.uuid
    assert len(pool.requests(vm)) == 2


def test_a_host_that_takes_no_vms_comes_last(pool: Pool) -> None:
    """It is disabled, for maintenance. Its VFs can be asked for all the same, by its name or its affinity."""
    disabled, other = pool.hosts
    set_vfs(other, FIRST, 0)
    set_vfs(other, FIRST, 1)
    pool.api("host.disable", disabled.ref)
    by_pf = pool.assign(pool.vm("a"), pf="eth1")
    by_network = pool.assign(pool.vm("b"), network=pool.network("eth2"))
    assert (by_pf["host_uuid"], by_network["host_uuid"]) == (other.uuid, other.uuid)
    near = pool.assign(pool.vm("c", affinity=disabled.ref), network=pool.network("eth2"))
    only = pool.assign(pool.vm("d"), network=pool.network("eth1"))
    assert (near["host_uuid"], only["host_uuid"]) == (disabled.uuid, disabled.uuid)


def test_a_request_that_cannot_keep_its_vf_is_told_of(pool: Pool) -> None:
    """dom0's driver has taken the first VF meanwhile."""
    home = pool.one
    vm = pool.vm("a", affinity=home.ref)
    pool.assign(vm, pf="eth1")
    home.machine.run(["modprobe", "ixgbevf"])
    for free in (NEXT_VF, "0000:07:10.4"):
        home.machine.write_attribute("/sys/bus/pci/drivers/ixgbevf/unbind", free)
    got = pool.assign(vm, pf="eth1")
    (moved,) = [warning for warning in got["warnings"] if VF in warning]
    new = {request["request"]: request["vf"] for request in pool.requests(vm)}[1]
    assert new in moved
    assert new != VF
    assert pool.pci(vm).split(",")[0].endswith(new)
