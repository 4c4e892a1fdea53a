"""GPUs whose VFs xapi gives to VMs as vGPUs: an NVIDIA A40 (10de:2235) that its driver has made 4 VFs of, and
a T4 (10de:1eb8) that xapi only gives to VMs as a whole."""

import sys
from typing import Any, Dict, Iterator, List

import pgpus
import pytest
from box import PoolInABox
from box_host import set_vfs
from estate import Estate
from machine_description import Card, Sriov, default_description
from XenAPI import Failure

pytestmark = pytest.mark.story

A40, VF, T4 = "0000:41:00.0", "0000:41:00.4", "0000:61:00.0"
LISTED = (
    '<vgpuconfig><pgpu hostVgpuMode="sriov">\n'
    '  <devId vendorId="0x10de" deviceId="0x2235" subsystemVendorId="0x10de" subsystemId="0x0"></devId>\n'
    "</pgpu></vgpuconfig>\n"
)


def gpu(address: str, device: str, name: str) -> Card:
    vfs = Sriov(total=16, device=device, offset=4, stride=1, driver="nvidia")
    return Card((address,), f"10de:{device}", name, "nvidia", pci_class="030200", sriov=vfs)


def described(number: int) -> Any:
    cards = default_description(number).cards
    cards += (gpu(A40, "2235", "GA102GL [A40]"), gpu(T4, "1eb8", "TU104GL [Tesla T4]"))
    return default_description(number, cards=cards)


@pytest.fixture(scope="module")
def made() -> Iterator[Estate]:
    with PoolInABox([described(1), described(2)], interpreter=sys.executable) as box:
        for host in box.hosts:
            with host.machine.changed() as sysfs:
                sysfs.put(pgpus.NVIDIA, LISTED)
            set_vfs(host, A40, 4)
        estate = Estate(box)
        for host in box.hosts:
            box.xapi.restart_toolstack(host.ref)
        yield estate


@pytest.fixture
def estate(made: Estate) -> Iterator[Estate]:
    yield made
    made.clear()


def pf(estate: Estate, address: str) -> Dict[str, Any]:
    found: Dict[str, Any]
    (found,) = [one for one in estate.box.call(estate.box.hosts[0], "list_pfs") if one["address"] == address]
    return found


def codes(record: Dict[str, Any]) -> List[str]:
    return [problem["code"] for problem in record["problems"]]


def refused(estate: Estate, function: str, **args: str) -> List[str]:
    with pytest.raises(Failure) as failure:
        estate.box.call(estate.box.hosts[0], function, **args)
    return list(failure.value.details)


def test_their_vfs_are_xapis_and_no_advice_takes_them_away(estate: Estate) -> None:
    shown = pf(estate, A40)
    assert (shown["managed_by"], shown["num_vfs"], shown["free_vfs"], codes(shown)) == ("xapi", 4, 0, [])
    vfs = estate.box.call(estate.box.hosts[0], "list_vfs", pf=A40)
    assert {(vf["driver"], vf["state"], vf["assigned_to"]) for vf in vfs} == {("nvidia", "reserved", None)}


def test_their_number_is_not_ours_to_change(estate: Estate) -> None:
    for count in ("0", "4", "8"):
        code, message, _ = refused(estate, "set_vf_count", pf=A40, count=count)
        assert (code, A40 in message) == ("SRIOV_MANAGED_BY_XAPI", True)


def test_none_is_given_to_a_vm(estate: Estate) -> None:
    vm = estate.uuid(estate.vm("a"))
    for choice in ({"pf": A40}, {"vf": VF}, {"device": "10de:2235"}):
        with pytest.raises(Failure) as failure:
            estate.call("assign_vf", vm_uuid=vm, **choice)
        assert failure.value.details[0] == "SRIOV_MANAGED_BY_XAPI"
        assert "vGPUs" in failure.value.details[1]


@pytest.mark.parametrize("address", [VF, A40])
def test_no_start_takes_them_from_xapi(estate: Estate, address: str) -> None:
    first, message, _ = estate.refused(estate.vm("greedy", f"0/{address}"), 1)
    assert first.startswith("SRIOV_NEEDED_BY_DOM0 ")
    assert "xapi's vGPUs" in message
    assert "ENTRY_INVALID" in {one["code"] for one in estate.conflicts()}


def test_a_gpu_that_xapi_gives_to_vms_as_a_whole_is_passed_through_as_ever(estate: Estate) -> None:
    vm = estate.vm("whole", f"0/{T4}")
    assert estate.conflicts() == []
    estate.start(vm, 1)
    estate.box.shut_down(vm, hard=True)
