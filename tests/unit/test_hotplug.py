"""One VF out of a running domain and into one: what Xen, QEMU and xenstore then say, and what is left where a
step fails."""

import errno
import os
from pathlib import Path
from typing import Any, Iterator, List

import kernel_xen
import machine
import machine_qemu
import pytest
from machine import LOG, Machine
from machine_qemu import Qemu, Qemus
from sriovlib.machine import qmp, xenstore
from sriovlib.machine.xen_control import XenControl
from sriovlib.vf import hotplug

PF, VF0, VF1, VF2 = "0000:07:00.0", "0000:07:10.0", "0000:07:10.2", "0000:07:10.4"
WEB, MAIL = "11111111-2222-4333-8444-555555555555", "66666666-2222-4333-8444-555555555555"
GONE = 99


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Machine]:
    """A VM runs with two VFs; a third is with pciback."""
    made = machine.default_host(str(tmp_path))
    made.write_attribute(f"/sys/bus/pci/devices/{PF}/sriov_numvfs", "4")
    with machine_qemu.of(made):
        made.start_domain(WEB, "web", [VF0, VF1])
        yield made


def qemu(host: Machine) -> Qemu:
    qemus: Any = host.qemus
    assert isinstance(qemus, Qemus)
    return qemus[1]


def has(host: Machine, domid: int = 1) -> List[List[str]]:
    """What the domain has, by Xen, by QEMU, by xenstore, and what its guest can drive."""
    with host.changed() as sysfs:
        domain = kernel_xen.find(sysfs, domid) or {}
        by_qemu = sorted(domain.get("qemu", {}).values())
        usable = sorted(kernel_xen.usable(sysfs, domid))
        by_xen = sorted(domain.get("assigned", []))
    return [by_xen, by_qemu, sorted(xenstore.plugged(host, domid) or {}), usable]


def unplug(host: Machine, *addresses: str, seconds: float = 60, domid: int = 1) -> "dict[str, str]":
    with host.xen_control() as control:
        return hotplug.unplug(host, control, domid, addresses, seconds)


def plug(host: Machine, address: str, domid: int = 1) -> bool:
    with host.xen_control() as control:
        return hotplug.plug(host, control, domid, address)


def refusal(host: Machine, address: str, domid: int = 1) -> str:
    with pytest.raises(hotplug.NotDone) as error:
        plug(host, address, domid)
    return str(error.value)


# -- out and in --------------------------------------------------------------------------------------


def test_a_vf_goes_and_the_other_one_stays(host: Machine) -> None:
    assert unplug(host, VF0) == {}
    assert has(host) == [[VF1]] * 4
    with host.changed() as sysfs:
        assert sysfs.state["resets"] == [VF0]  # while the domain had it
    assert unplug(host, VF0) == {}


def test_vf_that_comes_can_be_driven_and_has_the_next_number(host: Machine) -> None:
    assert unplug(host, VF0) == {}
    assert plug(host, VF2) is True
    assert has(host) == [[VF1, VF2]] * 4
    assert xenstore.plugged(host, 1) == {VF1: [1], VF2: [2]}
    assert plug(host, VF2) is False
    assert has(host) == [[VF1, VF2]] * 4


def test_guest_that_takes_its_time(host: Machine) -> None:
    qemu(host).looks = 3
    assert unplug(host, VF0, VF1, seconds=30) == {}
    assert has(host) == [[], [], [], []]


@pytest.mark.parametrize("version", [(4, 2), (7, 2)])
def test_guest_that_keeps_a_vf_has_it_and_what_it_lets_go_later_is_finished_then(
    host: Machine, version: "tuple[int, int]"
) -> None:
    qemu(host).keeps, qemu(host).version = True, version
    assert unplug(host, VF0, seconds=0.2) == {VF0: "the guest has not let go of it within 0.2 s"}
    assert has(host) == [[VF0, VF1]] * 4
    assert list(unplug(host, VF0, seconds=0.2)) == [VF0]  # asked again, which QEMU 7.2 refuses
    qemu(host).let_go()
    assert has(host) == [[VF0, VF1], [VF1], [VF0, VF1], [VF1]]
    assert unplug(host, VF0) == {}
    assert has(host) == [[VF1]] * 4


def test_qemu_is_held_for_no_longer_than_it_answers(host: Machine) -> None:
    """xenopsd's own commands come by the same socket, and wait for ever."""
    qemu(host).looks = 5
    assert unplug(host, VF0) == {}
    assert qemu(host).commands.count("qmp_capabilities") > 2


def test_with_debug_on_the_log_has_each_step(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_debug", True)
    assert unplug(host, VF0) == {}
    log = host.read(LOG)
    for words in ('QMP device_del {"id": "pci-pt-07_10.0"}', "xc_deassign_device 0x1 0x780"):
        assert words in log


# -- what does not answer ----------------------------------------------------------------------------


def test_where_qemu_hangs_nothing_is_taken(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = qmp.connected.__wrapped__  # type: ignore[attr-defined] # as contextmanager leaves it
    monkeypatch.setattr(real, "__defaults__", (0.3,))
    qemu(host).hangs = True
    assert "did not answer" in unplug(host, VF0)[VF0]
    assert "did not answer" in refusal(host, VF2)
    assert has(host) == [[VF0, VF1]] * 4


def test_domain_without_qemu(host: Machine) -> None:
    assert unplug(host, VF0, domid=GONE) == {VF0: "domain 99 has no QEMU that answers"}
    assert refusal(host, VF2, domid=GONE) == "domain 99 has no QEMU that answers"
    assert host.qemus is not None
    host.qemus.stop(1)
    assert list(unplug(host, VF0)) == [VF0]
    assert has(host) == [[VF0, VF1]] * 4


def test_answer_that_got_lost_is_looked_for(host: Machine) -> None:
    """QEMU took the device and never said so: it is taken back."""
    qemu(host).hangs_up_at = ("device_add",)
    assert "QEMU hung up" in refusal(host, VF2)
    assert has(host) == [[VF0, VF1]] * 4


# -- what is refused ---------------------------------------------------------------------------------


def test_vf_of_another_domain_stays_there(host: Machine) -> None:
    host.start_domain(MAIL, "mail", [VF2])
    assert refusal(host, VF2) == "Xen has assigned it to another domain, or does not know it"
    assert has(host) == [[VF0, VF1]] * 4
    assert has(host, 2) == [[VF2]] * 4


def test_domain_that_takes_no_devices(host: Machine) -> None:
    host.start_domain(MAIL, "mail", passthrough=False)
    with host.xen_control() as control:
        assert hotplug.takes_devices(control, 1, VF2)
        assert not hotplug.takes_devices(control, 2, VF2)
    assert "takes no device" in refusal(host, VF2, 2)
    assert has(host, 2) == [[], [], [], []]


def test_device_that_qemu_refuses_is_taken_back(host: Machine) -> None:
    with host.changed() as sysfs:
        kernel_xen.find(sysfs, 1)["qemu"]["pci-pt-07_10.4"] = "0001:07:10.4"  # type: ignore[index] # it is there
    assert refusal(host, VF2) == "QEMU refused: Duplicate ID 'pci-pt-07_10.4' for device"
    assert not [listed for listed in has(host) if VF2 in listed]


def test_xen_that_does_not_let_go_is_told(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(sysfs: Any, function: str, numbers: Any, call: Any = kernel_xen.call) -> None:
        if function == "xc_deassign_device":
            raise OSError(errno.EBUSY, "Device or resource busy", function)
        call(sysfs, function, numbers)

    monkeypatch.setattr(kernel_xen, "call", stuck)
    assert unplug(host, VF0) == {VF0: "xc_deassign_device: Device or resource busy"}
    assert VF0 in (xenstore.plugged(host, 1) or {})  # so it counts as the domain's
    monkeypatch.undo()
    assert unplug(host, VF0) == {}


def test_vf_that_is_gone_from_the_host_leaves_the_domain(host: Machine) -> None:
    os.unlink(host.path(f"/sys/bus/pci/devices/{VF0}"))
    assert unplug(host, VF0) == {}
    assert [has(host)[1], has(host)[2]] == [[VF1], [VF1]]
    assert refusal(host, VF0) == "this host has no such device"
    assert [has(host)[1], has(host)[2]] == [[VF1], [VF1]]


# -- cut off in the middle ---------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


def steps(monkeypatch: pytest.MonkeyPatch, last: int) -> "list[str]":
    """Ends the work at that change of Xen, QEMU or xenstore: before it, and with the next number after it."""
    done: List[str] = []

    def counted(name: str, original: Any) -> Any:
        def one(*arguments: Any) -> Any:
            if len(done) == last:
                raise Killed
            done.append(name)
            return original(*arguments)

        return one

    for function in ("assign", "deassign", "allow", "quarantine"):
        original = getattr(XenControl, function)
        monkeypatch.setattr(XenControl, function, counted(function, original))
    for module, function in ((qmp, "add"), (qmp, "ask_for"), (xenstore, "_change")):
        monkeypatch.setattr(module, function, counted(function, getattr(module, function)))
    return done


def killed_everywhere(monkeypatch: pytest.MonkeyPatch, act: Any) -> Iterator[int]:
    """Does it, killed at each step in turn, until it comes to its end."""
    for last in range(50):
        with monkeypatch.context() as patched:
            done = steps(patched, last)
            try:
                act()
            except Killed:
                assert len(done) == last
            else:
                assert last > 3
                return
        yield last
    raise AssertionError("it has no end")


def known_to_xenstore(host: Machine) -> bool:
    by_xen, by_qemu, noted, _ = has(host)
    return set(by_xen + by_qemu).issubset(noted)


def test_plug_that_was_killed_anywhere_is_finished_by_the_next(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in killed_everywhere(monkeypatch, lambda: plug(host, VF2)):
        assert known_to_xenstore(host)
        plug(host, VF2)
        assert has(host) == [[VF0, VF1, VF2]] * 4
        assert unplug(host, VF2) == {}


def test_plug_that_was_killed_anywhere_is_taken_back_by_an_unplug(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in killed_everywhere(monkeypatch, lambda: plug(host, VF2)):
        assert unplug(host, *hotplug.present(host, 1, [VF2])) == {}
        assert has(host) == [[VF0, VF1]] * 4


def test_unplug_that_was_killed_anywhere_is_finished_by_the_next(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in killed_everywhere(monkeypatch, lambda: unplug(host, VF0)):
        assert known_to_xenstore(host)
        assert unplug(host, *hotplug.present(host, 1, [VF0])) == {}
        assert has(host) == [[VF1]] * 4
        assert plug(host, VF0) is True
