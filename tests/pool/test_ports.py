"""VMs on cards of other kinds than one Ethernet port a PF: two ports on one function, InfiniBand."""

import os
from typing import Iterator

import pytest
from administrator import Administrator, two_hosts
from box_host import BoxHost

pytestmark = pytest.mark.story

CARD, OTHER = "0000:07:00.0", "0000:07:00.1"  # of the usual host, with eth1 and eth2
DEVICES = "/sys/bus/pci/devices"
GUID = "f4:52:14:03:00:7b:cb:a1"


def put(host: BoxHost, path: str, text: str) -> None:
    real = host.machine.path(path)
    os.makedirs(os.path.dirname(real), exist_ok=True)
    with open(real, "w", encoding="utf-8") as file:
        file.write(text + "\n")


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


@pytest.fixture
def pool() -> Iterator[Administrator]:
    with two_hosts(CARD) as pool:
        yield pool


def test_a_vm_gets_a_vf_of_the_port_that_is_in_its_network(pool: Administrator) -> None:
    for host in pool.box.hosts:
        with_two_ports(host, "3,1,0")
    second = pool.network("eth2")
    got = pool.call("assign_vf", vm_uuid=pool.vm("web"), network=second)
    vfs = pool.call("list_vfs", network=second)
    assert [vf["address"] for vf in vfs] == [got["vf"]]
    assert [(vf["index"], vf["interface"], vf["network"]) for vf in vfs] == [(3, "eth2", second)]
    pool.call("assign_vf", vm_uuid=pool.vm("db"), network=second)  # the other host's
    said = pool.refused("assign_vf", vm_uuid=pool.vm("mail"), network=second)
    assert said[0] == "SRIOV_NO_FREE_VF"
    assert len(pool.call("list_vfs", pf="eth1")) == 3
    said = pool.refused("assign_vf", vm_uuid=pool.vm("news"), pf="eth2")  # it might be one of eth1's
    assert said[0] == "SRIOV_BAD_ARGUMENT"


def test_no_network_is_that_of_vfs_on_both_ports(pool: Administrator) -> None:
    for host in pool.box.hosts:
        with_two_ports(host, "4")
    said = pool.refused("assign_vf", vm_uuid=pool.vm("web"), network=pool.network("eth1"))
    assert "on both ports of the PF, or on one that is not known" in said[1]
    got = pool.call("assign_vf", vm_uuid=pool.vm("db"), pf=CARD)
    assert any("on both ports" in warning for warning in got["warnings"])
    assert [vf["network"] for vf in pool.call("list_vfs", pf=CARD)] == [None] * 4


def test_an_infiniband_vf_gets_no_mac_and_its_vm_starts(pool: Administrator) -> None:
    for host in pool.box.hosts:
        with_infiniband(host)
    vm = pool.vm("hpc")
    said = pool.refused("assign_vf", vm_uuid=vm, pf=CARD, vlan="12")
    assert said[0] == "SRIOV_BAD_ARGUMENT"
    assert "InfiniBand" in " ".join(said)
    pool.call("assign_vf", vm_uuid=vm, pf=CARD)
    assert pool.ledger(vm)["requests"][0]["settings"] == {}
    pool.api("VM.start", pool.ref(vm), False, False)
    assert pool.record(vm)["power_state"] == "Running"
    (pf,) = [one for one in pool.call("list_pfs") if one["address"] == CARD]
    assert (pf["mac"], pf["guid"]) == (None, GUID)
