"""A guest that shuts itself down runs no hook (vm_guest.py), so its MAC stays behind; not for long."""

import sys
from typing import Iterator

import pytest
from box import PoolInABox
from estate import Estate, alike
from sriovlib.vfsettings import NO_MAC

pytestmark = pytest.mark.story

VF = "0000:07:10.0"


@pytest.fixture
def estate() -> Iterator[Estate]:
    with PoolInABox([alike(1), alike(2)], interpreter=sys.executable) as box:
        yield Estate(box)


def test_its_mac_goes_when_it_starts_elsewhere(estate: Estate) -> None:
    vm = estate.with_vf("web", vlan="12")
    estate.start(vm, 0)
    estate.box.shut_down_from_inside(vm)
    assert estate.settings(0, VF) == (estate.mac(vm), 12)
    estate.start(vm, 1)
    assert estate.settings(0, VF) == (NO_MAC, 0)
    assert estate.settings(1, VF) == (estate.mac(vm), 12)


def test_its_mac_goes_with_the_request(estate: Estate) -> None:
    vm = estate.with_vf("web")
    estate.start(vm, 0)
    estate.box.shut_down_from_inside(vm)
    estate.call("unassign_vf", vm_uuid=estate.uuid(vm), all="true")
    assert estate.settings(0, VF) == (NO_MAC, 0)


def test_a_running_vm_keeps_what_it_has(estate: Estate) -> None:
    vm = estate.with_vf("web")
    estate.start(vm, 0)
    answer = estate.call("release_vfs", vm_uuid=estate.uuid(vm))
    assert answer == {"vm_uuid": estate.uuid(vm), "released": []}
    assert estate.settings(0, VF)[0] == estate.mac(vm)
