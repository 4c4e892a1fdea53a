"""The steps of a move on one host: a running VM's VFs out of it and into it, as the master has them done."""

import json
from typing import Any, List

import kernel_net
import kernel_xen
import pytest
from faults import ended_at
from hypervisor import XENOPSD
from machine_qemu import Qemu
from managed_pool import Pool
from sriovlib.calls import plug_vfs
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.machine import xenstore
from sriovlib.vf import apply, hotplug, start_notes

pytestmark = [pytest.mark.story, pytest.mark.pool(hosts=1)]

VF, OTHER = "0000:07:10.0", "0000:07:10.2"


@pytest.fixture
def vm(pool: Pool) -> str:
    """It runs with a VF in VLAN 12."""
    vm = pool.with_vf("web", vlan="12")
    pool.start(vm, pool.one)
    return vm


def domid(pool: Pool, vm: str) -> int:
    (number,) = xenstore.domains_of(pool.one.machine, vm) or [0]
    return number


def qemu(pool: Pool, vm: str) -> Qemu:
    qemus = pool.one.machine.qemus
    assert qemus is not None
    return qemus[domid(pool, vm)]


def driven(pool: Pool, vm: str) -> List[str]:
    """The VFs that its guest can drive."""
    number = domid(pool, vm)
    with pool.one.machine.changed() as sysfs:
        return kernel_xen.usable(sysfs, number)


def noted(pool: Pool, vm: str) -> List[str]:
    """As the VM's, of its last start and of what came since; MACs are only on those."""
    note = start_notes.read(pool.one.machine, vm)
    assert note is not None
    assert sorted(note.settings) == sorted(note.devices)
    assert note.requests == dict.fromkeys(note.devices, 1)
    return sorted(note.devices)


def link(pool: Pool, vf: str) -> Any:
    return apply.look(pool.one.machine)[vf].now.link_state


def test_vfs_go_and_come_back(pool: Pool, vm: str) -> None:
    answer = pool.call("unplug_vfs", pool.one, vm=vm, timeout="10")
    assert answer == {
        "vm_uuid": vm,
        "unplugged": [VF],
        "not_unplugged": [],
        "passthrough": True,
        "warnings": [],
    }
    assert (driven(pool, vm), pool.devices(vm), noted(pool, vm)) == ([], [], [])
    assert (pool.settings(pool.one, VF), link(pool, VF)) == ((NO_MAC, 0), "auto")
    assert pool.one.machine.link(f"/sys/bus/pci/devices/{VF}/driver") == "pciback"
    assert pool.call("unplug_vfs", pool.one, vm=vm)["unplugged"] == []
    answer = pool.call("plug_vfs", pool.one, vm=vm)
    assert answer == {"vm_uuid": vm, "plugged": [VF], "already": [], "not_plugged": [], "warnings": []}
    assert (driven(pool, vm), pool.devices(vm), noted(pool, vm)) == ([VF], [VF], [VF])
    assert pool.settings(pool.one, VF) == (pool.mac(vm), 12)
    assert pool.call("plug_vfs", pool.one, vm=vm)["already"] == [VF]
    pool.guest_reboots(vm)
    assert (driven(pool, vm), noted(pool, vm)) == ([VF], [VF])


@pytest.mark.parametrize(("model", "place"), [("qemu-upstream-uefi", "08.0"), ("qemu-upstream-compat", None)])
def test_a_uefi_guest_has_its_vf_where_xenopsd_would_put_it(
    pool: Pool, vm: str, model: str, place: Any
) -> None:
    """ocaml/xenopsd/xc/device.ml: assign_guest of both models."""
    pool.api("VM.set_platform", pool.ref(vm), {"device-model": model})
    pool.call("unplug_vfs", pool.one, vm=vm)
    pool.call("plug_vfs", pool.one, vm=vm)
    assert qemu(pool, vm).places == {VF: place}


@pytest.mark.usefixtures("hurried")
def test_guest_that_keeps_its_vf_goes_on_with_it_and_what_it_lets_go_later_is_finished(
    pool: Pool, vm: str
) -> None:
    qemu(pool, vm).keeps = True
    answer = pool.call("unplug_vfs", pool.one, vm=vm, timeout="2")
    why = "the guest has not let go of it within 2 s"
    assert (answer["unplugged"], answer["not_unplugged"]) == ([], [{"vf": VF, "why": why}])
    assert (driven(pool, vm), noted(pool, vm)) == ([VF], [VF])
    assert (pool.settings(pool.one, VF), link(pool, VF)) == ((pool.mac(vm), 12), "auto")
    assert pool.call("plug_vfs", pool.one, vm=vm)["already"] == [VF]
    qemu(pool, vm).let_go()
    assert pool.call("unplug_vfs", pool.one, vm=vm)["unplugged"] == [VF]
    assert (driven(pool, vm), noted(pool, vm), pool.settings(pool.one, VF)) == ([], [], (NO_MAC, 0))


def test_links_are_down_while_the_guest_is_asked(
    pool: Pool, vm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the driver can do that: a bond in the guest goes on without the VF before it goes."""
    monkeypatch.setitem(kernel_net.POLICIES, "ixgbe", kernel_net.Policy(link_state=True))
    seen: List[Any] = []
    real = hotplug.unplug

    def unplug(*arguments: Any) -> Any:
        seen.append(link(pool, VF))
        return real(*arguments)

    monkeypatch.setattr(hotplug, "unplug", unplug)
    monkeypatch.setattr(plug_vfs, "LINK_SECONDS", 0)
    pool.act("unplug_vfs", vm=vm)
    assert (seen, link(pool, VF)) == (["disable"], "auto")


def test_one_of_two_cannot_come_and_is_as_it_was(pool: Pool, vm: str) -> None:
    pool.shut_down(vm)
    pool.assign(vm, pf="eth1", vlan="13")
    pool.start(vm, pool.one)
    pool.call("unplug_vfs", pool.one, vm=vm)
    number = domid(pool, vm)
    with pool.one.machine.changed() as sysfs:  # something that is no business of ours has the name
        found: Any = kernel_xen.find(sysfs, number)
        found["qemu"]["pci-pt-07_10.2"] = "0001:07:10.2"
    answer = pool.call("plug_vfs", pool.one, vm=vm)
    why = "QEMU refused: Duplicate ID 'pci-pt-07_10.2' for device"
    assert (answer["plugged"], answer["not_plugged"]) == ([VF], [{"vf": OTHER, "why": why}])
    assert (driven(pool, vm), pool.devices(vm), noted(pool, vm)) == ([VF], [VF], [VF])
    assert pool.settings(pool.one, OTHER) == (NO_MAC, 0)


def test_vf_that_another_vm_runs_with_stays_there(pool: Pool, vm: str) -> None:
    pool.call("unplug_vfs", pool.one, vm=vm)
    thief = pool.vm("thief")
    number = pool.one.machine.start_domain(thief, "thief", [VF])
    answer = pool.call("plug_vfs", pool.one, vm=vm)
    assert answer["not_plugged"] == [{"vf": VF, "why": f"{VF} is held by the running VM thief."}]
    with pool.one.machine.changed() as sysfs:
        assert kernel_xen.usable(sysfs, number) == [VF]
    assert (driven(pool, vm), noted(pool, vm)) == ([], [])


def test_vf_that_dom0_drives_stays_there(pool: Pool, vm: str) -> None:
    pool.call("unplug_vfs", pool.one, vm=vm)
    device, drivers = f"/sys/bus/pci/devices/{VF}", "/sys/bus/pci/drivers"
    pool.one.machine.write_attribute(f"{drivers}/pciback/unbind", VF)
    pool.one.machine.write_attribute(f"{drivers}/pciback/remove_slot", VF)
    pool.one.machine.write_attribute(f"{device}/driver_override", "\n")
    pool.one.machine.run(["modprobe", "ixgbevf"])
    driver = pool.one.machine.link(f"{device}/driver")
    assert driver is not None
    answer = pool.call("plug_vfs", pool.one, vm=vm)
    assert answer["not_plugged"] == [{"vf": VF, "why": f"{VF} is held by dom0's driver {driver}."}]
    assert pool.one.machine.link(f"{device}/driver") == driver


# -- refused -------------------------------------------------------------------------------------------


def test_vm_that_does_not_run_here_or_is_paused_or_no_hvm_guest(pool: Pool, vm: str) -> None:
    halted = pool.with_vf("halted")
    for function in ("unplug_vfs", "plug_vfs", "keep_passthrough"):
        pool.refused(function, pool.one, vm=halted).says("SRIOV_VM_NOT_HERE", "xapi says Halted")
    number = str(domid(pool, vm))
    with pool.one.machine.changed() as sysfs:
        sysfs.state["domains"][number]["paused"] = True
    for function in ("unplug_vfs", "plug_vfs", "keep_passthrough"):
        pool.refused(function, pool.one, vm=vm).says("SRIOV_BUSY", "web", "is paused")
    with pool.one.machine.changed() as sysfs:
        sysfs.state["domains"][number].update(paused=False, kind="pv")
    pool.refused("unplug_vfs", pool.one, vm=vm).says("SRIOV_NOT_HVM", "type pv")
    assert driven(pool, vm) == [VF]


@pytest.mark.parametrize("timeout", ["601", "-1", "soon"])
def test_timeout_that_is_none(pool: Pool, vm: str, timeout: str) -> None:
    pool.refused("unplug_vfs", pool.one, vm=vm, timeout=timeout).says("SRIOV_BAD_ARGUMENT", "timeout")


def test_nobody_tells(pool: Pool, vm: str) -> None:
    assert pool.one.machine.qemus is not None
    pool.one.machine.qemus.stop(domid(pool, vm))
    for function in ("unplug_vfs", "plug_vfs"):
        pool.refused(function, pool.one, vm=vm).says("SRIOV_XEN_SILENT", "no QEMU that answers")
    assert pool.devices(vm) == [VF]


# -- killed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "undo"), [("unplug_vfs", "plug_vfs"), ("plug_vfs", "unplug_vfs")])
def test_a_call_that_was_killed_is_finished_by_the_next_and_can_be_undone(
    pool: Pool, vm: str, function: str, undo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut at steps that change a file, all over the call; those of Xen and QEMU: unit/test_hotplug.py."""
    monkeypatch.setattr(hotplug, "PAUSE", 0.01)
    if function == "plug_vfs":
        pool.act("unplug_vfs", vm=vm)
    for number in range(1, 500, 23):
        came_so_far = ended_at(number, lambda: pool.act(function, vm=vm))
        for next_one in (undo, function):
            pool.act(next_one, vm=vm)
            has = [VF] if next_one == "plug_vfs" else []
            assert (driven(pool, vm), pool.devices(vm), noted(pool, vm)) == (has, has, has)
            mac = pool.mac(vm) if has else NO_MAC
            assert pool.settings(pool.one, VF)[0] == mac
            assert link(pool, VF) == "auto"
        pool.act(undo, vm=vm)
        if not came_so_far:
            return
    raise AssertionError("it has no end")


# -- what a move makes of it ---------------------------------------------------------------------------


def takes_devices(pool: Pool, vm: str) -> bool:
    """Whether a domain that xenopsd makes of the VM now takes devices."""
    config = pool.one.machine.read(f"{XENOPSD}/VM/{vm}/config")
    return bool(json.loads(config)["ty"][1]["pci_passthrough"])


@pytest.mark.usefixtures("hurried")
def test_domain_of_a_vm_whose_entries_are_gone_goes_on_taking_devices(pool: Pool, vm: str) -> None:
    pool.call("unplug_vfs", pool.one, vm=vm)
    pool.refused("keep_passthrough", pool.one, vm=vm).says("SRIOV_BUSY", "xenopsd still has 1 PCI device")
    pool.set_pci(vm, None)
    pool.box.let_xenopsd_know(pool.ref(vm))
    assert not takes_devices(pool, vm)
    for _ in range(2):
        assert pool.call("keep_passthrough", pool.one, vm=vm) == {"vm_uuid": vm, "passthrough": True}
        assert takes_devices(pool, vm)
    pool.guest_reboots(vm)
    assert (pool.power_state(vm), driven(pool, vm)) == ("Running", [])
    assert pool.call("plug_vfs", pool.one, vm=vm)["plugged"] == [VF]
    assert driven(pool, vm) == [VF]


def test_xapi_that_is_late_to_tell_is_waited_for(pool: Pool, vm: str) -> None:
    pool.call("unplug_vfs", pool.one, vm=vm)
    pool.set_pci(vm, None)
    assert pool.call("keep_passthrough", pool.one, vm=vm)["passthrough"] is True
    assert takes_devices(pool, vm)
