"""VFs for VMs by one call: what an administrator asks for, gets, and is told."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, Set

import pytest
import XenAPI
from box_host import set_plugin, set_vfs
from managed_pool import Pool
from sriovlib.config import vf_settings

pytestmark = [pytest.mark.story, pytest.mark.pool(hooks=False, by_kernel=True, ports=("eth1", "eth2"))]

FIRST, SECOND = "0000:07:00.0", "0000:07:00.1"  # eth1 and eth2 of the usual host
VF = "0000:07:10.0"


def test_a_vm_gets_a_vf_of_a_network(pool: Pool) -> None:
    vm = pool.vm("web")
    got = pool.assign(vm, network=pool.network("eth1"))
    assert got == {
        "vm_uuid": vm,
        "request": 1,
        "vf": VF,
        "host_uuid": pool.one.uuid,
        "portable": True,
        "redundant": None,
        "warnings": [],
        "changed": True,
    }
    assert pool.pci(vm) == f"0/{VF}"
    (listed,) = pool.call("list_assignments")["vms"]
    (request,) = listed["requests"]
    assert (request["vf"], request["state"], request["portable"]) == (VF, "assigned", True)
    mac = request["settings"]["mac"]
    assert int(mac[:2], 16) & 3 == 2  # locally administered, unicast
    (vf,) = pool.vfs(state="assigned")
    assert (vf["address"], vf["assigned_to"]["vm_uuid"]) == (VF, vm)
    assert pool.vfs(pool.other, state="assigned") == []  # a lease is of one host
    assert vf["mac"] != mac  # it comes with the VM, not before
    assert pool.conflicts() == []


def test_a_second_vf_comes_after_the_first_and_what_others_wrote_stays(pool: Pool) -> None:
    vm = pool.vm("web", other_config={"pci": "3/0000:00:1b.0, 0/bad", "folder": "x"})
    first = pool.assign(vm, pf="eth1", vlan="12", qos="3")
    second = pool.assign(vm, pf="eth2", mac="02:16:3E:00:00:05")
    assert pool.pci(vm) == f"3/0000:00:1b.0, 0/bad,4/{first['vf']},5/{second['vf']}"
    assert pool.record(vm)["other_config"]["folder"] == "x"
    requests = pool.ledger(vm)["requests"]
    assert (requests[0]["settings"]["vlan"], requests[0]["settings"]["qos"]) == ("12", "3")
    assert requests[1]["settings"] == {"mac": "02:16:3e:00:00:05"}
    taken = pool.unassign(vm, request="1")
    assert taken["unassigned"] == [{"request": 1, "vf": first["vf"]}]
    assert pool.pci(vm) == f"3/0000:00:1b.0, 0/bad,5/{second['vf']}"
    pool.unassign(vm, vf=second["vf"])
    assert pool.pci(vm) == "3/0000:00:1b.0, 0/bad"
    assert pool.assign(vm, pf="eth1")["request"] == 3  # numbers are never used again
    assert pool.unassign(vm)["changed"]
    assert not pool.unassign(vm)["changed"]


def test_entries_of_others_that_were_taken_out_stay_out(pool: Pool) -> None:
    """An entry by hand stood beside ours when those were written: the note of it does not bring it back."""
    vm = pool.vm("web", pci="0/0000:00:1b.0")
    pool.assign(vm, pf="eth1")
    pool.unassign(vm)
    assert pool.pci(vm) == "0/0000:00:1b.0"
    pool.set_pci(vm, None)
    got = pool.assign(vm, pf="eth1")
    assert pool.pci(vm) == f"0/{got['vf']}"


def test_the_network_of_a_vlan_implies_its_tag(pool: Pool) -> None:
    home = pool.one
    pool.box.add_vlan(home, "eth1", 42, "accounting")
    vm = pool.vm("a")
    got = pool.assign(vm, network="accounting")
    assert got["host_uuid"] == home.uuid  # the other host has no port in it
    assert pool.ledger(vm)["requests"][0]["settings"]["vlan"] == "42"
    pool.refused("assign_vf", vm=vm, network="accounting", vlan="7").says("SRIOV_BAD_ARGUMENT", "42")
    pool.refused("assign_vf", vm=vm, network="accounting", vlan_protocol="802.1ad").says(
        "SRIOV_BAD_ARGUMENT", "802.1q or nothing"
    )
    pool.refused("assign_vf", vm=vm, network="accounting", profile="router").says(
        "SRIOV_BAD_ARGUMENT", "accounting has VLAN 42", "port itself (Pool-wide network associated with eth1)"
    )


def test_a_profile_that_the_driver_cannot_do_is_refused(pool: Pool) -> None:
    uevent = f"/sys/bus/pci/devices/{FIRST}/uevent"
    for host in pool.hosts:
        with host.machine.changed() as sysfs:
            sysfs.put(uevent, sysfs.text(uevent).replace("ixgbe", "bnx2x"))
    vm = pool.vm("gate")
    refused = pool.refused("assign_vf", vm=vm, pf="eth1", profile="router")
    refused.says("SRIOV_BAD_ARGUMENT", "bnx2x cannot trust a VF")
    assert pool.pci(vm) is None
    assert "every VLAN" in pool.assign(vm, pf="eth2", profile="router")["warnings"][0]


def test_a_vf_of_a_bonds_member_is_not_redundant(pool: Pool) -> None:
    home = pool.one
    pool.box.add_bond(home, ["eth1", "eth2"], "storage")
    set_vfs(home, FIRST, 0)
    set_vfs(home, FIRST, 2)  # eth2 has 4, so it is the one with most free VFs
    got = pool.assign(pool.vm("a"), network="storage")
    assert (got["redundant"], got["host_uuid"]) == (False, home.uuid)
    pf = next(vf["pf"] for vf in pool.vfs() if vf["address"] == got["vf"])
    assert pf == SECOND


def test_networks_that_have_no_vfs_to_give(pool: Pool) -> None:
    home = pool.one
    tunnel = pool.box.add_network("cross-host")
    database = pool.box.xapi.database
    access = database.create("PIF", {"device": "tunnel0", "host": home.ref, "network": tunnel})
    database.create("tunnel", {"access_PIF": access})
    pool.box.add_sriov_network(home, "eth1", "by xapi")
    vm = pool.vm("a")
    for network, why in (("cross-host", "tunnel"), ("by xapi", "xapi's own SR-IOV")):
        pool.refused("assign_vf", vm=vm, network=network).says("SRIOV_BAD_ARGUMENT", why)


def test_a_network_whose_hosts_do_not_agree_on_its_tag(pool: Pool) -> None:
    """A VM would be in another VLAN on the next host."""
    for host, tag in zip(pool.hosts, (40, 41)):
        pool.box.add_vlan(host, "eth1", tag, "mixed")
    vm = pool.vm("a")
    for host in pool.hosts:
        pool.refused("assign_vf", vm=vm, network="mixed", on=host).says("SRIOV_BAD_ARGUMENT", "40, 41")


def test_a_port_that_is_down_is_warned_of(pool: Pool) -> None:
    home = pool.one
    vm = pool.vm("a")
    pool.box.unplug(home, "eth1")
    home.machine.run(["ip", "link", "set", "eth1", "down"])
    got = pool.assign(vm, pf="eth1", on=home)
    assert any("eth1" in warning for warning in got["warnings"])


def test_by_device_and_by_address(pool: Pool) -> None:
    vm = pool.vm("a")
    by_device = pool.assign(vm, device="8086:10ED", on=pool.other)
    assert by_device["host_uuid"] == pool.other.uuid
    by_address = pool.assign(vm, vf="07:10.4")
    assert (by_address["vf"], by_address["host_uuid"]) == ("0000:07:10.4", by_device["host_uuid"])
    pool.refused("assign_vf", vm=vm, vf="07:10.4").says("SRIOV_NO_FREE_VF")
    pool.refused("assign_vf", vm=vm, vf="07:1f.7").says("SRIOV_NOT_FOUND")


def test_a_member_hands_the_call_on(pool: Pool) -> None:
    vm = pool.vm("a")
    got = pool.call("assign_vf", pool.other, vm_uuid=vm, pf="eth1")
    assert got["host_uuid"] in [host.uuid for host in pool.hosts]
    pool.refused("assign_vf", pool.other, vm_uuid=vm, pf="eth7").says("SRIOV_NOT_FOUND")
    set_plugin(pool.one, None)
    pool.refused("assign_vf", pool.other, vm_uuid=vm, pf="eth1").says("SRIOV_NOT_FOUND", "master")


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        ({}, "SRIOV_BAD_ARGUMENT", "exactly one of vf, pf"),
        ({"pf": "eth1", "network": "x"}, "SRIOV_BAD_ARGUMENT", "the call has pf, network"),
        ({"pf": "eth1", "vlan": "5000"}, "SRIOV_BAD_ARGUMENT", "vlan"),
        ({"pf": "eth1", "qos": "3"}, "SRIOV_BAD_ARGUMENT", "qos"),
        ({"pf": "eth1", "max_tx_rate": "10001"}, "SRIOV_BAD_ARGUMENT", "the speed of the link, 10000 Mbit/s"),
        ({"network": "xenbr1", "min_tx_rate": "10001"}, "SRIOV_BAD_ARGUMENT", "the speed of the link"),
        ({"pf": "eth1", "mac": "01:00:5e:00:00:01"}, "SRIOV_BAD_ARGUMENT", "mac"),
        ({"pf": "eth1", "host_uuid": "x"}, "SRIOV_BAD_ARGUMENT", "host_uuid"),
        ({"pf": "eth1", "host_uuid": "00000000-0000-4000-8000-000000000000"}, "SRIOV_NOT_FOUND", "no host"),
        ({"pf": "eth0"}, "SRIOV_", "eth0"),
        ({"network": "nowhere"}, "SRIOV_NOT_FOUND", "nowhere"),
        ({"network": "inside"}, "SRIOV_BAD_ARGUMENT", "internal"),
        ({"network": "twins"}, "SRIOV_", "UUID"),
        ({"device": "8086"}, "SRIOV_BAD_ARGUMENT", "device"),
        ({"device": "dead:beef"}, "SRIOV_NO_FREE_VF", "dead:beef"),
        ({"pf": "eth1", "colour": "red"}, "SRIOV_BAD_ARGUMENT", "colour"),
    ],
)
def test_assign_vf_refusals(pool: Pool, args: Dict[str, str], code: str, named: str) -> None:
    for name in ("inside", "twins", "twins"):
        pool.box.add_network(name)
    details = pool.refused("assign_vf", vm=pool.vm("a"), **args)
    assert details[0].startswith(code)
    assert named in details[1] + details[2]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"power_state": "Running"}, "SRIOV_VM_NOT_HALTED"),
        ({"power_state": "Suspended"}, "SRIOV_VM_NOT_HALTED"),
        ({"current_operations": {"OpaqueRef:1": "start"}}, "SRIOV_BUSY"),
        ({"is_a_template": True}, "SRIOV_BAD_ARGUMENT"),
        ({"is_a_snapshot": True, "is_a_template": True}, "SRIOV_BAD_ARGUMENT"),
        ({"is_control_domain": True, "power_state": "Running"}, "SRIOV_BAD_ARGUMENT"),
    ],
)
def test_only_a_halted_vm_gets_vfs(pool: Pool, values: Dict[str, Any], code: str) -> None:
    vm = pool.vm("a", **values)
    for function, args in (
        ("assign_vf", {"pf": "eth1"}),
        ("unassign_vf", {"all": "true"}),
        ("reinstate_vfs", {}),
        ("adopt_vm", {}),
    ):
        if function == "unassign_vf" and values == {"is_a_template": True}:
            continue  # a VM that became one gives back what it was lent
        assert pool.refused(function, vm=vm, **args).code == code
    pool.refused("assign_vf", vm="nonsense", pf="eth1").says("SRIOV_BAD_ARGUMENT")
    gone = "00000000-0000-4000-8000-000000000000"
    pool.refused("assign_vf", vm=gone, pf="eth1").says("SRIOV_NOT_FOUND")


def test_macs_are_had_once_in_the_pool(pool: Pool) -> None:
    vm, other = pool.vm("a"), pool.vm("b")
    pool.assign(vm, pf="eth1", mac="02:16:3e:00:00:05")
    assert "request 1" in pool.refused("assign_vf", vm=other, pf="eth1", mac="02:16:3E:00:00:05")[1]
    pool.box.xapi.database.create("VIF", {"MAC": "02:16:3e:00:00:06", "VM": pool.ref(vm)})
    assert "VIF" in pool.refused("assign_vf", vm=other, pf="eth1", mac="02:16:3e:00:00:06")[1]
    snapshot, template = pool.snapshot(vm), pool.vm("template", is_a_template=True)
    for copy in (snapshot, template):  # no reason against it; the box copies no VIFs
        pool.box.xapi.database.create("VIF", {"MAC": "02:16:3e:00:00:07", "VM": pool.ref(copy)})
    pool.assign(vm, pf="eth1", mac="02:16:3e:00:00:07")
    port = next(pif["MAC"] for pif in pool.api("PIF.get_all_records").values() if pif["device"] == "eth2")
    assert "eth2" in pool.refused("assign_vf", vm=other, pf="eth1", mac=port)[1]


def test_a_derived_mac_is_nobody_elses_either(pool: Pool) -> None:
    """The first that would come is a VIF's, the second another request's, the third a port's."""
    vm, other = pool.vm("a"), pool.vm("b")
    first, second, third, fourth = (vf_settings.derived_mac(vm, 1, attempt) for attempt in range(4))
    database = pool.box.xapi.database
    database.create("VIF", {"MAC": first.upper(), "VM": pool.ref(other)})
    pool.assign(other, pf="eth1", mac=second)
    database.set("PIF", pool.box.pif(pool.other, "eth2"), "MAC", third)
    pool.assign(vm, pf="eth1")
    assert pool.ledger(vm)["requests"][0]["settings"] == {"mac": fourth}
    pool.reinstate(vm, on=pool.other)
    assert pool.ledger(vm)["requests"][0]["settings"] == {"mac": fourth}


def test_twenty_clients_and_eight_vfs(pool: Pool) -> None:
    for port in (FIRST, SECOND):
        set_vfs(pool.other, port, 0)
    vms = [pool.vm(f"vm{number}") for number in range(20)]

    def assign(vm: str) -> str:
        try:
            return str(pool.assign(vm, device="8086:10ed")["vf"])
        except XenAPI.Failure as failure:
            return str(failure.details[0])

    with ThreadPoolExecutor(20) as clients:
        outcomes = list(clients.map(assign, vms))
    vfs = [outcome for outcome in outcomes if outcome.startswith("0000:")]
    assert len(vfs) == len(set(vfs)) == 8
    assert outcomes.count("SRIOV_NO_FREE_VF") == 12
    assert pool.conflicts() == []


def test_networks_of_a_port(pool: Pool) -> None:
    """Below a bond they are of its members, below a VLAN of those of its trunk; on other hosts others."""
    pool.box.add_bond(pool.one, ["eth1", "eth2"], "fast")
    pool.box.add_vlan(pool.one, "bond0", 12, "fast 12")
    pool.box.add_vlan(pool.other, "eth2", 12, "fast 12")
    names = {record["uuid"]: record["name_label"] for record in pool.api("network.get_all_records").values()}

    def told(host: Any, of: str) -> Set[str]:
        (pf,) = [pf for pf in pool.call("list_pfs", host) if pf["interface"] == of]
        return {names[uuid] for uuid in pf["networks"]} & {"fast", "fast 12"}

    assert [told(pool.one, of) for of in ("eth0", "eth1", "eth2")] == [set(), *[{"fast", "fast 12"}] * 2]
    assert [told(pool.other, of) for of in ("eth0", "eth1", "eth2")] == [set(), set(), {"fast 12"}]
