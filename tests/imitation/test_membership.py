"""Hosts of a pool in a box that leave, come back, or are installed anew: what is known of them then."""

import json
import subprocess
import sys
from typing import Any, Dict, List

import pytest
from box import PoolInABox
from box_host import BoxHost, set_vfs
from machine_description import default_description
from values import Failure

CONFIG = "[pciback]\nwanted = yes\n"
ASK_THE_POOL = """
import json, XenAPI
session = XenAPI.xapi_local()
session.xenapi.login_with_password("root", "", "1.0", "a program of dom0")
hosts = session.xenapi.host.get_all_records().values()
print(json.dumps({host["uuid"]: host["other_config"] for host in hosts}))
"""


def pool_of(host: BoxHost) -> Dict[str, Dict[str, str]]:
    """The hosts and their other_config, as a program in this dom0 finds them."""
    asked = [sys.executable, "-c", ASK_THE_POOL]
    done = subprocess.run(asked, env=host.environment, stdout=subprocess.PIPE, check=True)
    found: Dict[str, Dict[str, str]] = json.loads(done.stdout.decode())
    return found


def role(host: BoxHost) -> str:
    return host.machine.read("/etc/xensource/pool.conf")


def refused(box: PoolInABox, method: str, *params: Any) -> List[str]:
    with pytest.raises(Failure) as caught:
        box.xapi.call(method, *params)
    return caught.value.description


def test_an_ejected_host_is_a_pool_of_its_own_with_the_disk_it_had(box: PoolInABox) -> None:
    stays, goes = box.hosts
    box.add_vlan(goes, "eth1", 42, "accounting")
    box.xapi.call("host.add_to_other_config", goes.ref, "sriov-conf", "what it had")
    goes.machine.replace_file("/etc/sriov.conf", CONFIG.encode())
    vm = box.add_vm("web1", affinity=goes.ref)

    alone = box.eject(goes)
    assert pool_of(stays) == {stays.uuid: {}}
    assert pool_of(alone) == {goes.uuid: {}}  # without its other_config
    assert role(alone) == "master"
    assert alone.machine.read("/etc/sriov.conf") == CONFIG
    assert {pif["host"] for pif in box.xapi.call("PIF.get_all_records").values()} == {stays.ref}
    assert {pci["host"] for pci in box.xapi.call("PCI.get_all_records").values()} == {stays.ref}
    assert box.xapi.call("VLAN.get_all") == []
    assert box.xapi.call("VM.get_affinity", vm) == goes.ref  # of nothing any more

    box.xapi_of(alone).call("host.add_to_other_config", alone.ref, "sriov-conf", "what it has now")
    again = box.rejoin(alone)
    assert pool_of(again) == pool_of(stays) == {stays.uuid: {}, goes.uuid: {"sriov-conf": "what it has now"}}
    assert role(again) == "slave:192.168.1.11"
    assert again.ref != goes.ref
    assert box.call(again, "inventory")["host_uuid"] == goes.uuid


def test_who_may_not_be_ejected(box: PoolInABox) -> None:
    master, member = box.hosts
    assert refused(box, "pool.eject", master.ref)[0] == "INTERNAL_ERROR"
    vm = box.add_vm("web1")
    box.start(vm, member)
    assert refused(box, "pool.eject", member.ref) == ["OPERATION_NOT_ALLOWED", "VM resident on host"]
    box.shut_down(vm, hard=True)
    box.xapi.database.set("pool", box.xapi.pool, "ha_enabled", True)
    assert refused(box, "pool.eject", member.ref) == ["HA_IS_ENABLED"]
    assert len(pool_of(member)) == 2


def test_a_host_restored_on_a_fresh_disk_keeps_its_place(box: PoolInABox) -> None:
    host = box.hosts[1]
    box.xapi.call("host.add_to_other_config", host.ref, "sriov-conf", "the copy")
    host.machine.replace_file("/etc/sriov.conf", CONFIG.encode())
    again = box.reinstall(host)
    assert not again.machine.exists("/etc/sriov.conf")
    assert pool_of(again)[host.uuid] == {"sriov-conf": "the copy"}
    assert role(again) == "slave:192.168.1.11"
    assert box.call(again, "inventory")["host_uuid"] == host.uuid
    vm = box.add_vm("web1")
    box.start(vm, again)
    assert box.power_state(vm) == "Running"


def test_a_host_installed_anew_is_another_one(box: PoolInABox) -> None:
    host = box.hosts[1]
    box.lose(host)
    box.xapi.call("host.destroy", host.ref)
    box.hosts.remove(host)
    uuid = "0a0a0a0a-0000-4000-8000-00000000000a"
    again = box.add_host(default_description(2, host_uuid=uuid))
    assert set(pool_of(again)) == {box.hosts[0].uuid, uuid}
    assert refused(box, "host.call_plugin", host.ref, "sriov", "inventory", {}) == ["HOST_OFFLINE", host.ref]


def test_a_host_is_evacuated_unless_a_vm_cannot_leave(box: PoolInABox) -> None:
    first, second = box.hosts
    set_vfs(first, "0000:07:00.0", 2)
    box.xapi.restart_toolstack(first.ref)
    plain = box.add_vm("web1")
    pinned = box.add_vm("web2", other_config={"pci": "0/0000:07:10.0"})
    for vm in (plain, pinned):
        box.start(vm, first)
    prevented = box.xapi.call("host.get_vms_which_prevent_evacuation", first.ref)
    assert prevented == {pinned: ["VM_HAS_PCI_ATTACHED", pinned]}
    assert refused(box, "host.evacuate", first.ref) == ["VM_HAS_PCI_ATTACHED", pinned]
    assert box.xapi.call("VM.get_resident_on", plain) == first.ref  # nobody has left
    box.shut_down(pinned, hard=True)
    box.evacuate(first)
    assert box.xapi.call("VM.get_resident_on", plain) == second.ref
    assert refused(box, "VM.start_on", pinned, first.ref, False, False) == ["HOST_DISABLED", first.ref]
