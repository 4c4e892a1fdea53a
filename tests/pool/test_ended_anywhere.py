"""Calls that end at any of their steps, as by kill -9 or a power cut, and what completes them."""

import itertools
import json
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List

import machine
import pytest
import small_pool
from faults import ended_at
from machine import Machine
from small_pool import SmallPool
from sriovlib.calls import table
from sriovlib.config import sriov_conf
from sriovlib.vf import create, pciback, restore

pytestmark = pytest.mark.story

CONF, GRUB = "/boot/extlinux.conf", "/boot/grub/grub.cfg"
ETH1 = "0000:07:00.0"


@pytest.fixture(params=["grub", "extlinux"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    """A host whose Xen was told to leave the IOMMU off."""
    options = "dom0_mem=752M iommu=0 watchdog"
    return machine.default_host(str(tmp_path), bootloader=request.param, xen_options=options)


def call(host: Machine, function: str, **args: str) -> Dict[str, Any]:
    with small_pool.answering():
        answer: Dict[str, Any] = json.loads(table.call(host, function, SmallPool(), args))
    return answer


def ends(every: int, host: Machine, function: str, **args: str) -> Iterator[None]:
    """The call is ended at its first step, then so many later, until it comes through; each time the
    caller of this looks at what is there, and puts it back."""
    for number in itertools.count(1, every):
        cut = ended_at(number, partial(call, host, function, **args))
        yield
        if not cut:
            assert number > 20  # it did cut at many places before it came through
            return


def test_enable_iommu_that_is_ended_anywhere_is_completed_by_the_next_call(host: Machine) -> None:
    path = CONF if host.exists(CONF) else GRUB
    before = host.read_bytes(path)
    for _ in ends(3, host, "enable_iommu"):
        assert host.read_bytes(path).count(b"\n") >= before.count(b"\n")
        assert call(host, "enable_iommu")["configured"] == "on"
        assert call(host, "enable_iommu")["changed"] is False
        assert call(host, "disable_iommu")["xen_option_after"] == "iommu=0"
        if path == CONF:
            assert host.read_bytes(CONF) == before
        host.replace_file(path, before)
        host.remove_file(sriov_conf.PATH)
        host.remove_file(CONF + ".before-sriov")


def test_disable_iommu_that_is_ended_anywhere_is_completed_by_the_next_call(host: Machine) -> None:
    call(host, "enable_iommu")
    for _ in ends(3, host, "disable_iommu"):
        call(host, "disable_iommu")
        assert call(host, "status")["iommu"]["xen_option"] == "iommu=0"
        assert not sriov_conf.read(host).document.sections
        call(host, "enable_iommu")


def test_set_vf_count_that_is_ended_anywhere_is_completed_by_a_boot(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), blacklist=())
    call(host, "set_vf_count", pf="eth1", count="2")
    for _ in ends(11, host, "set_vf_count", pf="eth1", count="4"):
        host.reboot()
        assert [result.error for result in restore.restore(host)] == [None, None]
        wanted = sriov_conf.read(host).pfs[ETH1].vfs
        vfs: List[str] = list(create.present(host, ETH1))
        assert wanted == len(vfs)
        assert wanted in (2, 4)
        assert {host.link(f"/sys/bus/pci/devices/{vf}/driver") for vf in vfs} == {"pciback"}
        assert pciback.slots(host) == set(vfs)
        call(host, "set_vf_count", pf="eth1", count="2")
