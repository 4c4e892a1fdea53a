"""Where there is no VF for a request, the error says why there is none, and what helps; `make more` only
where that does."""

import pytest
from administrator import Administrator
from box_host import set_vfs

pytestmark = pytest.mark.story

MANAGEMENT, FIRST, SECOND = "0000:02:00.0", "0000:07:00.0", "0000:07:00.1"


def names(pool: Administrator, device: str) -> str:
    return str(pool.api("network.get_name_label", pool.api("network.get_by_uuid", pool.network(device))))


@pytest.mark.parametrize("vfs", [0, 2])
def test_the_management_network(pool: Administrator, vfs: int) -> None:
    """As by pf=, whether the port has VFs or not."""
    for host in pool.box.hosts:
        set_vfs(host, MANAGEMENT, vfs)
    web = pool.vm("web")
    before = pool.everything()
    for args in ({}, {"host_uuid": pool.box.hosts[0].uuid}):
        code, message, hint = pool.refused("assign_vf", vm_uuid=web, network=names(pool, "eth0"), **args)
        assert code == "SRIOV_MANAGEMENT_INTERFACE"
        assert "eth0 of host1 carries the management network" in message
        assert "set_vf_count" not in hint
    assert pool.everything() == before


def test_a_vf_or_a_device_of_the_management_port(pool: Administrator) -> None:
    set_vfs(pool.box.hosts[0], MANAGEMENT, 2)
    (first, *_) = pool.call("list_vfs", pool.box.hosts[0], pf=MANAGEMENT)
    for args in ({"vf": first["address"]}, {"device": f"{first['vendor_id']}:{first['device_id']}"}):
        code, message, _ = pool.refused("assign_vf", vm_uuid=pool.vm("web"), **args)
        assert (code, "host1" in message) == ("SRIOV_MANAGEMENT_INTERFACE", True)


@pytest.mark.parametrize("by", ["pf", "network", "vf"])
def test_a_port_under_xapis_own_sriov(pool: Administrator, by: str) -> None:
    home = pool.box.hosts[0]
    pool.box.add_sriov_network(home, "eth2", "by xapi")
    (first, *_) = pool.call("list_vfs", home, pf=SECOND)
    value = {"pf": "eth2", "network": names(pool, "eth2"), "vf": first["address"]}[by]
    args = {"vm_uuid": pool.vm("web"), "host_uuid": home.uuid, by: value}
    code, message, hint = pool.refused("assign_vf", **args)
    assert code == "SRIOV_MANAGED_BY_XAPI"
    assert "xapi's own SR-IOV manages eth2 of host1" in message
    assert "xe vif-create" in hint


def test_a_port_that_has_none_yet(pool: Administrator) -> None:
    code, _, hint = pool.refused("assign_vf", vm_uuid=pool.vm("web"), network=names(pool, "eth2"))
    assert (code, "`set_vf_count`" in hint) == ("SRIOV_NO_FREE_VF", True)


def test_one_open_port_among_closed_ones(pool: Administrator) -> None:
    """What it lacks is VFs: its other host's port is xapi's."""
    pool.box.add_sriov_network(pool.box.hosts[0], "eth2", "by xapi")
    code, _, hint = pool.refused("assign_vf", vm_uuid=pool.vm("web"), network=names(pool, "eth2"))
    assert (code, "`set_vf_count`" in hint) == ("SRIOV_NO_FREE_VF", True)


def test_a_driver_of_dom0_has_them_all(pool: Administrator) -> None:
    """Not more VFs help, but that they are taken over."""
    home = pool.box.hosts[0]
    home.machine.run(["modprobe", "ixgbevf"])
    code, message, hint = pool.refused("assign_vf", vm_uuid=pool.vm("web"), pf="eth1", host_uuid=home.uuid)
    assert code == "SRIOV_NO_FREE_VF"
    assert "dom0's driver ixgbevf has it" in message
    assert "make more" not in hint


def test_a_network_on_ports_that_are_no_sriov_devices(pool: Administrator) -> None:
    for host in pool.box.hosts:
        host.machine.remove_file("/sys/bus/pci/devices/0000:07:00.1/sriov_totalvfs")
    code, message, hint = pool.refused("assign_vf", vm_uuid=pool.vm("web"), network=names(pool, "eth2"))
    assert code == "SRIOV_NO_FREE_VF"
    assert "Its ports are no SR-IOV capable devices (eth2 of host1, eth2 of host2)" in message
    assert "list_pfs" in hint
