"""Roles of users of a pool in a box: who may write what the product relies on."""

from box import PoolInABox
from checks import refused


def test_pci_takes_a_pool_admin_and_the_ledger_a_pool_operator(box: PoolInABox) -> None:
    vm = box.add_vm("web1", other_config={"pci": "0/0000:07:10.0"})
    box.add_user("olga", "pool-operator")
    box.add_user("viktor", "vm-power-admin")
    with box.session("olga") as olga, box.session("viktor") as viktor:
        for api in (olga.xenapi, viktor.xenapi):
            for key, call, params in (
                ("vm.remove_from_other_config/key:pci", api.VM.remove_from_other_config, (vm, "pci")),
                ("vm.remove_from_other_config/key:pci", api.VM.set_other_config, (vm, {})),
                ("vm.add_to_other_config/key:pci", api.VM.set_other_config, (vm, {"pci": "0/0000:07:10.2"})),
                ("host.call_plugin", api.host.call_plugin, (box.master.ref, "sriov", "inventory", {})),
            ):
                assert refused(call, *params)[:2] == ["RBAC_PERMISSION_DENIED", key]
        olga.xenapi.pool.add_to_other_config(box.xapi.pool, "sriov-vm-x", "{}")
        ledger = refused(viktor.xenapi.pool.add_to_other_config, box.xapi.pool, "x", "{}")
        assert ledger[:2] == ["RBAC_PERMISSION_DENIED", "pool.add_to_other_config"]
        clone = viktor.xenapi.VM.clone(vm, "copy")
        assert viktor.xenapi.VM.get_other_config(clone)["pci"] == "0/0000:07:10.0"
