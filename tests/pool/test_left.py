"""A guest that shuts itself down runs no hook (vm_guest.py), so its MAC stays behind; not for long."""

import os
import sys
from typing import Any, Iterator

import pytest
import XenAPI
from box import PoolInABox
from box_host import PLUGIN, set_plugin
from estate import Estate, alike
from machine import Done, Machine
from sriovlib.calls import list_assignments
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.pool import master
from sriovlib.vf import restore
from values import Failure

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
    answer = estate.box.call(estate.box.hosts[0], "release_vfs", vm_uuid=estate.uuid(vm))
    not_released = [{"vf": VF, "why": "the VM runs here"}]
    assert answer == {"vm_uuid": estate.uuid(vm), "released": [], "not_released": not_released}
    assert estate.settings(0, VF)[0] == estate.mac(vm)


@pytest.mark.parametrize("what", ["start", "reboot"])
def test_what_a_later_hook_refuses_is_set_back_at_the_next_start_there(estate: Estate, what: str) -> None:
    """xenopsd runs no hook after a refusal."""
    vm, other = estate.with_vf("web", vlan="12"), estate.with_vf("other")
    if what == "reboot":
        estate.start(vm, 0)
    script = estate.box.put_hook(estate.box.hosts[0], "vm-pre-start", "#!/bin/sh\nexit 2\n", "60-later")
    with pytest.raises(Failure):
        estate.box.reboot_from_inside(vm) if what == "reboot" else estate.start(vm, 0)
    os.unlink(script)
    assert (estate.box.power_state(vm), estate.settings(0, VF)) == ("Halted", (estate.mac(vm), 12))
    estate.start(other, 0)
    assert estate.settings(0, VF) == (NO_MAC, 0)
    estate.start(vm, 0)
    assert estate.settings(0, VF) == (estate.mac(vm), 12)


def left(estate: Estate) -> str:
    """A VM shut itself down on a host whose plugin did not answer as it started on another."""
    vm, silent = estate.with_vf("web", on=1, vlan="12"), estate.box.hosts[1]
    estate.start(vm, 1)
    estate.box.shut_down_from_inside(vm)
    set_plugin(silent, None)
    estate.start(vm, 0)
    set_plugin(silent, PLUGIN)
    assert estate.settings(1, VF) == (estate.mac(vm), 12)
    return vm


def test_a_mac_that_stayed_is_named_and_goes_as_the_hint_says(estate: Estate) -> None:
    vm, silent = left(estate), estate.box.hosts[1]
    (conflict,) = estate.conflicts()
    assert (conflict["code"], conflict["host_uuid"], conflict["address"]) == (
        "VF_NOT_RELEASED",
        silent.uuid,
        VF,
    )
    assert estate.mac(vm) in conflict["message"]
    assert f"`release_vfs` with vm_uuid={estate.uuid(vm)} and vfs={VF} on {silent.name}" in conflict["hint"]
    assert estate.box.call(silent, "release_vfs", vm_uuid=estate.uuid(vm), vfs=VF)["released"] == [VF]
    assert (estate.settings(1, VF), estate.conflicts()) == ((NO_MAC, 0), [])
    assert estate.settings(0, VF) == (estate.mac(vm), 12)


def test_where_the_mac_is_configured_the_vf_is_configured_anew(estate: Estate) -> None:
    vm = estate.with_vf("web")
    estate.box.call(estate.box.hosts[1], "configure_vf", vf=VF, mac=estate.mac(vm))
    (conflict,) = estate.conflicts()
    assert (conflict["code"], conflict["address"]) == ("VF_NOT_RELEASED", VF)
    assert f"`configure_vf` with vf={VF} and mac=default" in conflict["hint"]
    estate.box.call(estate.box.hosts[1], "configure_vf", vf=VF, mac="default")
    assert (estate.settings(1, VF)[0], estate.conflicts()) == (NO_MAC, [])


@pytest.mark.parametrize("goes", ["away", "elsewhere"])
def test_a_vf_that_was_set_by_hand_and_adopted_is_set_back(estate: Estate, goes: str) -> None:
    """No start of the VM is noted there, so only the pool's master knows what it had."""
    host = estate.box.hosts[0]
    by_hand = ["ip", "link", "set", "dev", "eth1", "vf", "0", "mac", "00:16:3e:00:00:0a", "vlan", "42"]
    assert host.machine.run(by_hand).status == 0
    vm = estate.vm("old", f"0/{VF}", affinity=host.ref)
    estate.call("adopt_vm", vm_uuid=estate.uuid(vm))
    assert estate.mac(vm) == "00:16:3e:00:00:0a"
    if goes == "away":
        estate.call("unassign_vf", vm_uuid=estate.uuid(vm), all="true")
    else:
        estate.call("reinstate_vfs", vm_uuid=estate.uuid(vm), host_uuid=estate.box.hosts[1].uuid)
    assert (estate.settings(0, VF), estate.conflicts()) == ((NO_MAC, 0), [])


def test_addresses_of_a_release_are_looked_at(estate: Estate) -> None:
    """What runs, or is being started with a VF, keeps it whoever is told to have had it."""
    vm, other = estate.with_vf("web"), estate.with_vf("other")
    estate.start(vm, 0)
    answer = estate.box.call(estate.box.hosts[0], "release_vfs", vm_uuid=estate.uuid(other), vfs=VF)
    assert (answer["released"], estate.settings(0, VF)[0]) == ([], estate.mac(vm))
    assert answer["not_released"] == [{"vf": VF, "why": "a running VM has it"}]
    with pytest.raises(XenAPI.Failure) as failure:
        estate.box.call(estate.box.hosts[0], "release_vfs", vm_uuid=estate.uuid(other), vfs="07:10")
    assert failure.value.details[0] == "SRIOV_BAD_ARGUMENT"


def test_a_running_vm_whose_vf_has_lost_its_vlan_is_named(estate: Estate) -> None:
    """The driver of its PF was loaded anew."""
    vm, host = estate.with_vf("web", vlan="12"), estate.box.hosts[0]
    estate.start(vm, 0)
    assert estate.conflicts() == []
    host.machine.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "vlan", "0"])
    (conflict,) = estate.conflicts()
    assert (conflict["code"], conflict["vm_uuids"]) == ("VF_UNLIKE_REQUEST", [estate.uuid(vm)])
    assert (conflict["host_uuid"], conflict["address"]) == (host.uuid, VF)
    assert "has vlan 0, not 12: probably the driver of its PF was reloaded" in conflict["message"]
    restore.restore(host.machine)
    assert (estate.conflicts(), estate.settings(0, VF)) == ([], (estate.mac(vm), 12))


def test_so_is_one_whose_vf_the_driver_does_not_know_any_more(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As igb: `ip` says that it does not show all VFs."""
    vm, real = estate.with_vf("web", vlan="12"), Machine.start
    estate.start(vm, 0)

    def forgetful(self: Machine, argv: Any, input_text: Any = None) -> Any:
        done = real(self, argv, input_text).finish()
        if argv[:4] == ("ip", "-details", "link", "show"):
            lines = [line for line in done.stdout.splitlines(True) if not line.startswith("    vf ")]
            done = done._replace(stdout="".join(lines), stderr="Truncated VF list: eth1\n")
        return Done(done)

    monkeypatch.setattr(Machine, "start", forgetful)
    with estate.box.session() as session:
        here = estate.box.master.machine
        told = master.act(here, session, "list_assignments", {}, list_assignments.list_assignments)
    (conflict,) = told["conflicts"]
    assert (conflict["code"], conflict["vm_uuids"]) == ("VF_UNLIKE_REQUEST", [estate.uuid(vm)])
    assert "has settings that `ip` does not tell: probably" in conflict["message"]
    assert "shut the VM down and reboot the host" in conflict["hint"]
