"""A guest that shuts itself down runs no hook (vm_guest.py), so its MAC stays behind; not for long."""

from typing import Any

import pytest
from box_host import PLUGIN, set_plugin
from machine import Machine
from managed_pool import Pool
from one_host import not_told
from refusals import is_conflict
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.vf import restore
from values import Failure

pytestmark = pytest.mark.story

VF = "0000:07:10.0"


def test_the_mac_of_a_guest_that_shut_itself_down_goes_when_it_starts_elsewhere(pool: Pool) -> None:
    vm = pool.with_vf("web", vlan="12")
    pool.start(vm, pool.one)
    pool.guest_shuts_down(vm)
    assert pool.settings(pool.one, VF) == (pool.mac(vm), 12)
    pool.start(vm, pool.other)
    assert pool.settings(pool.one, VF) == (NO_MAC, 0)
    assert pool.settings(pool.other, VF) == (pool.mac(vm), 12)


@pytest.mark.parametrize("what", ["start", "reboot"])
def test_settings_of_a_start_that_a_later_hook_refused_are_set_back(pool: Pool, what: str) -> None:
    """xenopsd runs no hook after a refusal."""
    vm, other = pool.with_vf("web", vlan="12"), pool.with_vf("other")
    if what == "reboot":
        pool.start(vm, pool.one)
    with pool.hook(pool.one, "#!/bin/sh\nexit 2\n"), pytest.raises(Failure):
        pool.guest_reboots(vm) if what == "reboot" else pool.start(vm, pool.one)
    assert (pool.power_state(vm), pool.settings(pool.one, VF)) == ("Halted", (pool.mac(vm), 12))
    pool.start(other, pool.one)
    assert pool.settings(pool.one, VF) == (NO_MAC, 0)
    pool.start(vm, pool.one)
    assert pool.settings(pool.one, VF) == (pool.mac(vm), 12)


def test_a_mac_that_stayed_is_named_and_goes_as_the_hint_says(pool: Pool) -> None:
    """The host's plugin did not answer as the VM started on another."""
    vm, silent = pool.with_vf("web", on=pool.other, vlan="12"), pool.other
    pool.start(vm, silent)
    pool.guest_shuts_down(vm)
    set_plugin(silent, None)
    pool.start(vm, pool.one)
    set_plugin(silent, PLUGIN)
    assert pool.settings(silent, VF) == (pool.mac(vm), 12)
    advice = f"`release_vfs` with vm_uuid={vm} and vfs={VF} on {silent.name}"
    pool.conflict("VF_NOT_RELEASED", pool.mac(vm), advice, host=silent, address=VF)
    assert pool.call("release_vfs", silent, vm_uuid=vm, vfs=VF)["released"] == [VF]
    assert (pool.settings(pool.other, VF), pool.conflicts()) == ((NO_MAC, 0), [])
    assert pool.settings(pool.one, VF) == (pool.mac(vm), 12)


def test_a_configured_mac_that_is_a_vms_is_named(pool: Pool) -> None:
    vm = pool.with_vf("web")
    pool.call("configure_vf", pool.other, vf=VF, mac=pool.mac(vm))
    pool.conflict("VF_NOT_RELEASED", f"`configure_vf` with vf={VF} and mac=default", address=VF)
    pool.call("configure_vf", pool.other, vf=VF, mac="default")
    assert (pool.settings(pool.other, VF)[0], pool.conflicts()) == (NO_MAC, [])


@pytest.mark.parametrize("goes", ["away", "elsewhere"])
def test_a_vf_that_was_set_by_hand_and_adopted_is_set_back(pool: Pool, goes: str) -> None:
    """No start of the VM is noted there, so only the pool's master knows what it had."""
    host = pool.one
    by_hand = ["ip", "link", "set", "dev", "eth1", "vf", "0", "mac", "00:16:3e:00:00:0a", "vlan", "42"]
    assert host.machine.run(by_hand).status == 0
    vm = pool.vm("old", f"0/{VF}", affinity=host.ref)
    pool.adopt(vm)
    assert pool.mac(vm) == "00:16:3e:00:00:0a"
    if goes == "away":
        pool.unassign(vm)
    else:
        pool.reinstate(vm, on=pool.other)
    assert (pool.settings(pool.one, VF), pool.conflicts()) == ((NO_MAC, 0), [])


def test_release_vfs_leaves_a_running_vm_alone(pool: Pool) -> None:
    """It keeps its VF whoever is told to have had it."""
    vm, other = pool.with_vf("web"), pool.with_vf("other")
    pool.start(vm, pool.one)
    for args, why in (
        ({"vm": vm}, "the VM runs here"),
        ({"vm": other, "vfs": VF}, "a running VM has it"),
    ):
        answer = pool.call("release_vfs", pool.one, **args)
        assert (answer["released"], answer["not_released"]) == ([], [{"vf": VF, "why": why}])
    assert pool.settings(pool.one, VF)[0] == pool.mac(vm)
    pool.refused("release_vfs", pool.one, vm=other, vfs="07:10").says("SRIOV_BAD_ARGUMENT")


def test_a_running_vm_whose_vf_has_lost_its_vlan_is_named(pool: Pool) -> None:
    """The driver of its PF was loaded anew."""
    vm, host = pool.with_vf("web", vlan="12"), pool.one
    pool.start(vm, pool.one)
    assert pool.conflicts() == []
    host.machine.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "vlan", "0"])
    pool.conflict("VF_UNLIKE_REQUEST", "vlan 0", "12", vms=[vm], host=host, address=VF)
    restore.restore(host.machine)
    assert (pool.conflicts(), pool.settings(pool.one, VF)) == ([], (pool.mac(vm), 12))


def test_a_running_vm_whose_vf_the_driver_has_forgotten_is_named(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As igb: the kernel does not tell of all VFs."""
    vm, real = pool.with_vf("web", vlan="12"), Machine.netlink
    pool.start(vm, pool.one)

    def forgetful(self: Machine, request: bytes) -> Any:
        return not_told(real(self, request), request, "eth1")

    monkeypatch.setattr(Machine, "netlink", forgetful)
    (conflict,) = pool.act("list_assignments")["conflicts"]
    is_conflict(
        conflict,
        "VF_UNLIKE_REQUEST",
        "kernel does not tell",
        "shut the VM down and reboot the host",
        vms=[vm],
    )
