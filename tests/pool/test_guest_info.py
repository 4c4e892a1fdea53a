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
    assert (info["bonds"], info["warnings"]) == ([], [])
    listed = [request["guest"] for request in pool.requests(web)]
    assert listed == [{name: vf[name] for name in vf if name not in ("request", "vf")} for vf in info["vfs"]]


def test_guest_info_while_the_vfs_host_is_lost_says_what_is_not_known(pool: Pool) -> None:
    web = pool.with_vf("web", on=pool.other)
    pool.box.lose(pool.other)
    (vf,) = pool.call("guest_info", vm=web)["vfs"]
    assert (vf["device"], vf["linux_driver"], vf["position"]) == (None, None, 1)
    assert vf["mac"]
    pool.refused("guest_info", vm=pool.vm("plain")).says("SRIOV_NOT_FOUND", "`assign_vf`")


def test_guest_info_bonds_a_vf_with_the_vif_in_its_network(pool: Pool) -> None:
    web, database = pool.vm("web"), pool.box.xapi.database
    pool.box.add_vlan(pool.one, "eth1", 12, "lan12")
    (lan12,) = database.by_name_label("network", "lan12")
    untagged = database.get("PIF", pool.box.pif(pool.one, "eth1"), "network")
    for device, network in ("0", untagged), ("1", lan12):
        mac = f"02:16:3e:00:00:0{device}"
        database.create("VIF", {"VM": pool.ref(web), "network": network, "device": device, "MAC": mac})
    pool.assign(web, pf="eth1", vlan="12", on=pool.one)
    info = pool.call("guest_info", vm=web)
    bond = {"request": 1, "vf_mac": pool.mac(web), "vif_device": "1", "vif_mac": "02:16:3e:00:00:01"}
    assert info["bonds"] == [{**bond, "network": "lan12"}]
    assert "interfaces: [vf1, vif1]" in info["cloud_init"]
    assert ["DHCP" in warning for warning in info["warnings"]] == [True]


def test_guest_info_of_a_vm_without_requests_says_what_makes_one(pool: Pool) -> None:
    """An entry by hand gives the guest a VF, too."""
    old, db = pool.vm("old", "0/0000:07:10.6"), pool.vm("db")
    _, message, hint = pool.refused("guest_info", vm=old).says("SRIOV_NOT_FOUND")
    assert (old in message, "adopt_vm" in hint) == (True, True)
    _, message, hint = pool.refused("guest_info", vm=db).says("SRIOV_NOT_FOUND")
    assert (db in message, "assign_vf" in hint) == (True, True)
