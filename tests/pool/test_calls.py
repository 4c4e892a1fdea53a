"""The plugin's calls in a pool: who has which VF, what an administrator sees and what a mistake gets."""

import json
import sys
from typing import Any, Dict, Iterator, List

import pytest
import XenAPI
from box import PoolInABox
from box_host import BoxHost
from machine_description import default_description

WEB = "0f1e2d3c-4b5a-4697-8879-0123456789ab"


@pytest.fixture(scope="module")
def box() -> Iterator[PoolInABox]:
    """Host 1 has 4 VFs on each fast port, and guests in every relation to them."""
    loads_vf_driver = default_description(1, blacklist=())
    with PoolInABox([loads_vf_driver, default_description(2)], interpreter=sys.executable) as made:
        machine = made.hosts[0].machine
        machine.write_attribute("/sys/bus/pci/devices/0000:07:00.0/sriov_drivers_autoprobe", "0")
        for port in ("0000:07:00.0", "0000:07:00.1"):
            machine.write_attribute(f"/sys/bus/pci/devices/{port}/sriov_numvfs", "4")
        made.add_vm("web", uuid=WEB, power_state="Running", other_config={"pci": "0/0000:07:10.0"})
        machine.start_domain(WEB, "web", ["0000:07:10.0"])
        made.add_vm("mail", other_config={"pci": "0/0000:07:10.2, 1/0000:07:10.4", "other": "key"})
        made.add_vm("golden image", is_a_template=True, other_config={"pci": "0/0000:07:10.6"})
        made.add_vm("last week", is_a_snapshot=True, other_config={"pci": "0/0000:07:10.6"})
        yield made


@pytest.fixture
def host(box: PoolInABox) -> BoxHost:
    return box.hosts[0]


def states(vfs: List[Dict[str, Any]]) -> Dict[str, Any]:
    return {vf["address"]: vf["state"] for vf in vfs}


def refused(box: PoolInABox, host: BoxHost, function: str, **args: str) -> List[str]:
    with pytest.raises(XenAPI.Failure) as caught:
        box.call(host, function, **args)
    details: List[str] = caught.value.details
    return details


def test_every_vf_has_its_state_and_its_owner(box: PoolInABox, host: BoxHost) -> None:
    vfs = box.call(host, "list_vfs")
    assert states(vfs) == {
        "0000:07:10.0": "in-use",  # xenstore says so
        "0000:07:10.2": "assigned",  # the entry of a real VM
        "0000:07:10.4": "free",  # its entry has a blank before it: xapi drops it
        "0000:07:10.6": "free",  # templates and snapshots hold nothing
        "0000:07:10.1": "dom0",
        "0000:07:10.3": "dom0",
        "0000:07:10.5": "dom0",
        "0000:07:10.7": "dom0",
    }
    assert vfs[0]["assigned_to"] == {"vm_uuid": WEB, "vm_name": "web", "power_state": "Running"}
    assert vfs[1]["assigned_to"]["vm_name"] == "mail"
    assert vfs[1]["assigned_to"]["power_state"] == "Halted"
    assert vfs[2]["assigned_to"] is None


def test_the_keys_are_those_of_the_contract(box: PoolInABox, host: BoxHost) -> None:
    vf_keys = (
        "address index pf interface network vendor_id device_id description driver numa_node mac vlan qos "
        "vlan_protocol min_tx_rate max_tx_rate spoof_check trust link_state "
        "no_port no_settings state assigned_to"
    )
    pf_keys = (
        "address interface mac network vendor_id device_id description driver numa_node total_vfs num_vfs "
        "configured_vfs free_vfs management managed_by link_up speed guid interfaces ports problems"
    )
    told = box.call(host, "inventory")
    assert set(box.call(host, "list_vfs")[0]) == set(vf_keys.split())
    assert set(box.call(host, "list_pfs")[0]) == set(pf_keys.split())
    assert set(told["vfs"][0]) == {*vf_keys.split(), "configured_mac"} - {"network"}
    by_xapi = {"network", "free_vfs", "managed_by"}
    assert set(told["pfs"][0]) == {*pf_keys.split(), "pci_class", "settings_interfaces"} - by_xapi
    assert set(box.call(host, "status")) == set(
        "version platform xen_version iommu pciback pfs vfs reboot_required problems".split()
    )


def test_filters(box: PoolInABox, host: BoxHost) -> None:
    with box.session() as session:
        networks = session.xenapi.network.get_all_records()
        pif = next(
            p
            for p in session.xenapi.PIF.get_all_records().values()
            if p["host"] == host.ref and p["device"] == "eth2"
        )
    network = networks[pif["network"]]
    on_eth2 = [f"0000:07:10.{function}" for function in (1, 3, 5, 7)]
    for args in (
        {"pf": "eth2"},
        {"pf": "07:00.1"},
        {"network": network["uuid"]},
        {"network": network["name_label"]},
        {"network": network["bridge"]},
        {"state": "dom0"},
    ):
        assert list(states(box.call(host, "list_vfs", **args))) == on_eth2, args
    assert list(states(box.call(host, "list_vfs", vm_uuid=WEB.upper()))) == ["0000:07:10.0"]
    assert box.call(host, "list_vfs", state="dom0", pf="eth1") == []
    assert {vf["network"] for vf in box.call(host, "list_vfs", pf="eth2")} == {network["uuid"]}


def test_ports_with_their_counts(box: PoolInABox, host: BoxHost) -> None:
    pfs = box.call(host, "list_pfs")
    assert [(pf["interface"], pf["num_vfs"], pf["free_vfs"], pf["management"]) for pf in pfs] == [
        ("eth0", 0, 0, True),
        ("eth1", 4, 2, False),
        ("eth2", 4, 0, False),
    ]
    assert [problem["code"] for problem in pfs[2]["problems"]] == ["VF_HELD_BY_DOM0"]


def test_status_counts_and_names_what_is_wrong(box: PoolInABox, host: BoxHost) -> None:
    status = box.call(host, "status")
    assert status["platform"] == {"product": "XCP-ng", "version": "8.3.0"}
    assert status["vfs"] == {
        "total": 8, "in-use": 1, "assigned": 1, "dom0": 4, "reserved": 0, "free": 2, "unknown": 0
    }  # fmt: skip
    assert [problem["code"] for problem in status["problems"]] == ["PF_NEEDED_BY_DOM0", "VF_HELD_BY_DOM0"]


def test_a_port_under_xapis_own_sriov_is_marked_and_its_vfs_are_reserved(box: PoolInABox) -> None:
    host = box.hosts[1]
    host.machine.write_attribute("/sys/bus/pci/devices/0000:07:00.0/sriov_numvfs", "4")
    with box.session() as session:
        pifs = session.xenapi.PIF.get_all_records()
    physical = next(ref for ref, pif in pifs.items() if pif["host"] == host.ref and pif["device"] == "eth1")
    box.xapi.database.create("network_sriov", {"physical_PIF": physical})
    # the entries of VMs without a lease name their addresses on every host of the pool
    assert list(states(box.call(host, "list_vfs")).values()) == [
        "assigned",
        "assigned",
        "reserved",
        "reserved",
    ]
    assert [pf["managed_by"] for pf in box.call(host, "list_pfs")] == [None, "xapi", None]


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
def test_a_mistake_names_itself(
    box: PoolInABox, host: BoxHost, function: str, args: Dict[str, str], words: List[str]
) -> None:
    code, message, hint = refused(box, host, function, **args)
    assert code == "SRIOV_BAD_ARGUMENT"
    assert [word for word in words if word not in message + hint] == []


@pytest.mark.parametrize("args", [{"pf": "eth9"}, {"pf": "0000:0f:00.0"}, {"network": "no such"}])
def test_calls_with_things_that_are_not_found(box: PoolInABox, host: BoxHost, args: Dict[str, str]) -> None:
    assert refused(box, host, "list_vfs", **args)[0] == "SRIOV_NOT_FOUND"


def test_a_xapi_that_does_not_answer_costs_owners_and_some_states(host: BoxHost) -> None:
    """The plugin as a program whose xapi is not there any more: its session is of no use."""
    from sriovlib.calls import table

    class Silent:
        _session = "OpaqueRef:gone"

        def xenapi_request(self, _method: str, _params: Any) -> Any:
            raise ConnectionRefusedError

    vfs = json.loads(table.call(_without_socket(host), "list_vfs", Silent(), {}))
    assert [vf["state"] for vf in vfs] == ["in-use", None, None, None, "dom0", "dom0", "dom0", "dom0"]
    assert vfs[0]["assigned_to"] == {"vm_uuid": WEB, "vm_name": "web", "power_state": None}
    status = json.loads(table.call(_without_socket(host), "status", Silent(), {}))
    assert "XAPI_SILENT" in [problem["code"] for problem in status["problems"]]
    assert status["vfs"]["unknown"] == 3


def _without_socket(host: BoxHost) -> Any:
    from machine import Machine

    class NoSocket(Machine):
        def path(self, path: str) -> str:
            return super().path(path + ".gone" if path == "/var/lib/xcp/xapi" else path)

    return NoSocket(host.machine.root)
