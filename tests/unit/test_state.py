"""The model of the pool: who has which VF, which port serves which network."""

import random
from pathlib import Path
from typing import Any, Callable, ClassVar, Dict, List

import pytest
from sriovlib.machine.host import Host
from sriovlib.pool import networks, state
from sriovlib.pool.ledger import Choice, Entry, Lease, Request
from sriovlib.pool.networks import NULL
from sriovlib.pool.records import Records
from sriovlib.pool.state import Pool, PoolState, Vm
from sriovlib.xapi.own_session import OwnSession
from sriovlib.xapi.session import Xapi, XapiFailure

VF = "0000:07:10.0"


def pif(device: str, network: str, **changes: Any) -> Dict[str, Any]:
    return {
        "device": device,
        "network": network,
        "physical": True,
        "VLAN": "-1",
        "bond_slave_of": NULL,
        "bond_master_of": [],
        "sriov_physical_PIF_of": [],
        "sriov_logical_PIF_of": [],
        "currently_attached": True,
        **changes,
    }


def vm(uuid: str, name: str, power_state: str, **other_config: str) -> Dict[str, Any]:
    return {
        "uuid": uuid,
        "name_label": name,
        "power_state": power_state,
        "other_config": other_config,
        "resident_on": "OpaqueRef:another" if power_state == "Running" else NULL,
        "affinity": NULL,
        "platform": {},
        "current_operations": {},
        "blocked_operations": {},
        "VCPUs_params": {},
        "VCPUs_max": "1",
        "metrics": "OpaqueRef:NULL",
        "is_a_template": False,
        "is_a_snapshot": False,
        "is_control_domain": False,
    }


class RecordedXapi(Xapi):
    """A pool with a bond of eth1 and eth2, a VLAN on it, and eth3 under xapi's own SR-IOV."""

    answers: ClassVar[Dict[str, Any]] = {
        "host.get_all_records_where": {
            "OpaqueRef:host": {"name_label": "host1", "enabled": True, "other_config": {}}
        },
        "pool.get_all": ["OpaqueRef:pool"],
        "pool.get_master": "OpaqueRef:host",
        "host.get_other_config": {"agent_start_time": "1."},
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
        "VM.get_all_records_where": {},
    }
    objects: ClassVar[Dict[str, Any]] = {
        "pool": {"OpaqueRef:pool": {"master": "OpaqueRef:host", "other_config": {}, "gui_config": {}}},
        "vm": {
            "v1": vm("2", "halted", "Halted", pci="0/0000:07:10.0,1/0000:07:10.2"),
            "v2": vm("3", "running", "Running", pci="0/0000:07:10.0"),
            "v3": vm("1", "plain", "Running"),
        },
    }

    def call(self, method: str, *params: Any) -> Any:
        if method != "event.from":
            return self.answers[method]
        events: List[Any] = []
        return {**self.call_for_each("events", events.append, method, *params), "events": events}

    def call_for_each(self, _member: str, take: Callable[[Any], object], _method: str, *params: Any) -> Any:
        classes, token, _timeout = params
        if not token:
            for name in classes:
                for ref, record in self.objects[name].items():
                    take({"class": name, "operation": "add", "ref": ref, "snapshot": record})
        counts = {name: len(objects) for name, objects in self.objects.items()}
        return {"token": "1", "valid_ref_counts": counts}


@pytest.fixture
def records(tmp_path: Path) -> Records:
    host = Host(str(tmp_path))
    return Records(host, RecordedXapi(host, OwnSession("")))


@pytest.fixture
def read(records: Records) -> Pool:
    return state.read_here(records, "host", ())


def test_networks_stand_on_the_ports_below_bond_and_vlan(read: Pool) -> None:
    assert {network.name: network.interfaces for network in read.here.networks} == {
        "net n0": {"eth0"},
        "net n1": {"eth1"},
        "net n2": {"eth2"},
        "net nb": {"eth1", "eth2"},
        "net nv": {"eth1", "eth2"},
        "net n3": {"eth3"},
        "net ns": {"eth3"},
        "net nv0": {"eth0"},
    }


def test_a_port_serves_its_own_network_and_a_member_that_of_its_bond(read: Pool) -> None:
    assert read.here.network_of == {
        "eth0": "uuid-n0",
        "eth1": "uuid-nb",
        "eth2": "uuid-nb",
        "eth3": "uuid-n3",
    }
    assert read.here.managed == {"eth3"}


def test_networks_that_share_a_wire_on_one_host_share_it_on_all() -> None:
    """The VLAN's network stands on a port of the first host only; on the second there is just the trunk."""
    records = {ref: {"uuid": ref, "name_label": ref, "bridge": ref} for ref in ("lan", "lan-12", "dmz")}
    pifs = [
        pif("eth1", "lan", host="here"),
        pif("eth1", "lan-12", host="here", physical=False, VLAN="12"),
        pif("eth2", "dmz", host="here"),
        pif("eth1", "lan", host="there"),
        pif("eth3", "dmz", host="there"),
    ]
    wires = networks.wires(records, {str(ref): record for ref, record in enumerate(pifs)})
    assert wires == {"lan": {"lan", "lan-12"}, "lan-12": {"lan", "lan-12"}, "dmz": {"dmz"}}


def test_a_running_vm_comes_before_a_halted_one_with_the_same_address(read: Pool) -> None:
    assert {address: vm.name for address, vm in read.state.assigned("host").items()} == {
        "0000:07:10.0": "running",
        "0000:07:10.2": "halted",
    }


WEB = Vm("", "web", "web", "Halted", (), None, None, None, None, {})


def test_of_two_leases_a_running_vms_counts_else_the_later_one() -> None:
    request, vms = (
        Request(1, Choice("network", "lan"), {}),
        [WEB._replace(uuid=one) for one in ("first", "last")],
    )
    entries = {
        vm.uuid: Entry((request,), Lease("host", {1: VF}, serial, {}, {}), 2, True, "", (VF,))
        for serial, vm in enumerate(vms)
    }
    pool = PoolState("", "", {}, entries, {}, {vm.uuid: vm for vm in vms})
    assert pool.leased() == {("host", VF): "last"}
    runs = vms[0]._replace(power_state="Running", resident_on="host")
    assert pool._replace(vms={**pool.vms, "first": runs}).leased() == {("host", VF): "first"}


def test_whoever_has_leases_on_one_vf_the_order_of_the_ledger_decides_nothing() -> None:
    chance = random.Random(14)
    for _ in range(300):
        vms, entries = {}, {}
        for uuid in "abcdef":
            runs_on = chance.choice(["h1", "h2", None])
            state = "Running" if runs_on else "Halted"
            vms[uuid] = WEB._replace(uuid=uuid, power_state=state, resident_on=runs_on)
            vfs = {number: chance.choice(("vf1", "vf2", "vf3")) for number in range(chance.randrange(3))}
            lease = Lease(chance.choice(("h1", "h2")), vfs, chance.randrange(3), {}, {})
            entries[uuid] = Entry((), chance.choice((lease, lease, None)), 1, False, "")
        del vms[chance.choice("abcdef")]
        claims: Dict[Any, List[Any]] = {}
        for uuid, vm in vms.items():
            has = entries[uuid].lease
            for vf in has.vfs.values() if has else ():
                assert has is not None
                claims.setdefault((has.host, vf), []).append((vm.resident_on == has.host, has.serial, uuid))
        wanted = {where: max(ranks)[-1] for where, ranks in claims.items()}
        found = PoolState("", "", {}, entries, {}, vms).leased()
        assert found == wanted


@pytest.mark.parametrize(
    ("changes", "is_held"),
    [
        ({"starting_on": "host"}, True),
        ({"resident_on": "host", "power_state": "Running"}, True),
        ({"resident_on": "another", "power_state": "Running"}, False),
        ({}, False),
    ],
)
def test_a_note_counts_while_its_vm_starts_or_runs_there(changes: Dict[str, Any], is_held: bool) -> None:
    pool = PoolState("", "", {}, {}, {}, {"web": WEB._replace(**changes)})
    assert (("host", VF) in pool.held({}, {("host", VF): "web"}).on_host) == is_held


def test_a_host_that_xapi_does_not_know(monkeypatch: pytest.MonkeyPatch, records: Records) -> None:
    monkeypatch.setitem(RecordedXapi.answers, "host.get_all_records_where", {})
    with pytest.raises(XapiFailure):
        state.read_here(records, "host", ())


def test_a_vm_that_was_not_asked_for_is_not_taken_for_gone(records: Records) -> None:
    found = state.read_vms(records.xapi, ["no-uuid"], {})
    part = state.read_ledger(records).with_vms(found, ["no-uuid"])
    assert part.vm("no-uuid") is None
    with pytest.raises(LookupError):
        part.vm("2")
    part = part.with_vms([state.vm_of("v1", vm("2", "halted", "Halted"), {})], ["2"])
    assert part.vm("2") is not None
