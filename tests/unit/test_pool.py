"""What the pool's records say: who was given which VF, which port serves which network."""

from typing import Any, ClassVar, Dict

import pytest
from sriovlib.machine.host import Host
from sriovlib.pool import usage
from sriovlib.xapi.session import Xapi

NULL = "OpaqueRef:NULL"


def pif(device: str, network: str, **changes: Any) -> Dict[str, Any]:
    record: Dict[str, Any] = {
        "device": device,
        "network": network,
        "physical": True,
        "VLAN": "-1",
        "bond_slave_of": NULL,
        "bond_master_of": [],
        "sriov_physical_PIF_of": [],
        "sriov_logical_PIF_of": [],
        "currently_attached": True,
    }
    record.update(changes)
    return record


IDLE: Dict[str, Any] = {"resident_on": NULL, "current_operations": {}}


class RecordedXapi(Xapi):
    """A pool with a bond of eth1 and eth2, a VLAN on it, and eth3 under xapi's own SR-IOV."""

    answers: ClassVar[Dict[str, Any]] = {
        "host.get_by_uuid": "OpaqueRef:host",
        "PIF.get_all_records_where": {
            "p0": pif("eth0", "n0"),
            "p1": pif("eth1", "n1", bond_slave_of="b"),
            "p2": pif("eth2", "n2", bond_slave_of="b"),
            "p3": pif("bond0", "nb", physical=False, bond_master_of=["b"]),
            "p4": pif("bond0", "nv", physical=False, VLAN="7"),
            "p5": pif("eth3", "n3", sriov_physical_PIF_of=["s"]),
            "p6": pif("eth3", "ns", physical=False, sriov_logical_PIF_of=["s"]),
            "p7": pif("eth0", "nv0", physical=False, VLAN="5"),
        },
        "network.get_all_records": {
            ref: {"uuid": f"uuid-{ref}", "name_label": f"net {ref}", "bridge": f"br-{ref}"}
            for ref in ("n0", "n1", "n2", "nb", "nv", "n3", "ns", "nv0")
        },
        "host.get_other_config": {},
        "pool.get_all": ["OpaqueRef:pool"],
        "pool.get_other_config": {},
        "VM.get_all_records_where": {
            "v1": {
                "uuid": "2",
                "name_label": "halted",
                "power_state": "Halted",
                "other_config": {"pci": "0/0000:07:10.0,1/0000:07:10.2"},
                **IDLE,
            },
            "v2": {
                "uuid": "3",
                "name_label": "running",
                "power_state": "Running",
                "other_config": {"pci": "0/0000:07:10.0"},
                **IDLE,
            },
            "v3": {"uuid": "1", "name_label": "plain", "power_state": "Running", "other_config": {}, **IDLE},
        },
    }

    def call(self, method: str, *_params: Any) -> Any:
        return self.answers[method]


@pytest.fixture
def read() -> usage.Pool:
    return usage.read(RecordedXapi(Host(), None), "uuid")


def test_networks_stand_on_the_ports_below_bond_and_vlan(read: usage.Pool) -> None:
    assert {network.name: network.interfaces for network in read.networks} == {
        "net n0": {"eth0"},
        "net n1": {"eth1"},
        "net n2": {"eth2"},
        "net nb": {"eth1", "eth2"},
        "net nv": {"eth1", "eth2"},
        "net n3": {"eth3"},
        "net ns": {"eth3"},
        "net nv0": {"eth0"},
    }


def test_a_port_serves_its_own_network_and_a_member_that_of_its_bond(read: usage.Pool) -> None:
    assert read.network_of == {
        "eth0": "uuid-n0",
        "eth1": "uuid-nb",
        "eth2": "uuid-nb",
        "eth3": "uuid-n3",
    }
    assert read.managed == {"eth3"}


def test_a_running_vm_comes_before_a_halted_one_with_the_same_address(read: usage.Pool) -> None:
    assert {address: vm.name for address, vm in read.holders.items()} == {
        "0000:07:10.0": "running",
        "0000:07:10.2": "halted",
    }
