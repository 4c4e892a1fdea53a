"""Hosts that leave a pool in a box, are installed anew or evacuated: what is known of them then."""

from box import PoolInABox
from box_host import set_vfs
from checks import refused
from machine_description import default_description


def test_nothing_of_an_ejected_host_is_left_in_its_pool(box: PoolInABox) -> None:
    stays, goes = box.hosts
    box.add_vlan(goes, "eth1", 42, "accounting")
    vm = box.add_vm("web1", affinity=goes.ref)
    box.eject(goes)
    assert box.xapi.call("host.get_all") == [stays.ref]
    assert {pif["host"] for pif in box.xapi.call("PIF.get_all_records").values()} == {stays.ref}
    assert {pci["host"] for pci in box.xapi.call("PCI.get_all_records").values()} == {stays.ref}
    assert box.xapi.call("VLAN.get_all") == []
    assert box.xapi.call("VM.get_affinity", vm) == goes.ref  # of nothing any more


def test_who_may_not_be_ejected(box: PoolInABox) -> None:
    master, member = box.hosts
    assert refused(box.eject, master)[0] == "INTERNAL_ERROR"
    vm = box.add_vm("web1")
    box.start(vm, member)
    assert refused(box.eject, member) == ["OPERATION_NOT_ALLOWED", "VM resident on host"]
    box.shut_down(vm, hard=True)
    box.xapi.database.set("pool", box.xapi.pool, "ha_enabled", True)
    assert refused(box.eject, member) == ["HA_IS_ENABLED"]


def test_a_host_installed_anew_is_another_one(box: PoolInABox) -> None:
    host = box.hosts[1]
    box.lose(host)
    box.xapi.call("host.destroy", host.ref)
    box.hosts.remove(host)
    again = box.add_host(default_description(2, host_uuid="0a0a0a0a-0000-4000-8000-00000000000a"))
    assert set(box.xapi.call("host.get_all")) == {box.master.ref, again.ref}
    assert refused(box.xapi.call, "host.call_plugin", host.ref, "sriov", "inventory", {})[0] == "HOST_OFFLINE"


def test_a_host_is_evacuated_unless_a_vm_cannot_leave(box: PoolInABox) -> None:
    first, second = box.hosts
    set_vfs(first, "0000:07:00.0", 2)
    box.xapi.restart_toolstack(first.ref)
    plain, pinned = box.add_vm("web1"), box.add_vm("web2", other_config={"pci": "0/0000:07:10.0"})
    for vm in (plain, pinned):
        box.start(vm, first)
    why = ["VM_HAS_PCI_ATTACHED", pinned]
    assert box.xapi.call("host.get_vms_which_prevent_evacuation", first.ref) == {pinned: why}
    assert refused(box.xapi.call, "host.evacuate", first.ref) == why
    assert box.xapi.call("VM.get_resident_on", plain) == first.ref  # nobody has left
    box.shut_down(pinned, hard=True)
    box.xapi.call("host.evacuate", first.ref)
    assert box.xapi.call("VM.get_resident_on", plain) == second.ref


def test_no_vm_is_started_on_a_host_that_is_evacuated(box: PoolInABox) -> None:
    host, vm = box.hosts[1], box.add_vm("web1")
    box.xapi.database.add_to("host", host.ref, "current_operations", "a task", "evacuate")
    assert refused(box.start, vm, host) == ["HOST_EVACUATE_IN_PROGRESS", host.ref]
