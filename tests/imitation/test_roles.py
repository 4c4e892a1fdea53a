"""Roles and events of a pool in a box, as clients of several kinds meet them."""

import json
import sys
import threading
from typing import Any, Dict, Iterator, List

import pytest
import XenAPI
from box import PoolInABox


@pytest.fixture
def box() -> Iterator[PoolInABox]:
    with PoolInABox(interpreter=sys.executable) as box:
        yield box


def denied(call: Any, *params: Any) -> List[str]:
    with pytest.raises(XenAPI.Failure) as caught:
        call(*params)
    details: List[str] = caught.value.details
    return details[:2]


def test_what_keeps_vfs_safe_takes_the_roles_that_it_should(box: PoolInABox) -> None:
    """FACTS that the ledger stands on: who may write `pci`, who the pool's other_config, who may clone."""
    vm = box.add_vm("web1", other_config={"pci": "0/0000:07:10.0"})
    box.add_user("olga", "pool-operator")
    box.add_user("viktor", "vm-admin")
    with box.session("olga") as olga, box.session("viktor") as viktor:
        for session in (olga, viktor):
            no_key = ["RBAC_PERMISSION_DENIED", "vm.remove_from_other_config/key:pci"]
            assert denied(session.xenapi.VM.remove_from_other_config, vm, "pci") == no_key
            no_plugin = ["RBAC_PERMISSION_DENIED", "host.call_plugin"]
            called: List[Any] = [box.master.ref, "sriov", "inventory", {}]
            assert denied(session.xenapi.host.call_plugin, *called) == no_plugin
        olga.xenapi.pool.add_to_other_config(box.xapi.pool, "sriov-vm-x", "{}")
        no_ledger = ["RBAC_PERMISSION_DENIED", "pool.add_to_other_config"]
        assert denied(viktor.xenapi.pool.add_to_other_config, box.xapi.pool, "sriov-vm-y", "{}") == no_ledger
        clone = viktor.xenapi.VM.clone(vm, "copy")
        assert viktor.xenapi.VM.get_other_config(clone)["pci"] == "0/0000:07:10.0"


def test_a_pool_admin_who_is_not_root_calls_plugins(box: PoolInABox) -> None:
    box.add_user("anna", "pool-admin")
    with box.session("anna") as anna:
        told = anna.xenapi.host.call_plugin(box.hosts[1].ref, "sriov", "inventory", {})
    assert json.loads(told)["host_uuid"] == box.hosts[1].uuid


def test_who_waits_for_a_vm_is_woken_by_its_change_and_by_no_other(box: PoolInABox) -> None:
    vm, other = box.add_vm("web1"), box.add_vm("web2")
    with box.session() as session:
        token = session.xenapi_request("event.from", ([f"VM/{vm}"], "", 0.0))["token"]
        answers: List[Dict[str, Any]] = []

        def wait() -> None:
            with box.session() as own:
                answers.append(own.xenapi_request("event.from", ([f"VM/{vm}"], token, 60.0)))

        waiting = threading.Thread(target=wait)
        waiting.start()
        session.xenapi.VM.add_to_other_config(other, "k", "v")  # woken by this it would have nothing to tell
        session.xenapi.VM.add_to_other_config(vm, "k", "v")
        waiting.join()
    (event,) = answers[0]["events"]
    assert (event["operation"], event["ref"]) == ("mod", vm)
    assert event["snapshot"]["other_config"]["k"] == "v"


def test_a_vm_has_changed_when_it_gets_a_vif(box: PoolInABox) -> None:
    vm = box.add_vm("web1")
    token = box.xapi.call("event.from", ["VM"], "", 0)["token"]
    given = {"device": "0", "network": box.add_network("lab"), "VM": vm, "MAC": "", "MTU": 1500}
    vif = box.xapi.call("VIF.create", {**given, "other_config": {}, "qos_algorithm_type": ""})
    (event,) = box.xapi.call("event.from", ["VM"], token, 0)["events"]
    assert event["snapshot"]["VIFs"] == [vif]
