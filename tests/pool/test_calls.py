"""The plugin's calls in a pool: who has which VF, what an administrator sees and what a mistake gets."""

import json
import sys
from typing import Dict, Iterator, List

import pytest
from box import PoolInABox
from box_host import set_vfs
from machine import Machine
from machine_description import default_description
from managed_pool import Pool
from sriovlib.calls import table
from sriovlib.xapi.own_session import OwnSession

WEB = "0f1e2d3c-4b5a-4697-8879-0123456789ab"
FIRST, SECOND = "0000:07:00.0", "0000:07:00.1"  # eth1 and eth2


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """Host 1 has 4 VFs on each fast port, and guests in every relation to them."""
    loads_vf_driver = default_description(1, blacklist=())
    with PoolInABox([loads_vf_driver, default_description(2)], interpreter=sys.executable) as box:
        pool = Pool(box)
        pool.one.machine.write_attribute(f"/sys/bus/pci/devices/{FIRST}/sriov_drivers_autoprobe", "0")
        for port in (FIRST, SECOND):
            set_vfs(pool.one, port, 4)
        pool.vm("web", "0/0000:07:10.0", uuid=WEB, power_state="Running")
        pool.one.machine.start_domain(WEB, "web", ["0000:07:10.0"])
        pool.vm("mail", "0/0000:07:10.2, 1/0000:07:10.4", other_config={"other": "key"})
        pool.vm("golden image", "0/0000:07:10.6", is_a_template=True)
        pool.vm("last week", "0/0000:07:10.6", is_a_snapshot=True)
        yield pool


def test_every_vf_has_its_state_and_its_owner(pool: Pool) -> None:
    vfs = pool.vfs()
    assert {vf["address"]: vf["state"] for vf in vfs} == {
        "0000:07:10.0": "in-use",  # xenstore says so
        "0000:07:10.2": "assigned",  # the entry of a real VM
        "0000:07:10.4": "free",  # its entry has a blank before it: xapi drops it
        "0000:07:10.6": "free",  # templates and snapshots hold nothing
        **{f"0000:07:10.{function}": "dom0" for function in (1, 3, 5, 7)},
    }
    assert vfs[0]["assigned_to"] == {"vm_uuid": WEB, "vm_name": "web", "power_state": "Running"}
    assert (vfs[1]["assigned_to"]["vm_name"], vfs[1]["assigned_to"]["power_state"]) == ("mail", "Halted")
    assert vfs[2]["assigned_to"] is None


def test_the_keys_are_those_of_the_contract(pool: Pool) -> None:
    vf_keys = (
        "address index pf interface network vendor_id device_id description driver numa_node mac vlan qos "
        "vlan_protocol min_tx_rate max_tx_rate spoof_check trust link_state "
        "no_port no_settings state assigned_to"
    )
    pf_keys = (
        "address interface mac network vendor_id device_id description driver numa_node total_vfs num_vfs "
        "configured_vfs free_vfs management managed_by link_up speed guid networks interfaces ports problems"
    )
    told = pool.call("inventory")
    assert set(pool.vfs()[0]) == set(vf_keys.split())
    assert set(pool.call("list_pfs")[0]) == set(pf_keys.split())
    assert set(told["vfs"][0]) == {*vf_keys.split(), "configured_mac"} - {"network"}
    by_xapi = {"network", "networks", "free_vfs", "managed_by"}
    assert set(told["pfs"][0]) == {*pf_keys.split(), "pci_class", "settings_interfaces"} - by_xapi
    assert set(pool.call("status")) == set(
        "version platform xen_version iommu pciback pfs vfs reboot_required problems".split()
    )


def test_filters(pool: Pool) -> None:
    network = pool.api("network.get_record", pool.api("network.get_by_uuid", pool.network("eth2")))
    on_eth2 = [f"0000:07:10.{function}" for function in (1, 3, 5, 7)]
    for args in (
        *({"pf": text} for text in ("eth2", "07:00.1")),
        *({"network": network[key]} for key in ("uuid", "name_label", "bridge")),
        {"state": "dom0"},
    ):
        assert [vf["address"] for vf in pool.vfs(**args)] == on_eth2, args
    assert [vf["address"] for vf in pool.vfs(vm_uuid=WEB.upper())] == ["0000:07:10.0"]
    assert pool.vfs(state="dom0", pf="eth1") == []
    assert {vf["network"] for vf in pool.vfs(pf="eth2")} == {network["uuid"]}


def test_ports_with_their_counts(pool: Pool) -> None:
    pfs = pool.call("list_pfs")
    assert [(pf["interface"], pf["num_vfs"], pf["free_vfs"], pf["management"]) for pf in pfs] == [
        ("eth0", 0, 0, True),
        ("eth1", 4, 2, False),
        ("eth2", 4, 0, False),
    ]
    assert [problem["code"] for problem in pfs[2]["problems"]] == ["VF_HELD_BY_DOM0"]


def test_status_counts_and_names_what_is_wrong(pool: Pool) -> None:
    status = pool.call("status")
    assert status["platform"] == {"product": "XCP-ng", "version": "8.3.0"}
    assert status["vfs"] == {
        "total": 8, "in-use": 1, "assigned": 1, "dom0": 4, "reserved": 0, "free": 2, "unknown": 0
    }  # fmt: skip
    assert [problem["code"] for problem in status["problems"]] == ["PF_NEEDED_BY_DOM0", "VF_HELD_BY_DOM0"]


def test_a_port_under_xapis_own_sriov_is_marked_and_its_vfs_are_reserved(pool: Pool) -> None:
    set_vfs(pool.other, FIRST, 4)
    pool.box.xapi.database.create("network_sriov", {"physical_PIF": pool.box.pif(pool.other, "eth1")})
    # the entries of VMs without a lease name their addresses on every host of the pool
    states = [vf["state"] for vf in pool.vfs(pool.other)]
    assert states == ["assigned", "assigned", "reserved", "reserved"]
    assert [pf["managed_by"] for pf in pool.call("list_pfs", pool.other)] == [None, "xapi", None]


@pytest.mark.parametrize(
    ("function", "args", "words"),
    [
        ("list_vfs", {"colour": "blue"}, ["colour", "blue", "pf, network, state, vm_uuid"]),
        ("status", {"x": ""}, ["x", "no arguments"]),
        ("list_vfs", {"pf": "07:10"}, ["pf", "07:10", "PCI address"]),
        ("list_vfs", {"pf": ""}, ["pf"]),
        ("list_vfs", {"state": "Free"}, ["state", "Free", "in-use"]),
        ("list_vfs", {"vm_uuid": "web"}, ["vm_uuid", "web", "UUID"]),
        ("list_vfs", {"network": " "}, ["network"]),
        ("enable_iommu", {"dry_run": "perhaps"}, ["dry_run", "perhaps", "true"]),
        ("load_pciback", {"persistent": ""}, ["persistent"]),
        ("make_coffee", {}, ["make_coffee", "list_vfs"]),
        ("", {}, ["list_vfs"]),
        ("list_vfs", {"state": "\u00e9\u20ac"}, ["\u00e9\u20ac"]),
    ],
)
def test_a_mistake_names_itself(pool: Pool, function: str, args: Dict[str, str], words: List[str]) -> None:
    pool.refused(function, **args).says("SRIOV_BAD_ARGUMENT", *words)


@pytest.mark.parametrize("args", [{"pf": "eth9"}, {"pf": "0000:0f:00.0"}, {"network": "no such"}])
def test_calls_with_things_that_are_not_found(pool: Pool, args: Dict[str, str]) -> None:
    pool.refused("list_vfs", **args).says("SRIOV_NOT_FOUND")


class WithoutSocket(Machine):
    def path(self, path: str) -> str:
        return super().path(path + ".gone" if path == "/var/lib/xcp/xapi" else path)


def test_a_xapi_that_does_not_answer_costs_owners_and_some_states(pool: Pool) -> None:
    host = WithoutSocket(pool.one.machine.root)
    vfs = json.loads(table.call(host, "list_vfs", OwnSession("OpaqueRef:gone"), {}))
    assert [vf["state"] for vf in vfs] == ["in-use", None, None, None, "dom0", "dom0", "dom0", "dom0"]
    assert vfs[0]["assigned_to"] == {"vm_uuid": WEB, "vm_name": "web", "power_state": None}
    status = json.loads(table.call(host, "status", OwnSession("OpaqueRef:gone"), {}))
    assert "XAPI_SILENT" in [problem["code"] for problem in status["problems"]]
    assert status["vfs"]["unknown"] == 3
