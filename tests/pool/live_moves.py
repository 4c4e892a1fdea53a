"""A VM that runs with a VF and a VIF in the same network, as those are that can be moved: what tests do with
it, and what is then true of it and of the host that it has left."""

from typing import Any, List

import kernel_xen
import pytest
from box_host import BoxHost
from managed_pool import Pool
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.errors import SriovError
from sriovlib.machine import xenstore
from sriovlib.vf import start_notes

VF, THERE = (
    "0000:07:10.0",
    "0000:09:10.0",
)  # its VF, and what it gets on a host with its card in the other slot
UNCONFIRMED = {"unconfirmed": "true"}


def running_with_vf(pool: Pool) -> str:
    """It runs on the first host, with a VF in VLAN 12, and a VIF in the same network."""
    for host in pool.hosts:
        pool.box.add_vlan(host, "eth1", 12, "lan12")
    (network,) = pool.api("network.get_by_name_label", "lan12")
    vm = pool.with_vf("web", network="lan12")
    values = {"VM": pool.ref(vm), "device": "0", "network": network, "MAC": "02:16:3e:00:00:01"}
    pool.box.xapi.database.create("VIF", values)
    pool.start(vm, pool.one)
    return vm


def migrate(pool: Pool, vm: str, on: BoxHost, **args: str) -> Any:
    return pool.call("migrate_vm", vm=vm, on=on, **UNCONFIRMED, **args)


def suspended(pool: Pool, web: str) -> None:
    pool.box.xapi.database.set("VM", pool.ref(web), "suspend_SR", "OpaqueRef:any")
    pool.api("VM.suspend", pool.ref(web))


def suspended_and_resumed(pool: Pool, web: str) -> None:
    """The domain that it has then takes no device."""
    suspended(pool, web)
    pool.api("VM.resume_on", pool.ref(web), pool.one.ref, False, False)


def driven(vm: str, host: BoxHost) -> List[str]:
    """The VFs of that host that its guest can drive."""
    domids = xenstore.domains_of(host.machine, vm) or []
    with host.machine.changed() as sysfs:
        return [vf for domid in domids for vf in kernel_xen.usable(sysfs, domid)]


def qemu(vm: str, host: BoxHost) -> Any:
    (domid,) = xenstore.domains_of(host.machine, vm) or [0]
    assert host.machine.qemus is not None
    return host.machine.qemus[domid]


def is_whole(pool: Pool, vm: str, host: BoxHost, vf: str) -> None:
    """The VM runs there with that VF and nothing else, and everybody knows it."""
    assert (pool.power_state(vm), pool.record(vm)["resident_on"]) == ("Running", host.ref)
    assert (driven(vm, host), pool.devices(vm)) == ([vf], [vf])
    assert pool.pci(vm) == f"0/{vf}"
    entry = pool.entry(vm)
    assert entry.lease is not None
    assert (entry.lease.host, dict(entry.lease.vfs), entry.move) == (host.uuid, {1: vf}, None)
    assert len(pool.key_names(vm)) == 1
    assert pool.settings(host, vf) == (pool.mac(vm), 12)
    note = start_notes.read(host.machine, vm)
    assert note is not None
    assert note.devices == [vf]
    assert pool.act("list_assignments")["conflicts"] == []


def has_left(pool: Pool, vm: str, host: BoxHost, vf: str) -> None:
    """Nothing of it is there, and anybody may have the VF."""
    assert driven(vm, host) == []
    assert xenstore.owners(host.machine) == {}
    assert pool.settings(host, vf) == (NO_MAC, 0)
    (shown,) = [one for one in pool.act("list_vfs", host) if one["address"] == vf]
    assert shown["state"] == "free"


def refused_code(pool: Pool, function: str, vm: str) -> str:
    with pytest.raises(SriovError) as refused:
        pool.act(function, vm=vm)
    return refused.value.code
