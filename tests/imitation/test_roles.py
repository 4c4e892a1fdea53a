"""Roles of users of a pool in a box: who may write what the product relies on."""

import sys
from typing import Any, List

import pytest
import XenAPI
from box import PoolInABox


def denied(call: Any, *params: Any) -> List[str]:
    with pytest.raises(XenAPI.Failure) as caught:
        call(*params)
    details: List[str] = caught.value.details
    return details[:2]


def test_pci_takes_a_pool_admin_and_the_ledger_a_pool_operator() -> None:
    with PoolInABox(interpreter=sys.executable) as box:
        vm = box.add_vm("web1", other_config={"pci": "0/0000:07:10.0"})
        box.add_user("olga", "pool-operator")
        box.add_user("viktor", "vm-power-admin")
        with box.session("olga") as olga, box.session("viktor") as viktor:
            for session in (olga, viktor):
                no_key = ["RBAC_PERMISSION_DENIED", "vm.remove_from_other_config/key:pci"]
                assert denied(session.xenapi.VM.remove_from_other_config, vm, "pci") == no_key
                assert denied(session.xenapi.VM.set_other_config, vm, {}) == no_key
                no_key[1] = "vm.add_to_other_config/key:pci"
                assert denied(session.xenapi.VM.set_other_config, vm, {"pci": "0/0000:07:10.2"}) == no_key
                no_plugin = ["RBAC_PERMISSION_DENIED", "host.call_plugin"]
                called: List[Any] = [box.master.ref, "sriov", "inventory", {}]
                assert denied(session.xenapi.host.call_plugin, *called) == no_plugin
            olga.xenapi.pool.add_to_other_config(box.xapi.pool, "sriov-vm-x", "{}")
            no_ledger = ["RBAC_PERMISSION_DENIED", "pool.add_to_other_config"]
            assert denied(viktor.xenapi.pool.add_to_other_config, box.xapi.pool, "x", "{}") == no_ledger
            clone = viktor.xenapi.VM.clone(vm, "copy")
            assert viktor.xenapi.VM.get_other_config(clone)["pci"] == "0/0000:07:10.0"
