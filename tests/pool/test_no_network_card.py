"""VFs of a device that is no network card: they are given like others, and have no settings."""

import sys
from typing import Iterator

import pytest
from administrator import Administrator
from box import PoolInABox
from machine_description import Card, Sriov, default_description

pytestmark = pytest.mark.story

DISK = "0000:0a:00.0"


@pytest.fixture
def pool() -> Iterator[Administrator]:
    usual = default_description(1)
    sriov = Sriov(4, "a824", offset=1, stride=1)
    disk = Card((DISK,), "144d:a824", "NVMe", "nvme", pci_class="010802", sriov=sriov)
    with PoolInABox([usual._replace(cards=(*usual.cards, disk))], interpreter=sys.executable) as box:
        box.call(box.hosts[0], "load_pciback")
        box.call(box.hosts[0], "set_vf_count", pf=DISK, count="2")
        yield Administrator(box)


def test_one_without_settings(pool: Administrator) -> None:
    web = pool.vm("web")
    assert pool.call("assign_vf", vm_uuid=web, pf=DISK)["vf"] == "0000:0a:00.1"
    (request,) = pool.listed(web)["requests"]
    assert request["settings"] == {}


def test_one_with_settings_is_refused(pool: Administrator) -> None:
    web = pool.vm("web")
    said = pool.refused("assign_vf", vm_uuid=web, pf=DISK, vlan="12", trust="on")
    assert (said[0], "no network card" in " ".join(said)) == ("SRIOV_BAD_ARGUMENT", True), said
    assert pool.pci(web) is None
