"""VFs for VMs by one call: what an administrator asks for, gets, and is told."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List

import pytest
import XenAPI
from box import PoolInABox
from box_host import set_plugin, set_vfs

pytestmark = pytest.mark.story

FIRST, SECOND = "0000:07:00.0", "0000:07:00.1"  # eth1 and eth2 of the usual host
VF = "0000:07:10.0"


@contextmanager
def usual_box() -> Iterator[PoolInABox]:
    with PoolInABox(interpreter=sys.executable) as box:
        for host in box.hosts:
            set_vfs(host, FIRST, 4)
            set_vfs(host, SECOND, 4)
        yield box


@pytest.fixture
def box() -> Iterator[PoolInABox]:
    with usual_box() as box:
        yield box


class Pool:
    """The pool as its administrator sees it."""

    def __init__(self, box: PoolInABox, session: Any) -> None:
        self.box = box
        self.api = session.xenapi

    def call(self, function: str, host: int = 0, **args: str) -> Any:
        ref = self.box.hosts[host].ref
        return json.loads(self.api.host.call_plugin(ref, "sriov", function, args))

    def refused(self, function: str, host: Any = 0, **args: str) -> List[str]:
        before = self.everything()
        with pytest.raises(XenAPI.Failure) as caught:
            self.call(function, host, **args)
        assert self.everything() == before
        details: List[str] = caught.value.details
        assert len(details) == 3
        return details

    def everything(self) -> Any:
        """All that a refused call must not have touched."""
        (pool,) = self.api.pool.get_all()
        vms = self.api.VM.get_all_records()
        return self.api.pool.get_other_config(pool), {
            ref: (vm["other_config"], vm["platform"], vm["power_state"]) for ref, vm in vms.items()
        }

    def vm(self, name: str, **values: Any) -> str:
        """A halted VM; its UUID."""
        uuid: str = self.api.VM.get_uuid(self.box.add_vm(name, **values))
        return uuid

    def pci(self, vm: str) -> Any:
        return self.record(vm)["other_config"].get("pci")

    def record(self, vm: str) -> Dict[str, Any]:
        record: Dict[str, Any] = self.api.VM.get_record(self.api.VM.get_by_uuid(vm))
        return record

    def network(self, device: str) -> str:
        pifs = self.api.PIF.get_all_records().values()
        pif = next(pif for pif in pifs if pif["device"] == device and pif["host"] == self.box.hosts[0].ref)
        uuid: str = self.api.network.get_uuid(pif["network"])
        return uuid

    def ledger(self, vm: str) -> Any:
        (pool,) = self.api.pool.get_all()
        text = self.api.pool.get_other_config(pool).get(f"sriov-vm-{vm}")
        return None if text is None else json.loads(text)


@pytest.fixture
def pool(box: PoolInABox) -> Iterator[Pool]:
    with box.session() as session:
        yield Pool(box, session)


@pytest.fixture(scope="module")
def untouched() -> Iterator[Pool]:
    """A pool for calls that are refused, and so change nothing."""
    with usual_box() as box, box.session() as session:
        box.xapi.database.create("network", {"name_label": "inside", "bridge": "xapi9"})
        yield Pool(box, session)


def test_a_vm_gets_a_vf_of_a_network(pool: Pool) -> None:
    vm = pool.vm("web")
    got = pool.call("assign_vf", vm_uuid=vm, network=pool.network("eth1"))
    assert got == {
        "vm_uuid": vm,
        "request": 1,
        "vf": VF,
        "host_uuid": pool.box.hosts[0].uuid,
        "portable": True,
        "redundant": None,
        "warnings": [],
    }
    assert pool.pci(vm) == f"0/{VF}"
    assert pool.record(vm)["platform"]["nomigrate"] == "true"
    (listed,) = pool.call("list_assignments")["vms"]
    (request,) = listed["requests"]
    assert (request["vf"], request["portable"]) == (VF, True)
    mac = request["settings"]["mac"]
    assert int(mac[:2], 16) & 3 == 2  # locally administered, unicast
    (vf,) = pool.call("list_vfs", state="assigned")
    assert (vf["address"], vf["assigned_to"]["vm_uuid"]) == (VF, vm)
    assert pool.call("list_vfs", host=1, state="assigned") == []  # a lease is of one host
    assert vf["mac"] != mac  # it comes with the VM, not before
    assert pool.call("list_assignments")["conflicts"] == []


def test_a_second_vf_comes_after_the_first_and_what_others_wrote_stays(pool: Pool) -> None:
    vm = pool.vm("web", other_config={"pci": "3/0000:00:1b.0, 0/bad", "folder": "x"})
    first = pool.call("assign_vf", vm_uuid=vm, pf="eth1", vlan="12", qos="3")
    second = pool.call("assign_vf", vm_uuid=vm, pf="eth2", mac="02:16:3E:00:00:05")
    assert pool.pci(vm) == f"3/0000:00:1b.0, 0/bad,4/{first['vf']},5/{second['vf']}"
    assert pool.record(vm)["other_config"]["folder"] == "x"
    requests = pool.ledger(vm)["requests"]
    assert (requests[0]["settings"]["vlan"], requests[0]["settings"]["qos"]) == ("12", "3")
    assert requests[1]["settings"] == {"mac": "02:16:3e:00:00:05"}
    taken = pool.call("unassign_vf", vm_uuid=vm, request="1")
    assert taken["unassigned"] == [{"request": 1, "vf": first["vf"]}]
    assert pool.pci(vm) == f"3/0000:00:1b.0, 0/bad,5/{second['vf']}"
    pool.call("unassign_vf", vm_uuid=vm, vf=second["vf"])
    assert pool.pci(vm) == "3/0000:00:1b.0, 0/bad"
    assert "nomigrate" not in pool.record(vm)["platform"]
    assert pool.call("assign_vf", vm_uuid=vm, pf="eth1")["request"] == 3  # numbers are never used again
    assert pool.call("unassign_vf", vm_uuid=vm, all="true")["changed"]
    assert not pool.call("unassign_vf", vm_uuid=vm, all="true")["changed"]


def test_nomigrate_of_somebody_else_stays(pool: Pool) -> None:
    vm = pool.vm("web", platform={"nomigrate": "true"})
    pool.call("assign_vf", vm_uuid=vm, pf="eth1")
    pool.call("unassign_vf", vm_uuid=vm, all="true")
    assert pool.record(vm)["platform"] == {"nomigrate": "true"}


def test_portable_vfs_are_preferred_pool_wide(pool: Pool) -> None:
    network = pool.network("eth1")
    first, second = pool.vm("a"), pool.vm("b", affinity=pool.box.hosts[1].ref)
    one = pool.call("assign_vf", vm_uuid=first, network=network)
    other = pool.call("assign_vf", vm_uuid=second, network=network)
    assert other["host_uuid"] == pool.box.hosts[1].uuid
    assert one["vf"] != other["vf"]
    assert one["portable"] is other["portable"] is True


def test_the_network_of_a_vlan_implies_its_tag(pool: Pool) -> None:
    home = pool.box.hosts[0]
    pool.box.add_vlan(home, "eth1", 42, "accounting")
    vm = pool.vm("a")
    got = pool.call("assign_vf", vm_uuid=vm, network="accounting")
    assert got["host_uuid"] == home.uuid  # the other host has no port in it
    assert pool.ledger(vm)["requests"][0]["settings"]["vlan"] == "42"
    details = pool.refused("assign_vf", vm_uuid=vm, network="accounting", vlan="7")
    assert details[0] == "SRIOV_BAD_ARGUMENT"
    assert "42" in details[2]


def test_a_vf_of_a_bonds_member_is_not_redundant(pool: Pool) -> None:
    home = pool.box.hosts[0]
    pool.box.add_bond(home, ["eth1", "eth2"], "storage")
    set_vfs(home, FIRST, 0)
    set_vfs(home, FIRST, 2)  # eth2 has 4, so it is the one with most free VFs
    got = pool.call("assign_vf", vm_uuid=pool.vm("a"), network="storage")
    assert (got["redundant"], got["host_uuid"]) == (False, home.uuid)
    pf = next(vf["pf"] for vf in pool.call("list_vfs") if vf["address"] == got["vf"])
    assert pf == SECOND


def test_networks_that_have_no_vfs_to_give(pool: Pool) -> None:
    home = pool.box.hosts[0]
    tunnel = pool.box.add_network("cross-host")
    database = pool.box.xapi.database
    access = database.create("PIF", {"device": "tunnel0", "host": home.ref, "network": tunnel})
    database.create("tunnel", {"access_PIF": access})
    pool.box.add_sriov_network(home, "eth1", "by xapi")
    vm = pool.vm("a")
    for network, why in (("cross-host", "tunnel"), ("by xapi", "xapi's own SR-IOV")):
        details = pool.refused("assign_vf", vm_uuid=vm, network=network)
        assert details[0] == "SRIOV_BAD_ARGUMENT"
        assert why in details[2]
    details = pool.refused("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=home.uuid)
    assert details[0] == "SRIOV_NO_FREE_VF"
    assert "xapi's own SR-IOV" in details[1]


def test_a_request_whose_network_is_gone(pool: Pool) -> None:
    home = pool.box.hosts[0]
    vlan = pool.box.add_vlan(home, "eth1", 42, "accounting")
    vm = pool.vm("a")
    pool.call("assign_vf", vm_uuid=vm, network="accounting")
    network = pool.api.network.get_by_name_label("accounting")[0]
    pool.box.xapi.call("VLAN.destroy", vlan)
    pool.box.xapi.database.destroy("network", network)
    details = pool.refused("assign_vf", vm_uuid=vm, pf="eth2", host_uuid=home.uuid)
    assert details[0] == "SRIOV_NO_FREE_VF"
    assert "request=1" in details[2]
    pool.call("unassign_vf", vm_uuid=vm, request="1")
    assert pool.call("assign_vf", vm_uuid=vm, pf="eth2")["request"] == 2


def test_two_networks_of_one_name(pool: Pool) -> None:
    for _ in range(2):
        pool.box.xapi.database.create("network", {"name_label": "twins"})
    assert "UUID" in pool.refused("assign_vf", vm_uuid=pool.vm("a"), network="twins")[2]


def test_a_port_that_is_down_is_warned_of(pool: Pool) -> None:
    home = pool.box.hosts[0]
    vm = pool.vm("a")
    pool.box.unplug(home, "eth1")
    home.machine.run(["ip", "link", "set", "eth1", "down"])
    got = pool.call("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=home.uuid)
    assert any("eth1" in warning for warning in got["warnings"])


def test_by_device_and_by_address(pool: Pool) -> None:
    vm = pool.vm("a")
    by_device = pool.call("assign_vf", vm_uuid=vm, device="8086:10ED", host_uuid=pool.box.hosts[1].uuid)
    assert by_device["host_uuid"] == pool.box.hosts[1].uuid
    by_address = pool.call("assign_vf", vm_uuid=vm, vf="07:10.4")
    assert (by_address["vf"], by_address["host_uuid"]) == ("0000:07:10.4", by_device["host_uuid"])
    assert pool.refused("assign_vf", vm_uuid=vm, vf="07:10.4")[0] == "SRIOV_NO_FREE_VF"
    assert pool.refused("assign_vf", vm_uuid=vm, vf="07:1f.7")[0] == "SRIOV_NOT_FOUND"


def test_a_member_hands_the_call_on(pool: Pool) -> None:
    vm = pool.vm("a")
    got = pool.call("assign_vf", host=1, vm_uuid=vm, pf="eth1")
    assert got["host_uuid"] in [host.uuid for host in pool.box.hosts]
    assert pool.refused("assign_vf", host=1, vm_uuid=vm, pf="eth7")[0] == "SRIOV_NOT_FOUND"
    set_plugin(pool.box.hosts[0], None)
    details = pool.refused("assign_vf", host=1, vm_uuid=vm, pf="eth1")
    assert details[0] == "SRIOV_NOT_FOUND"
    assert "master" in details[1]


def test_none_left_is_said_with_who_has_them(pool: Pool) -> None:
    home = pool.box.hosts[0]
    for number in range(4):
        vm = pool.vm(f"vm{number}", affinity=home.ref)
        assert pool.call("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=home.uuid)["host_uuid"] == home.uuid
    details = pool.refused("assign_vf", vm_uuid=pool.vm("late"), pf="eth1", host_uuid=home.uuid)
    assert details[0] == "SRIOV_NO_FREE_VF"
    assert sum(f"vm{number}" in details[1] for number in range(4)) == 3  # three are named, others counted
    assert home.name in details[1]


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        ({}, "SRIOV_BAD_ARGUMENT", "none of vf, pf"),
        ({"pf": "eth1", "network": "x"}, "SRIOV_BAD_ARGUMENT", "pf and network"),
        ({"pf": "eth1", "vlan": "5000"}, "SRIOV_BAD_ARGUMENT", "vlan"),
        ({"pf": "eth1", "qos": "3"}, "SRIOV_BAD_ARGUMENT", "qos"),
        ({"pf": "eth1", "mac": "01:00:5e:00:00:01"}, "SRIOV_BAD_ARGUMENT", "mac"),
        ({"pf": "eth1", "host_uuid": "x"}, "SRIOV_BAD_ARGUMENT", "host_uuid"),
        ({"pf": "eth1", "host_uuid": "00000000-0000-4000-8000-000000000000"}, "SRIOV_NOT_FOUND", "no host"),
        ({"pf": "eth0"}, "SRIOV_", "eth0"),
        ({"network": "nowhere"}, "SRIOV_NOT_FOUND", "nowhere"),
        ({"network": "inside"}, "SRIOV_BAD_ARGUMENT", "internal"),
        ({"device": "8086"}, "SRIOV_BAD_ARGUMENT", "device"),
        ({"device": "dead:beef"}, "SRIOV_NO_FREE_VF", "dead:beef"),
        ({"pf": "eth1", "colour": "red"}, "SRIOV_BAD_ARGUMENT", "colour"),
    ],
)
def test_what_cannot_be_is_said(untouched: Pool, args: Dict[str, str], code: str, named: str) -> None:
    details = untouched.refused("assign_vf", vm_uuid=untouched.vm("a"), **args)
    assert details[0].startswith(code)
    assert named in details[1] + details[2]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"power_state": "Running"}, "SRIOV_VM_NOT_HALTED"),
        ({"power_state": "Paused"}, "SRIOV_VM_NOT_HALTED"),
        ({"power_state": "Suspended"}, "SRIOV_VM_NOT_HALTED"),
        ({"current_operations": {"OpaqueRef:1": "start"}}, "SRIOV_BUSY"),
        ({"current_operations": {"OpaqueRef:1": "clone"}}, "SRIOV_BUSY"),
        ({"is_a_template": True}, "SRIOV_BAD_ARGUMENT"),
        ({"is_a_snapshot": True, "is_a_template": True}, "SRIOV_BAD_ARGUMENT"),
        ({"is_control_domain": True, "power_state": "Running"}, "SRIOV_BAD_ARGUMENT"),
    ],
)
def test_only_a_halted_vm_gets_vfs(untouched: Pool, values: Dict[str, Any], code: str) -> None:
    vm = untouched.vm("a", **values)
    for function, args in (
        ("assign_vf", {"pf": "eth1"}),
        ("unassign_vf", {"all": "true"}),
        ("reinstate_vfs", {}),
        ("adopt_vm", {}),
    ):
        if function == "unassign_vf" and values == {"is_a_template": True}:
            continue  # a VM that became one gives back what it was lent
        assert untouched.refused(function, vm_uuid=vm, **args)[0] == code
    assert untouched.refused("assign_vf", vm_uuid="nonsense", pf="eth1")[0] == "SRIOV_BAD_ARGUMENT"
    gone = "00000000-0000-4000-8000-000000000000"
    assert untouched.refused("assign_vf", vm_uuid=gone, pf="eth1")[0] == "SRIOV_NOT_FOUND"


def test_macs_are_had_once_in_the_pool(pool: Pool) -> None:
    vm, other = pool.vm("a"), pool.vm("b")
    pool.call("assign_vf", vm_uuid=vm, pf="eth1", mac="02:16:3e:00:00:05")
    assert "request 1" in pool.refused("assign_vf", vm_uuid=other, pf="eth1", mac="02:16:3E:00:00:05")[1]
    pool.box.xapi.database.create("VIF", {"MAC": "02:16:3e:00:00:06", "VM": pool.api.VM.get_by_uuid(vm)})
    assert "VIF" in pool.refused("assign_vf", vm_uuid=other, pf="eth1", mac="02:16:3e:00:00:06")[1]
    port = next(pif["MAC"] for pif in pool.api.PIF.get_all_records().values() if pif["device"] == "eth2")
    assert "eth2" in pool.refused("assign_vf", vm_uuid=other, pf="eth1", mac=port)[1]


def test_the_host_of_the_vms_vfs_is_the_one(pool: Pool) -> None:
    vm = pool.vm("a")
    home = pool.call("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=pool.box.hosts[1].uuid)
    other = pool.box.hosts[0].uuid
    assert "host_uuid" in pool.refused("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=other)[2]
    moved = pool.call("reinstate_vfs", vm_uuid=vm, host_uuid=other)
    assert (moved["host_uuid"], moved["changed"], moved["pci_changed"]) == (other, True, False)
    assert moved["vfs"] == [{"request": 1, "vf": home["vf"], "before": home["vf"]}]
    assert pool.call("list_vfs", state="assigned")[0]["assigned_to"]["vm_uuid"] == vm
    assert not pool.call("reinstate_vfs", vm_uuid=vm)["changed"]


def test_hosts_in_trouble_are_named_and_left_out(pool: Pool) -> None:
    home, other = pool.box.hosts
    set_plugin(other, None)
    vm = pool.vm("a")
    got = pool.call("assign_vf", vm_uuid=vm, network=pool.network("eth1"))
    assert got["host_uuid"] == home.uuid
    assert other.name in got["warnings"][0]
    (conflict,) = pool.call("list_assignments")["conflicts"]
    assert (conflict["code"], conflict["host_uuid"]) == ("HOST_WITHOUT_PLUGIN", other.uuid)
    assert "a" in conflict["message"]
    elsewhere = pool.refused("reinstate_vfs", vm_uuid=vm, host_uuid=other.uuid)
    assert other.name in elsewhere[1]


def test_fifty_clients_and_twenty_vfs(pool: Pool) -> None:
    home = pool.box.hosts[0]
    for port in (FIRST, SECOND):
        set_vfs(home, port, 0)
        set_vfs(home, port, 10)
    set_vfs(pool.box.hosts[1], FIRST, 0)
    set_vfs(pool.box.hosts[1], SECOND, 0)
    vms = [pool.vm(f"vm{number}") for number in range(50)]

    def assign(vm: str) -> str:
        try:
            return str(pool.box.call(home, "assign_vf", vm_uuid=vm, device="8086:10ed")["vf"])
        except XenAPI.Failure as failure:
            return str(failure.details[0])

    with ThreadPoolExecutor(50) as clients:
        outcomes = list(clients.map(assign, vms))
    vfs = [outcome for outcome in outcomes if outcome.startswith("0000:")]
    assert len(vfs) == len(set(vfs)) == 20
    assert outcomes.count("SRIOV_NO_FREE_VF") == 30
    assert pool.call("list_assignments")["conflicts"] == []


def test_keys_of_vms_that_are_gone_are_collected(pool: Pool) -> None:
    gone, template, vm = pool.vm("gone"), pool.vm("template"), pool.vm("a")
    for one in (gone, template):
        pool.call("assign_vf", vm_uuid=one, pf="eth1")
    pool.box.xapi.database.destroy("VM", pool.api.VM.get_by_uuid(gone))
    pool.api.VM.set_is_a_template(pool.api.VM.get_by_uuid(template), True)
    codes = {conflict["code"] for conflict in pool.call("list_assignments")["conflicts"]}
    assert codes == {"LEDGER_WITHOUT_VM"}
    pool.call("assign_vf", vm_uuid=vm, pf="eth1")
    assert pool.ledger(gone) is None
    assert pool.ledger(template) is not None


def test_a_key_that_cannot_be_read_is_reported_and_left_alone(pool: Pool) -> None:
    vm, other = pool.vm("a"), pool.vm("b")
    (ref,) = pool.api.pool.get_all()
    pool.api.pool.add_to_other_config(ref, f"sriov-vm-{vm}", "{nonsense")
    for function in ("assign_vf", "reinstate_vfs", "unassign_vf"):
        args = {"assign_vf": {"pf": "eth1"}, "unassign_vf": {"all": "true"}}.get(function, {})
        assert pool.refused(function, vm_uuid=vm, **args)[0] == "SRIOV_LEDGER"
    pool.call("assign_vf", vm_uuid=other, pf="eth1")
    (conflict,) = pool.call("list_assignments")["conflicts"]
    assert (conflict["code"], conflict["vm_uuids"]) == ("LEDGER_UNREADABLE", [vm])
    assert pool.api.pool.get_other_config(ref)[f"sriov-vm-{vm}"] == "{nonsense"


# -- entries that were written by hand, clones -----------------------------------------------------


def test_entries_by_hand_count_and_are_adopted(pool: Pool) -> None:
    home = pool.box.hosts[0]
    old = pool.vm(
        "old",
        affinity=home.ref,
        other_config={
            "pci": f"0/{VF},1/0000:07:10.2,2/0000:00:1f.2",
            "sriovmacs": "0/02:16:3e:00:00:0a,1/02:16:3e:00:00:0b",
            "sriovvlans": "1/42",
        },
    )
    new = pool.call("assign_vf", vm_uuid=pool.vm("new"), pf="eth1")
    assert new["vf"] not in (VF, "0000:07:10.2")
    adopted = pool.call("adopt_vm", vm_uuid=old)
    assert (adopted["host_uuid"], adopted["origin_uuid"]) == (home.uuid, None)
    assert [(one["vf"], one["settings"]) for one in adopted["vfs"]] == [
        (VF, {"mac": "02:16:3e:00:00:0a"}),
        ("0000:07:10.2", {"mac": "02:16:3e:00:00:0b", "vlan": "42"}),
    ]
    assert pool.pci(old) == f"0/{VF},1/0000:07:10.2,2/0000:00:1f.2"
    assert pool.refused("adopt_vm", vm_uuid=old)[0] == "SRIOV_BAD_ARGUMENT"


def test_a_clone_is_seen_and_adopted(pool: Pool) -> None:
    vm = pool.vm("web")
    got = pool.call("assign_vf", vm_uuid=vm, pf="eth1", vlan="12")
    clone = pool.vm("web copy", other_config={"pci": pool.pci(vm)}, platform={"nomigrate": "true"})
    (conflict,) = pool.call("list_assignments")["conflicts"]
    assert (conflict["code"], conflict["vm_uuids"]) == ("CLONE", [clone, vm])
    adopted = pool.call("adopt_vm", vm_uuid=clone)
    assert adopted["origin_uuid"] == vm
    (own,) = adopted["vfs"]
    assert own["vf"] != got["vf"]
    assert own["settings"]["vlan"] == "12"
    assert own["settings"]["mac"] != pool.ledger(vm)["requests"][0]["settings"]["mac"]
    assert pool.pci(clone) == f"0/{own['vf']}"
    assert pool.call("list_assignments")["conflicts"] == []


def test_a_reverted_vm_is_seen_and_reinstated(pool: Pool) -> None:
    vm = pool.vm("web")
    pool.call("assign_vf", vm_uuid=vm, vf=VF)
    pool.call("unassign_vf", vm_uuid=vm, all="true")
    pool.call("assign_vf", vm_uuid=vm, vf="0000:07:10.2")
    ref = pool.api.VM.get_by_uuid(vm)
    pool.api.VM.remove_from_other_config(ref, "pci")
    pool.api.VM.add_to_other_config(ref, "pci", f"0/{VF}")  # as VM.revert does
    (conflict,) = pool.call("list_assignments")["conflicts"]
    assert (conflict["code"], conflict["vm_uuids"]) == ("STALE_ENTRIES", [vm])
    assert pool.call("reinstate_vfs", vm_uuid=vm)["pci_changed"]
    assert pool.pci(vm) == "0/0000:07:10.2"


def test_a_reverted_vm_may_have_the_vf_of_its_old_entry(pool: Pool) -> None:
    home = pool.box.hosts[0]
    vm, other = pool.vm("web"), pool.vm("other")
    pool.call("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=home.uuid)
    old = pool.pci(vm)
    pool.call("unassign_vf", vm_uuid=vm, all="true")
    ref = pool.api.VM.get_by_uuid(vm)
    pool.api.VM.add_to_other_config(ref, "pci", old)  # as VM.revert does
    for _ in range(3):
        pool.call("assign_vf", vm_uuid=other, pf="eth1", host_uuid=home.uuid)
    got = pool.call("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=home.uuid)
    assert pool.pci(vm) == f"0/{got['vf']}"


def test_what_xapi_would_drop_or_cannot_find_is_named(pool: Pool) -> None:
    pool.vm("blank", other_config={"pci": f"0/{VF}, 1/0000:07:10.2"})
    pool.vm("nowhere", other_config={"pci": "0/0000:99:00.0"})
    pool.vm("greedy", other_config={"pci": "0/0000:04:00.0"})
    found = {conflict["code"] for conflict in pool.call("list_assignments")["conflicts"]}
    assert {"ENTRY_DROPPED", "NO_SUCH_DEVICE"} <= found
