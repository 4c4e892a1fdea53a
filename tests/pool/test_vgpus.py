"""GPUs whose VFs xapi gives to VMs as vGPUs: an NVIDIA A40 (10de:2235) that its driver has made 4 VFs of, and
a T4 (10de:1eb8) that xapi only gives to VMs as a whole."""

from typing import Dict

import pgpus
import pytest
from box_host import set_vfs
from machine_description import Card, Description, Sriov
from managed_pool import Pool, alike

A40, VF, T4 = "0000:41:00.0", "0000:41:00.4", "0000:61:00.0"
LISTED = (
    '<vgpuconfig><pgpu hostVgpuMode="sriov">\n'
    '  <devId vendorId="0x10de" deviceId="0x2235" subsystemVendorId="0x10de" subsystemId="0x0"></devId>\n'
    "</pgpu></vgpuconfig>\n"
)


def gpu(address: str, device: str, name: str) -> Card:
    vfs = Sriov(total=16, device=device, offset=4, stride=1, driver="nvidia")
    return Card((address,), f"10de:{device}", name, "nvidia", pci_class="030200", sriov=vfs)


def with_gpus(number: int) -> Description:
    cards = (gpu(A40, "2235", "GA102GL [A40]"), gpu(T4, "1eb8", "TU104GL [Tesla T4]"))
    return alike(number)._replace(cards=(*alike(number).cards, *cards))


pytestmark = [pytest.mark.story, pytest.mark.pool(describe=with_gpus)]


@pytest.fixture
def pool(pool: Pool) -> Pool:
    for host in pool.hosts:
        with host.machine.changed() as sysfs:
            sysfs.put(pgpus.NVIDIA, LISTED)
        set_vfs(host, A40, 4)
        pool.box.xapi.restart_toolstack(host.ref)
    return pool


def test_vfs_of_a_vgpu_card_are_xapis(pool: Pool) -> None:
    (shown,) = [one for one in pool.call("list_pfs") if one["address"] == A40]
    assert (shown["managed_by"], shown["num_vfs"], shown["free_vfs"], shown["problems"]) == ("xapi", 4, 0, [])
    vfs = pool.vfs(pf=A40)
    assert {(vf["driver"], vf["state"], vf["assigned_to"]) for vf in vfs} == {("nvidia", "reserved", None)}
    for count in ("0", "4", "8"):
        pool.refused("set_vf_count", pf=A40, count=count).says("SRIOV_MANAGED_BY_XAPI", A40)


@pytest.mark.parametrize("choice", [{"pf": A40}, {"vf": VF}, {"device": "10de:2235"}])
def test_no_vf_of_a_vgpu_card_is_given_to_a_vm(pool: Pool, choice: Dict[str, str]) -> None:
    pool.refused("assign_vf", vm=pool.vm("a"), **choice).says("SRIOV_MANAGED_BY_XAPI", "vGPUs")


@pytest.mark.parametrize("address", [VF, A40])
def test_no_start_takes_a_vgpu_card_from_xapi(pool: Pool, address: str) -> None:
    pool.start_refused(pool.vm("greedy", f"0/{address}"), pool.other).says(
        "SRIOV_NEEDED_BY_DOM0", "xapi's vGPUs"
    )
    assert "ENTRY_INVALID" in {one["code"] for one in pool.conflicts()}


def test_a_gpu_that_xapi_gives_out_as_a_whole_is_passed_through(pool: Pool) -> None:
    vm = pool.vm("whole", f"0/{T4}")
    assert pool.conflicts() == []
    pool.start(vm, pool.other)
    pool.shut_down(vm)
