"""guest_info: what an administrator hands over to whoever sets a guest up."""

import pytest
from managed_pool import Pool

pytestmark = pytest.mark.story


def test_guest_info_of_two_vfs_behind_a_device_of_somebody_else(pool: Pool) -> None:
    web = pool.vm("web", "0/0000:00:1b.0")
    pool.assign(web, pf="eth1", vlan="12", on=pool.one)
    pool.assign(web, pf="eth1", on=pool.one)
    info = pool.call("guest_info", vm=web)
    first, second = info["vfs"]
    assert (first["vf"], first["position"], first["vlan"]) == ("0000:07:10.0", 2, 12)
    assert (second["position"], second["vlan"]) == (3, 0)
    assert (first["device"], first["linux_driver"]) == ("8086:10ed", "ixgbevf")
    assert "Intel" in first["windows_driver"]
    assert first["mac"] in info["cloud_init"]
    assert info["warnings"] == []
    listed = [request["guest"] for request in pool.requests(web)]
    assert listed == [{name: vf[name] for name in vf if name not in ("request", "vf")} for vf in info["vfs"]]


def test_guest_info_while_the_vfs_host_is_lost_says_what_is_not_known(pool: Pool) -> None:
    web = pool.with_vf("web", on=pool.other)
    pool.box.lose(pool.other)
    (vf,) = pool.call("guest_info", vm=web)["vfs"]
    assert (vf["device"], vf["linux_driver"], vf["position"]) == (None, None, 1)
    assert vf["mac"]
    pool.refused("guest_info", vm=pool.vm("plain")).says("SRIOV_NOT_FOUND", "`assign_vf`")
