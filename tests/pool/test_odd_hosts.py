"""Hosts that answer late, oddly or not at all: each costs the pool nothing but itself, and is named."""

import json
import sys
import xmlrpc.client
from typing import Any, Dict, Iterator, List

import pytest
from administrator import Administrator
from box import PoolInABox
from box_host import BoxHost, set_plugin, set_vfs
from sriovlib import VERSION
from sriovlib.calls import assign_vf, list_assignments, reinstate_vfs
from sriovlib.errors import SriovError
from sriovlib.machine import xenstore
from sriovlib.machine.host import Host
from sriovlib.pool import inventories, locked, master
from sriovlib.vf import host_inventory

pytestmark = pytest.mark.story

PORT = "0000:07:00.0"
ANSWERS = "import sys\nsys.stdout.write({!r})\n"  # a plugin that always says the same


@pytest.fixture
def pool() -> Iterator[Administrator]:
    with PoolInABox(interpreter=sys.executable) as box:
        for host in box.hosts:
            set_vfs(host, PORT, 4)
        yield Administrator(box)


def act(pool: Administrator, function: Any, **args: str) -> Any:
    """The call on the master, in this process, where it can be interfered with."""
    with pool.box.session() as session:
        return master.act(pool.box.master.machine, session, function.__name__, args, function)


def answer_with(tmp_path: Any, host: BoxHost, answer: Dict[str, Any]) -> None:
    """The host's plugin gives this answer to every call from now on."""
    file = tmp_path / "sriov"
    file.write_text(ANSWERS.format(xmlrpc.client.dumps((answer,), methodresponse=True)))
    file.chmod(0o755)
    set_plugin(host, str(file))


def test_a_host_without_the_package(pool: Administrator) -> None:
    home, other = pool.box.hosts
    set_plugin(other, None)
    vm = pool.vm("a")
    got = pool.call("assign_vf", vm_uuid=vm, network=pool.network("eth1"))
    assert got["host_uuid"] == home.uuid
    assert other.name in got["warnings"][0]
    conflict = pool.conflict("HOST_WITHOUT_PLUGIN")
    assert conflict["host_uuid"] == other.uuid
    assert "VMs with VFs that could be started there: a." in conflict["message"]
    elsewhere = pool.refused("reinstate_vfs", vm_uuid=vm, host_uuid=other.uuid)
    assert other.name in elsewhere[1]


def _without_index(vf: Dict[str, Any]) -> Dict[str, Any]:
    return {name: value for name, value in vf.items() if name != "index"}


def test_an_inventory_that_makes_no_sense(pool: Administrator, tmp_path: Any) -> None:
    """As of a version that is yet to come, or of no version at all: the host is left out, and named."""
    home, odd = pool.box.hosts
    usual = pool.call("inventory", odd)
    nonsense: List[Any] = [
        {**usual, "vfs": [_without_index(vf) for vf in usual["vfs"]]},
        {**usual, "vfs": None},
        {**usual, "pfs": []},
        {"version": VERSION},
        [],
        "no inventory",
        None,
    ]
    vm = pool.vm("a")
    for value in nonsense:
        answer_with(tmp_path, odd, {"Status": "Success", "Value": json.dumps(value)})
        conflict = pool.conflict("HOST_WITHOUT_PLUGIN")
        assert (conflict["host_uuid"], "host2" in conflict["message"]) == (odd.uuid, True)
        got = pool.call("assign_vf", vm_uuid=vm, pf="eth1")
        assert (got["host_uuid"], "host2" in got["warnings"][0]) == (home.uuid, True)
        assert not pool.call("reinstate_vfs", vm_uuid=vm)["changed"]
        pool.call("unassign_vf", vm_uuid=vm, all="true")
    refused = pool.refused("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=odd.uuid)
    assert (refused[0], "host2" in refused[1]) == ("SRIOV_NO_FREE_VF", True)


def test_a_plugin_that_fails_or_knows_no_inventory(pool: Administrator, tmp_path: Any) -> None:
    odd = pool.box.hosts[1]
    unknown = ["SRIOV_BAD_ARGUMENT", "The plugin sriov has no function `inventory`.", "It has status."]
    answer_with(tmp_path, odd, {"Status": "Failure", "ErrorDescription": unknown})
    assert pool.conflict("HOST_WITHOUT_PLUGIN")["host_uuid"] == odd.uuid
    (tmp_path / "sriov").write_text("print('Traceback')\n")
    assert pool.conflict("HOST_SILENT")["host_uuid"] == odd.uuid
    answer_with(tmp_path, odd, {"Status": "Success", "Value": "<html>"})
    assert pool.conflict("HOST_SILENT")["host_uuid"] == odd.uuid


def test_the_master_cannot_look_at_itself(pool: Administrator, monkeypatch: pytest.MonkeyPatch) -> None:
    home, other = pool.box.hosts
    vm = pool.vm("a")

    def broken(*_args: Any) -> Any:
        raise OSError(5, "Input/output error", "/sys/bus/pci/devices")

    monkeypatch.setattr(host_inventory, "read", broken)
    (silent,) = act(pool, list_assignments.list_assignments)["conflicts"]
    assert (silent["code"], silent["host_uuid"]) == ("HOST_SILENT", home.uuid)
    assert act(pool, assign_vf.assign_vf, vm_uuid=vm, pf="eth1")["host_uuid"] == other.uuid
    assert not act(pool, reinstate_vfs.reinstate_vfs, vm_uuid=vm)["changed"]


def test_a_host_that_hangs_is_not_waited_for(pool: Administrator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventories, "SECONDS", 0.5)
    home, hangs = pool.box.hosts
    vm = pool.vm("a")
    with pool.box.hanging(hangs):
        got = act(pool, assign_vf.assign_vf, vm_uuid=vm, pf="eth1")
    assert (got["host_uuid"], "host2" in got["warnings"][0]) == (home.uuid, True)


def test_a_vm_is_not_moved_off_a_host_that_is_only_slow(
    pool: Administrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the administrator says so."""
    monkeypatch.setattr(inventories, "SECONDS", 0.5)
    home, hangs = pool.box.hosts
    vm = pool.vm("a")
    pool.call("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=hangs.uuid)
    before = pool.everything()
    with pool.box.hanging(hangs):
        with pytest.raises(SriovError) as refused:
            act(pool, reinstate_vfs.reinstate_vfs, vm_uuid=vm)
        assert (refused.value.code, "host2" in refused.value.message) == ("SRIOV_NO_FREE_VF", True)
        assert pool.everything() == before
        assert act(pool, reinstate_vfs.reinstate_vfs, vm_uuid=vm, host_uuid=home.uuid)["changed"]


def test_a_host_whose_xenstore_is_silent_lends_nothing_new(
    pool: Administrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running domain that the ledger does not know has its first VF; the VM keeps what it has there."""
    home, other = pool.box.hosts
    vm, wanting = pool.vm("a"), pool.vm("b")
    home.machine.start_domain(pool.vm("by hand"), "by hand", ["0000:07:10.0"])
    lent = pool.call("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=home.uuid)["vf"]
    pool.set_pci(vm, None)
    monkeypatch.setattr(xenstore, "owners", lambda *_args: None)
    with pytest.raises(SriovError) as refused:
        act(pool, assign_vf.assign_vf, vm_uuid=wanting, vf="0000:07:10.0", host_uuid=home.uuid)
    assert refused.value.code == "SRIOV_NO_FREE_VF"
    assert "xenstore of host1 does not answer, so its owner is not known" in refused.value.message
    assert act(pool, assign_vf.assign_vf, vm_uuid=wanting, pf="eth1")["host_uuid"] == other.uuid
    assert act(pool, reinstate_vfs.reinstate_vfs, vm_uuid=vm)["vfs"][0]["vf"] == lent


def test_hosts_whose_names_are_alike(pool: Administrator) -> None:
    """`host1` stands in `host10`, whose trouble is not its."""
    master, ten = pool.box.hosts
    (one,) = pool.box.add_hosts(1)
    for host, name in ((master, "master"), (ten, "host10"), (one, "host1")):
        pool.api("host.set_name_label", host.ref, name)
    set_plugin(ten, None)
    pool.box.lose(one, noticed=False)
    refused = pool.refused("assign_vf", vm_uuid=pool.vm("a"), pf="eth1", host_uuid=one.uuid)
    assert refused[1].startswith("Host host1 did not answer")
    troubles = {conflict["host_uuid"]: conflict["code"] for conflict in pool.conflicts()}
    assert troubles == {ten.uuid: "HOST_WITHOUT_PLUGIN", one.uuid: "HOST_SILENT"}


def test_a_host_that_is_not_concerned_is_not_asked(pool: Administrator) -> None:
    """Its troubles are nothing to who wants a VF of a network that it has no port in."""
    home, other = pool.box.hosts
    pool.box.add_vlan(home, "eth1", 77, "only on host1")
    set_plugin(other, None)
    got = pool.call("assign_vf", vm_uuid=pool.vm("a"), network="only on host1")
    assert (got["host_uuid"], got["warnings"]) == (home.uuid, [])


def test_a_vm_that_is_called_by_anothers_uuid(pool: Administrator) -> None:
    home = pool.box.hosts[0]
    set_vfs(home, PORT, 0)
    set_vfs(home, PORT, 2)
    web = pool.vm("web")
    backup = pool.vm(f"backup of {web}")
    for vm in (web, backup):
        pool.call("assign_vf", vm_uuid=vm, pf="eth1", host_uuid=home.uuid)
    refused = pool.refused("assign_vf", vm_uuid=pool.vm("late"), pf="eth1", host_uuid=home.uuid)
    for name in (f"web ({web})", f"backup of {web} ({backup})"):
        assert name in refused[1]


def test_what_hosts_told_before_a_long_wait(pool: Administrator, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the call waits for the pool's lock, the master's VFs go. Then it asks again, and gives none that
    is not there; what was wrong with another host is still said."""
    monkeypatch.setattr(locked, "STALE_SECONDS", 0)
    home, other = pool.box.hosts
    (without,) = pool.box.add_hosts(1)
    set_plugin(without, None)
    real = Host.lock

    def waiting(self: Host, name: str, doing: str, seconds: float) -> Any:
        if name == locked.LOCK:
            set_vfs(home, PORT, 0)
        return real(self, name, doing, seconds)

    monkeypatch.setattr(Host, "lock", waiting)
    got = act(pool, assign_vf.assign_vf, vm_uuid=pool.vm("a"), network=pool.network("eth1"))
    assert got["host_uuid"] == other.uuid
    assert "host3" in got["warnings"][0]
