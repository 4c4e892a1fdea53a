"""Where there is no VF for a request, the error says why there is none, and what helps; `make more` only
where that does."""

import pytest
from box_host import set_vfs
from managed_pool import BY_KERNEL, Pool

pytestmark = [pytest.mark.story, BY_KERNEL]

MANAGEMENT, FIRST, SECOND = "0000:02:00.0", "0000:07:00.0", "0000:07:00.1"


def names(pool: Pool, device: str) -> str:
    return str(pool.api("network.get_name_label", pool.api("network.get_by_uuid", pool.network(device))))


@pytest.mark.parametrize("vfs", [0, 2])
def test_the_management_network_has_no_vfs_to_give(pool: Pool, web: str, vfs: int) -> None:
    """As by pf=, whether the port has VFs or not."""
    for host in pool.hosts:
        set_vfs(host, MANAGEMENT, vfs)
    for on in (None, pool.one):
        refused = pool.refused("assign_vf", vm=web, network=names(pool, "eth0"), on=on)
        refused.says("SRIOV_MANAGEMENT_INTERFACE", "eth0", "host1", "management")
        assert "set_vf_count" not in refused.hint
    for vf in pool.vfs(pool.one, pf=MANAGEMENT)[:1]:
        for args in ({"vf": vf["address"]}, {"device": f"{vf['vendor_id']}:{vf['device_id']}"}):
            pool.refused("assign_vf", vm=web, **args).says("SRIOV_MANAGEMENT_INTERFACE", "host1")


@pytest.mark.parametrize("by", ["pf", "network", "vf"])
def test_a_port_under_xapis_own_sriov_has_no_vfs_to_give(pool: Pool, web: str, by: str) -> None:
    pool.box.add_sriov_network(pool.one, "eth2", "by xapi")
    (first, *_) = pool.vfs(pf=SECOND)
    value = {"pf": "eth2", "network": names(pool, "eth2"), "vf": first["address"]}[by]
    refused = pool.refused("assign_vf", vm=web, on=pool.one, **{by: value})
    refused.says("SRIOV_MANAGED_BY_XAPI", "xapi's own SR-IOV", "eth2", "host1", "xe vif-create")


@pytest.mark.parametrize("one_is_xapis", [False, True])
def test_a_port_without_vfs_is_told_how_to_make_some(pool: Pool, web: str, one_is_xapis: bool) -> None:
    """Also where the other host's port of the network is under xapi's own SR-IOV."""
    if one_is_xapis:
        pool.box.add_sriov_network(pool.one, "eth2", "by xapi")
    refused = pool.refused("assign_vf", vm=web, network=names(pool, "eth2"))
    refused.says("SRIOV_NO_FREE_VF", "`set_vf_count`")


def test_vfs_that_a_driver_of_dom0_has_are_to_be_taken_over(pool: Pool, web: str) -> None:
    """Not more VFs help, but that they are taken over."""
    pool.one.machine.run(["modprobe", "ixgbevf"])
    refused = pool.refused("assign_vf", vm=web, pf="eth1", on=pool.one)
    refused.says("SRIOV_NO_FREE_VF", "dom0", "ixgbevf")
    assert "make more" not in refused.hint


def test_a_network_on_ports_that_are_no_sriov_devices(pool: Pool, web: str) -> None:
    for host in pool.hosts:
        host.machine.remove_file("/sys/bus/pci/devices/0000:07:00.1/sriov_totalvfs")
    pool.refused("assign_vf", vm=web, network=names(pool, "eth2")).says(
        "SRIOV_NO_FREE_VF", "eth2", "host1", "host2", "list_pfs"
    )
