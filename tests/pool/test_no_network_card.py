"""VFs of a device that is no network card: they are given like others, and have no settings."""

import pytest
from machine_description import Card, Description, Sriov
from managed_pool import Pool, alike

DISK, VF = "0000:0a:00.0", "0000:0a:00.1"


def with_disk(number: int) -> Description:
    sriov = Sriov(4, "a824", offset=1, stride=1)
    disk = Card((DISK,), "144d:a824", "NVMe", "nvme", pci_class="010802", sriov=sriov)
    return alike(number)._replace(cards=(*alike(number).cards, disk))


pytestmark = [pytest.mark.story, pytest.mark.pool(describe=with_disk, hosts=1, ports=(DISK,))]


def test_a_vf_of_a_disk_without_settings(pool: Pool, web: str) -> None:
    assert pool.assign(web, pf=DISK)["vf"] == VF
    assert [request["settings"] for request in pool.requests(web)] == [{}]


def test_no_network_is_missed_without_a_vf_of_a_disk(pool: Pool) -> None:
    vm = pool.vm("database")
    pool.assign(vm, pf=DISK)
    pool.start(vm, pool.one)
    assert pool.call("detach_vfs", vm=vm)["warnings"] == []


def test_settings_of_a_vf_of_a_disk_are_refused(pool: Pool, web: str) -> None:
    pool.refused("assign_vf", vm=web, pf=DISK, vlan="12", trust="on").says(
        "SRIOV_BAD_ARGUMENT", "not a network card"
    )


def test_a_macs_key_of_iovirt_for_a_vf_of_a_disk(pool: Pool) -> None:
    """It says more than can be done: with such settings no start of the VM would succeed."""
    old = pool.vm("old", other_config={"pci": f"0/{VF}", "sriovmacs": "0/02:16:3e:00:00:0b"})
    adopted = pool.adopt(old)
    assert [one["settings"] for one in adopted["vfs"]] == [{}]
    (warning,) = adopted["warnings"]
    assert f"{VF} of host1 gets no mac 02:16:3e:00:00:0b" in warning
    pool.start(old, pool.one)
    assert pool.devices(old) == [VF]
