"""Hosts that answer late, oddly or not at all: each costs the pool nothing but itself, and is named."""

import json
import xmlrpc.client
from typing import Any, Dict, List

import pytest
from box_host import BoxHost, set_plugin
from managed_pool import Pool
from refusals import error_of
from sriovlib import VERSION
from sriovlib.machine import xenstore
from sriovlib.pool import host_answers
from sriovlib.vf import inventory

pytestmark = [pytest.mark.story, pytest.mark.pool(hooks=False, by_kernel=True)]

PORT = "0000:07:00.0"
ANSWERS = "import sys\nsys.stdout.write({!r})\n"  # a plugin that always says the same


def answer_with(tmp_path: Any, host: BoxHost, answer: Dict[str, Any]) -> None:
    """The host's plugin gives this answer to every call from now on."""
    file = tmp_path / "sriov"
    file.write_text(ANSWERS.format(xmlrpc.client.dumps((answer,), methodresponse=True)))
    file.chmod(0o755)
    set_plugin(host, str(file))


def test_an_inventory_that_makes_no_sense(pool: Pool, tmp_path: Any) -> None:
    """As of a version that is yet to come, or of no version at all: the host is left out, and named."""
    home, odd = pool.hosts
    usual = pool.call("inventory", odd)
    without_index = [{key: vf[key] for key in vf if key != "index"} for vf in usual["vfs"]]
    nonsense: List[Any] = [{**usual, "vfs": without_index}, {**usual, "pfs": []}, {"version": VERSION}, []]
    vm = pool.vm("a")
    for value in nonsense:
        answer_with(tmp_path, odd, {"Status": "Success", "Value": json.dumps(value)})
        pool.conflict("HOST_WITHOUT_PLUGIN", "host2", host=odd)
        got = pool.assign(vm, pf="eth1")
        assert (got["host_uuid"], "host2" in got["warnings"][0]) == (home.uuid, True)
        assert not pool.reinstate(vm)["changed"]
        pool.unassign(vm)
    pool.refused("assign_vf", vm=vm, pf="eth1", on=odd).says("SRIOV_NO_FREE_VF", "host2")


def test_a_plugin_that_fails_or_knows_no_inventory(pool: Pool, tmp_path: Any) -> None:
    odd = pool.other
    unknown = ["SRIOV_BAD_ARGUMENT", "The plugin sriov has no function `inventory`.", "It has status."]
    answer_with(tmp_path, odd, {"Status": "Failure", "ErrorDescription": unknown})
    assert pool.conflict("HOST_WITHOUT_PLUGIN")["host_uuid"] == odd.uuid
    (tmp_path / "sriov").write_text("print('Traceback')\n")
    assert pool.conflict("HOST_SILENT")["host_uuid"] == odd.uuid
    answer_with(tmp_path, odd, {"Status": "Success", "Value": "<html>"})
    assert pool.conflict("HOST_SILENT")["host_uuid"] == odd.uuid


@pytest.mark.parametrize("error", [OSError(5, "Input/output error", "/sys/bus/pci/devices"), KeyError("mac")])
def test_the_master_cannot_look_at_itself(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A bug of ours is called one, and the log has where it is."""
    home, other = pool.hosts
    vm = pool.vm("a")

    def broken(*_args: Any) -> Any:
        raise error

    monkeypatch.setattr(inventory, "look_to_act", broken)
    (silent,) = pool.act("list_assignments")["conflicts"]
    assert (silent["code"], silent["host_uuid"]) == ("HOST_SILENT", home.uuid)
    is_bug = isinstance(error, KeyError)
    assert ("KeyError: 'mac'" in silent["message"]) == ("Traceback" in pool.log(home)) == is_bug
    assert ".." not in silent["message"]
    assert pool.act("assign_vf", vm=vm, pf="eth1")["host_uuid"] == other.uuid
    assert not pool.act("reinstate_vfs", vm=vm)["changed"]


def test_a_vm_is_not_moved_off_a_host_that_is_only_slow(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the administrator says so."""
    monkeypatch.setattr(host_answers, "SECONDS", 0.5)
    home, hangs = pool.hosts
    vm = pool.with_vf("a", pf="eth1", on=hangs)
    before = pool.everything()
    with pool.box.hanging(hangs):
        error_of(pool.act, "reinstate_vfs", vm=vm).says("SRIOV_HOST_SILENT", "host2")
        assert pool.everything() == before
        assert pool.act("reinstate_vfs", vm=vm, on=home)["changed"]


def test_a_host_whose_xenstore_is_silent_lends_nothing_new(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running domain that the ledger does not know has its first VF; the VM keeps what it has there."""
    home, other = pool.hosts
    vm, wanting = pool.vm("a"), pool.vm("b")
    home.machine.start_domain(pool.vm("by hand"), "by hand", ["0000:07:10.0"])
    lent = pool.assign(vm, pf="eth1", on=home)["vf"]
    pool.set_pci(vm, None)
    monkeypatch.setattr(xenstore, "owners", lambda *_args: None)
    refused = error_of(pool.act, "assign_vf", vm=wanting, vf="0000:07:10.0", on=home)
    refused.says("SRIOV_NO_FREE_VF", "xenstore of host1 does not answer")
    assert pool.act("assign_vf", vm=wanting, pf="eth1")["host_uuid"] == other.uuid
    assert pool.act("reinstate_vfs", vm=vm)["vfs"][0]["vf"] == lent


def test_hosts_whose_names_are_alike(pool: Pool) -> None:
    """`host1` stands in `host10`, whose trouble is not its."""
    master, ten = pool.hosts
    (one,) = pool.box.add_hosts(1)
    for host, name in ((master, "master"), (ten, "host10"), (one, "host1")):
        pool.api("host.set_name_label", host.ref, name)
    set_plugin(ten, None)
    pool.box.lose(one, noticed=False)
    refused = pool.refused("assign_vf", vm=pool.vm("a"), pf="eth1", on=one)
    assert refused.code == "SRIOV_HOST_SILENT"
    assert refused.message.startswith("Host host1 did not answer")
    troubles = {conflict["host_uuid"]: conflict["code"] for conflict in pool.conflicts()}
    assert troubles == {ten.uuid: "HOST_WITHOUT_PLUGIN", one.uuid: "HOST_SILENT"}


def test_a_host_that_is_not_concerned_is_not_asked(pool: Pool) -> None:
    """Its troubles are nothing to who wants a VF of a network that it has no port in."""
    home, other = pool.hosts
    pool.box.add_vlan(home, "eth1", 77, "only on host1")
    set_plugin(other, None)
    got = pool.assign(pool.vm("a"), network="only on host1")
    assert (got["host_uuid"], got["warnings"]) == (home.uuid, [])
