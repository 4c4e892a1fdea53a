"""What is drawn of the plugin's answers: each VF in its place with its state, and nothing made up."""

import json
from typing import Any, List

import pytest
from pictured_pool import assignments, everything, host, owner, pf, vf
from sriovctl.picture import model
from sriovctl.picture.model import Failure, Heard, Picture

SILENT = Failure("HOST_OFFLINE", "Host host1 is offline.", "Check its power and network.")


def drawn(*hosts: Heard, **told: Any) -> Picture:
    return model.picture("lab", hosts, assignments(*hosts, **told), {"net1": "storage"})


def test_ports_stand_by_numa_node_and_vfs_by_index() -> None:
    pfs = [pf(3), pf(2, numa_node=1), pf(1, numa_node=0)]
    vfs = [vf(1, 10), vf(1, 2), vf(2, 0)]
    (one,) = drawn(host(1, pfs, vfs)).hosts
    assert [(node.numa_node, [port.name for port in node.ports]) for node in one.nodes] == [
        (0, ["eth1"]),
        (1, ["eth2"]),
        (None, ["eth3"]),
    ]
    assert [found.name for found in one.ports[0].vfs or ()] == ["eth1:2", "eth1:10"]
    assert one.ports[0].network == "storage"
    assert one.ports[1].network == "net2"  # has no name here


@pytest.mark.parametrize("state", [None, "quarantined"])
def test_state_that_is_not_known_is_not_free(state: Any) -> None:
    """Of a host whose xapi is silent, and of a plugin that knows more states than this client."""
    whole = drawn(host(1, [pf(1)], [vf(1, 0, state), vf(1, 1)]))
    assert model.counts(whole.ports)[None] == 1
    assert model.counts(whole.ports)[model.FREE] == 1


def test_vms_of_a_host_that_did_not_answer_are_those_of_the_ledger() -> None:
    vm = {**owner(1, "web", "Halted"), "host_uuid": "h1", "requests": [{"vf": "0000:07:10.0"}, {"vf": None}]}
    (one,) = drawn(host(1, None, None, failure=SILENT), vms=[vm]).hosts
    assert (one.error, one.nodes) == (SILENT, ())
    assert [(vm.vm_name, vm.vfs, vm.missing) for vm in one.vms] == [("web", ("0000:07:10.0",), 1)]


def test_ports_whose_vfs_were_not_told() -> None:
    (port,) = drawn(host(1, [pf(1)], None, failure=SILENT)).ports
    assert port.vfs is None
    assert model.counts([port])[None] == 8


def test_port_that_only_its_vfs_name() -> None:
    """list_pfs and list_vfs are not of one moment; and of the two one may have failed."""
    (port,) = drawn(host(1, None, [vf(1, 0, numa_node=1)], failure=SILENT)).ports
    assert (port.address, port.name, port.numa_node, port.total_vfs) == ("0000:01:00.0", "eth1", 1, None)


def test_vf_that_is_on_no_port_in_particular() -> None:
    """ConnectX-3: dom0 cannot tell the port, and the PF has two."""
    both = [{"interface": "eth1"}, {"interface": "eth2"}]
    (port,) = drawn(host(1, [pf(1, ports=both)], [vf(1, 0, interface=None)])).ports
    assert port.name == "eth1,eth2"
    assert [found.name for found in port.vfs or ()] == ["0000:01:10.0"]


def test_plugin_of_another_version() -> None:
    """An older one lacks keys, a newer one has more."""
    few = {"address": "0000:01:10.0", "pf": "0000:01:00.0", "state": "free", "colour": "red"}
    (port,) = drawn(host(1, [{"address": "0000:01:00.0", "colour": "red"}], [few])).ports
    assert [found.name for found in port.vfs or ()] == ["0000:01:10.0"]
    assert (port.name, port.num_vfs, port.link_up) == ("0000:01:00.0", None, None)


def test_vm_on_two_hosts_and_one_without_a_record() -> None:
    """A VM's entry by hand counts on each host; of a domain without a VM xenstore has a name."""
    vfs = [vf(1, 0, "assigned", assigned_to=owner(1, "web", "Halted"))]
    stray = {"vm_uuid": None, "vm_name": "stubdom", "power_state": None}
    one, two = drawn(
        host(1, [pf(1)], vfs), host(2, [pf(1)], [*vfs, vf(1, 1, "in-use", assigned_to=stray)])
    ).hosts
    assert [(vm.vm_name, vm.vfs) for vm in one.vms] == [("web", ("eth1:0",))]
    assert [(vm.vm_name, vm.vfs) for vm in two.vms] == [("stubdom", ("eth1:1",)), ("web", ("eth1:0",))]


def test_what_a_vm_lacks() -> None:
    """A request without a VF, and one whose VF another VM has."""
    vfs = [vf(1, 0, "in-use", assigned_to=owner(1, "web")), vf(1, 1, "in-use", assigned_to=owner(2, "db"))]
    requests = [{"vf": "0000:01:10.0"}, {"vf": "0000:01:10.1"}, {"vf": None}]
    (one,) = drawn(
        host(1, [pf(1)], vfs), vms=[{**owner(1, "web"), "host_uuid": "h1", "requests": requests}]
    ).hosts
    assert {vm.vm_name: (vm.vfs, vm.missing) for vm in one.vms} == {
        "db": (("eth1:1",), 0),
        "web": (("eth1:0",), 2),
    }


def test_power_state_of_a_running_vm_is_xapis() -> None:
    vfs = [vf(1, 0, "in-use", assigned_to=owner(1, "web", None))]
    (one,) = drawn(host(1, [pf(1)], vfs), vms=[{**owner(1, "web"), "requests": [], "host_uuid": None}]).hosts
    assert [vm.power_state for vm in one.vms] == ["Running"]


def test_vms_without_a_host() -> None:
    """No lease, or one on a host that left the pool. VMs of hosts that are not shown are not meant."""
    vms = [
        {**owner(1, "unplaced"), "host_uuid": None, "requests": [{"vf": None}]},
        {**owner(2, "left"), "host_uuid": "gone", "requests": [{"vf": "0000:01:10.0"}]},
        {**owner(3, "by hand"), "host_uuid": None, "requests": []},
        {**owner(4, "there"), "host_uuid": "h2", "requests": [{"vf": "0000:01:10.0"}]},
    ]
    one, two = host(1, [], []), host(2, [], [])
    whole = drawn(one, two, vms=vms)
    assert [(vm.vm_name, vm.missing) for vm in whole.elsewhere] == [("unplaced", 1), ("left", 1)]
    part = model.picture("lab", [one], assignments(one, two, vms=vms), {})
    assert part.elsewhere == ()


def test_conflicts_stand_at_their_vf_their_host_or_the_pool() -> None:
    at_vf = {"code": "TWICE", "message": "m", "hint": "h", "host_uuid": "h1", "address": "0000:01:10.0"}
    at_host = {"code": "OTHER", "message": "m", "hint": "h", "host_uuid": "h1", "address": None}
    nowhere = {"code": "COPY", "message": "m", "hint": "h", "host_uuid": None, "address": None}
    whole = drawn(host(1, [pf(1)], [vf(1, 0), vf(1, 1)]), conflicts=[at_vf, at_host, nowhere])
    assert [found.conflicts for found in whole.ports[0].vfs or ()] == [("TWICE",), ()]
    assert [one.code for one in whole.hosts[0].conflicts] == ["TWICE", "OTHER"]
    assert [one.code for one in whole.conflicts] == ["COPY"]


def test_who_wants_vfs_is_not_known() -> None:
    one = host(1, [pf(1)], [vf(1, 0, "assigned", assigned_to=owner(1, "web"))])
    whole = model.picture("lab", [one], None, {}, SILENT)
    assert [vm.vm_name for vm in whole.vms] == ["web"]
    assert whole.error == SILENT


def test_vms_by_name_as_people_count() -> None:
    names = ["vm-10", "vm-2", "VM-1", "vm-" + "9" * 5000]
    vfs = [vf(1, index, "in-use", assigned_to=owner(index, name)) for index, name in enumerate(names)]
    (one,) = drawn(host(1, [pf(1)], vfs)).hosts
    assert [vm.vm_name[:6] for vm in one.vms] == ["VM-1", "vm-2", "vm-10", "vm-999"]


def test_eights_begin_at_multiples_of_eight() -> None:
    (port,) = drawn(host(1, [pf(1)], [vf(1, index) for index in [*range(3, 20), 63]])).ports
    assert [(first, len(among)) for first, among in model.groups(port)] == [(3, 5), (8, 8), (16, 4), (63, 1)]


def test_model_as_json() -> None:
    """What belongs to no host is an element without one."""
    records: List[Any] = json.loads(json.dumps(model.records(everything())))
    assert [record["host"] for record in records] == ["host1", "host2", "rack-7 <b>&\"'", "host4", None]
    first = records[0]["nodes"][0]["ports"][0]["vfs"][0]
    assert (first["address"], first["index"], first["state"]) == ("0000:01:10.0", 0, "assigned")
    assert records[1]["nodes"][0]["ports"][0]["vfs"][0]["state"] is None
    assert records[2]["error"]["code"] == "HOST_OFFLINE"
    assert [vm["vm_name"] for vm in records[4]["vms"]] == ["<i>lost & found"]
