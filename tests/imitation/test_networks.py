"""PIFs of every kind in a pool in a box, xapi's own SR-IOV, and what the plugin makes of them."""

import sys
from typing import Any, Dict, List

import pytest
from box import PoolInABox
from box_host import BoxHost, set_vfs
from machine_description import Interface, default_description
from values import Failure


def pif(box: PoolInABox, ref: str) -> Dict[str, Any]:
    record: Dict[str, Any] = box.xapi.call("PIF.get_record", ref)
    return record


def refused(box: PoolInABox, method: str, *params: Any) -> List[str]:
    with pytest.raises(Failure) as caught:
        box.xapi.call(method, *params)
    return caught.value.description


def networks_by_interface(box: PoolInABox, host: BoxHost) -> Dict[str, str]:
    """What list_pfs says the ports serve, by name."""
    names = {
        record["uuid"]: record["name_label"] for record in box.xapi.call("network.get_all_records").values()
    }
    return {port["interface"]: names[port["network"]] for port in box.call(host, "list_pfs")}


def test_a_bond_takes_its_members_down(box: PoolInABox) -> None:
    host = box.hosts[0]
    bond = box.add_bond(host, ["eth1", "eth2"], "storage")
    master = pif(box, box.pif(host, "bond0"))
    assert (master["bond_master_of"], master["physical"], master["currently_attached"]) == (
        [bond],
        False,
        True,
    )
    for device in ("eth1", "eth2"):
        member = pif(box, box.pif(host, device))
        assert (member["bond_slave_of"], member["currently_attached"]) == (bond, False)
    assert networks_by_interface(box, host)["eth2"] == "storage"


def test_pifs_that_may_not_stand_on_each_other(box: PoolInABox) -> None:
    host = box.hosts[0]
    other = box.add_network("other")
    vlan = box.xapi.call("VLAN.get_untagged_PIF", box.add_vlan(host, "eth1", 42, "accounting"))
    assert refused(box, "VLAN.create", vlan, 43, other) == ["PIF_IS_VLAN", vlan]
    assert refused(box, "VLAN.create", box.pif(host, "eth1"), 42, other) == ["PIF_VLAN_EXISTS", "eth1"]
    assert refused(box, "VLAN.create", box.pif(host, "eth1"), 4095, other) == ["VLAN_TAG_INVALID", "4095"]
    box.xapi.call("VLAN.destroy", box.xapi.call("PIF.get_VLAN_master_of", vlan))
    box.add_bond(host, ["eth1", "eth2"], "storage")
    member = box.pif(host, "eth1")
    assert refused(box, "VLAN.create", member, 9, other) == ["CANNOT_ADD_VLAN_TO_BOND_SLAVE", member]
    assert refused(box, "PIF.plug", member) == ["CANNOT_PLUG_BOND_SLAVE", member]


def test_the_management_pif_stays(box: PoolInABox) -> None:
    management = box.pif(box.hosts[0], "eth0")
    assert pif(box, management)["management"]
    assert refused(box, "PIF.unplug", management) == ["PIF_IS_MANAGEMENT_INTERFACE", management]
    box.unplug(box.hosts[0], "eth2")
    assert not pif(box, box.pif(box.hosts[0], "eth2"))["currently_attached"]


def test_management_on_a_bond_is_known_to_xapi_and_to_dom0() -> None:
    bonded = default_description(
        1,
        interfaces=(
            Interface("bond0", "bond", ("eth1", "eth2")),
            Interface("xapi0", "bridge", ("bond0",), ipv4="192.168.1.11/24"),
        ),
        management_interface="xapi0",
    )
    with PoolInABox([bonded], interpreter=sys.executable) as box:
        host = box.hosts[0]
        assert pif(box, box.pif(host, "bond0"))["management"]
        assert not pif(box, box.pif(host, "eth1"))["management"]
        assert box.xapi.call("host.get_address", host.ref) == "192.168.1.11"
        told = box.call(host, "inventory")["pfs"]
        assert {port["interface"]: port["management"] for port in told} == {
            "eth0": False,
            "eth1": True,
            "eth2": True,
        }


def test_xapis_own_sriov_makes_all_vfs_and_reserves_them(box: PoolInABox) -> None:
    host = box.hosts[0]
    sriov = box.add_sriov_network(host, "eth1", "sriov net")
    record = box.xapi.call("network_sriov.get_record", sriov)
    assert (record["physical_PIF"], record["configuration_mode"]) == (box.pif(host, "eth1"), "sysfs")
    logical = pif(box, record["logical_PIF"])
    assert (logical["physical"], logical["currently_attached"], logical["PCI"]) == (
        False,
        True,
        "OpaqueRef:NULL",
    )
    vfs = box.call(host, "list_vfs", pf="eth1")
    assert len(vfs) == 63
    assert {vf["state"] for vf in vfs} == {"reserved"}
    assert refused(box, "network_sriov.create", box.pif(host, "eth1"), box.add_network("two")) == [
        "NETWORK_SRIOV_ALREADY_ENABLED",
        box.pif(host, "eth1"),
    ]


def test_one_network_of_xapis_sriov_takes_like_devices_of_all_hosts(box: PoolInABox) -> None:
    first, second = box.hosts
    box.add_sriov_network(first, "eth1", "sriov net")
    box.add_sriov_network(second, "eth1", "sriov net")
    (network,) = box.xapi.call("network.get_by_name_label", "sriov net")
    assert len(box.xapi.call("network.get_PIFs", network)) == 2
    (plain,) = box.xapi.call("network.get_by_name_label", "Pool-wide network associated with eth2")
    third = box.add_host(default_description(3))
    box.xapi.database.destroy("PIF", box.pif(third, "eth2"))
    wrong = refused(box, "network_sriov.create", box.pif(third, "eth1"), plain)
    assert wrong == ["NETWORK_INCOMPATIBLE_WITH_SRIOV", plain]


def test_xapi_knows_a_vf_once_its_toolstack_was_restarted(box: PoolInABox) -> None:
    host = box.hosts[0]

    def addresses() -> List[str]:
        records = box.xapi.call("PCI.get_all_records").values()
        return sorted(one["pci_id"] for one in records if one["host"] == host.ref)

    ports = ["0000:00:1f.2", "0000:02:00.0", "0000:07:00.0", "0000:07:00.1"]  # the first is a disk controller
    assert addresses() == ports
    set_vfs(host, "0000:07:00.0", 1)
    assert addresses() == ports
    box.xapi.restart_toolstack(host.ref)
    assert addresses() == [*ports, "0000:07:10.0"]


def test_networks_may_have_one_name(box: PoolInABox) -> None:
    assert len({box.add_network("lab"), box.add_network("lab")}) == 2
    assert len(box.xapi.call("network.get_by_name_label", "lab")) == 2


def test_a_vif_on_xapis_own_sriov_takes_the_lowest_vf_that_is_in_no_vm(box: PoolInABox) -> None:
    host = box.hosts[0]
    box.add_sriov_network(host, "eth1", "sriov net")
    (network,) = box.xapi.call("network.get_by_name_label", "sriov net")
    vms = [box.add_vm(name) for name in ("web1", "web2")]
    for vm in vms:
        given = {"device": "0", "network": network, "VM": vm, "MAC": "", "MTU": 1500, "other_config": {}}
        box.xapi.call("VIF.create", {**given, "qos_algorithm_type": ""})
        box.start(vm, host)
    assert [box.devices(vm) for vm in vms] == [["0000:07:10.0"], ["0000:07:10.2"]]
    box.shut_down(vms[0], hard=True)
    assert refused(box, "VM.start_on", vms[0], box.hosts[1].ref, False, False) == [
        "NETWORK_SRIOV_INSUFFICIENT_CAPACITY",
        network,
    ]
