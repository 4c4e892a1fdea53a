"""VMs on cards of other kinds than one Ethernet port a PF: two ports on one function, InfiniBand."""

import os

import pytest
from box_host import BoxHost
from managed_pool import BY_KERNEL, Pool

pytestmark = [pytest.mark.story, BY_KERNEL]

CARD, OTHER = "0000:07:00.0", "0000:07:00.1"  # of the usual host, with eth1 and eth2
DEVICES = "/sys/bus/pci/devices"
GUID = "f4:52:14:03:00:7b:cb:a1"


def put(host: BoxHost, path: str, text: str) -> None:
    with host.machine.changed() as sysfs:
        sysfs.put(path, text + "\n")


def with_two_ports(host: BoxHost, num_vfs: str) -> None:
    """The card becomes a ConnectX-3: eth2 is the second port of the function of eth1, which has the VFs."""
    uevent = f"{DEVICES}/{CARD}/uevent"
    put(host, uevent, host.machine.read(uevent).replace("ixgbe", "mlx4_core").strip())
    second = f"{DEVICES}/{CARD}/net/eth2"
    os.rename(host.machine.path(f"{DEVICES}/{OTHER}/net/eth2"), host.machine.path(second))
    os.unlink(host.machine.path("/sys/class/net/eth2"))
    os.symlink(os.path.realpath(host.machine.path(second)), host.machine.path("/sys/class/net/eth2"))
    put(host, f"{second}/dev_port", "1")
    put(host, "/sys/module/mlx4_core/parameters/num_vfs", num_vfs)


def with_infiniband(host: BoxHost) -> None:
    put(host, f"{DEVICES}/{CARD}/net/eth1/address", f"80:00:00:48:fe:80:00:00:00:00:00:00:{GUID}")
    put(host, f"{DEVICES}/{CARD}/net/eth1/type", "32")


def test_a_vm_gets_a_vf_of_the_port_that_is_in_its_network(pool: Pool) -> None:
    for host in pool.hosts:
        with_two_ports(host, "3,1,0")
    second = pool.network("eth2")
    got = pool.assign(pool.vm("web"), network=second)
    vfs = pool.vfs(network=second)
    assert [vf["address"] for vf in vfs] == [got["vf"]]
    assert [(vf["index"], vf["interface"], vf["network"]) for vf in vfs] == [(3, "eth2", second)]
    pool.assign(pool.vm("db"), network=second)  # the other host's
    pool.refused("assign_vf", vm=pool.vm("mail"), network=second).says("SRIOV_NO_FREE_VF")
    assert len(pool.vfs(pf="eth1")) == 3
    pool.refused("assign_vf", vm=pool.vm("news"), pf="eth2").says("SRIOV_BAD_ARGUMENT")


def test_vfs_on_both_ports_are_of_no_network(pool: Pool) -> None:
    for host in pool.hosts:
        with_two_ports(host, "4")
    refused = pool.refused("assign_vf", vm=pool.vm("web"), network=pool.network("eth1"))
    refused.says("SRIOV_NO_FREE_VF", "both ports")
    got = pool.assign(pool.vm("db"), pf=CARD)
    assert any("both ports" in warning for warning in got["warnings"])
    assert [vf["network"] for vf in pool.vfs(pf=CARD)] == [None] * 4


def test_an_infiniband_vf_gets_no_mac_and_its_vm_starts(pool: Pool) -> None:
    for host in pool.hosts:
        with_infiniband(host)
    vm = pool.vm("hpc")
    pool.refused("assign_vf", vm=vm, pf=CARD, vlan="12").says("SRIOV_BAD_ARGUMENT", "InfiniBand")
    pool.assign(vm, pf=CARD)
    assert pool.ledger(vm)["requests"][0]["settings"] == {}
    pool.start(vm, pool.one)
    assert pool.power_state(vm) == "Running"
    (pf,) = [one for one in pool.call("list_pfs") if one["address"] == CARD]
    assert (pf["mac"], pf["guid"]) == (None, GUID)
