"""A VM's settings arrive on its VFs, all or none, and leave them with it."""

from pathlib import Path
from typing import Any, Collection, Dict, List

import machine
import pytest
from machine import Machine
from machine_description import Card, Sriov, default_description
from one_host import answering, card_takes, counting
from sriovlib.config import sriov_conf
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.errors import SriovError
from sriovlib.machine.command import TIMED_OUT
from sriovlib.starts import handover
from sriovlib.starts.handover import Permitted
from sriovlib.vf import apply, ip_link, kernel_settings, start_notes

ETH1, ETH2 = "0000:07:00.0", "0000:07:00.1"
VF0, VF1 = "0000:07:10.0", "0000:07:10.2"  # of eth1
OTHER = "0000:07:10.1"  # of eth2
MAC = "82:00:00:00:00:01"
WEB = "11111111-2222-4333-8444-555555555555"
FRESH = (NO_MAC, 0, 0, True, False)


@pytest.fixture
def host(tmp_path: Path) -> Machine:
    """A host with two VFs on each port; VF 1 of eth1 has settings in /etc/sriov.conf."""
    made = machine.default_host(str(tmp_path))
    for port in (ETH1, ETH2):
        made.write_attribute(f"/sys/bus/pci/devices/{port}/sriov_numvfs", "2")
    text = f"[pf {ETH1}]\nvfs = 2\n[vf {ETH1} 1]\nmac = 02:00:00:00:00:99\nvlan = 7\ntrust = on\n"
    made.replace_file(sriov_conf.PATH, text.encode())
    return made


def settings(host: Machine, address: str) -> Any:
    now = apply.look(host)[address].now
    return (now.mac, now.vlan, now.max_tx_rate, now.spoof_check, now.trust)


def refused(host: Machine, requested: Dict[str, Dict[str, str]]) -> SriovError:
    """Why a start is refused, after which its VFs are as they rest."""
    with pytest.raises(SriovError) as error:
        handover.arrive(host, WEB, Permitted(list(requested), requested, {}))
    return error.value


def arrive(host: Machine, requested: Dict[str, Dict[str, str]], running: Collection[str] = ()) -> None:
    apply.arrive(host, apply.look(host), requested, running)


def test_settings_arrive_and_leave(host: Machine) -> None:
    arrive(host, {VF0: {"mac": MAC, "vlan": "12", "max_tx_rate": "500", "spoof_check": "off", "trust": "on"}})
    assert settings(host, VF0) == (MAC, 12, 500, False, True)
    assert apply.release(host, [VF0]) == {}
    assert settings(host, VF0) == FRESH


def test_settings_left_out_come_from_sriov_conf(host: Machine) -> None:
    arrive(host, {VF1: {"mac": MAC, "trust": "default"}})
    assert settings(host, VF1) == (MAC, 7, 0, True, True)
    assert apply.release(host, [VF1]) == {}
    assert settings(host, VF1) == ("02:00:00:00:00:99", 7, 0, True, True)


def test_a_setting_of_whoever_had_the_vf_before_does_not_stay(host: Machine) -> None:
    host.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "vlan", "99", "trust", "on"])
    arrive(host, {VF0: {"mac": MAC}})
    assert settings(host, VF0) == (MAC, 0, 0, True, False)


def test_all_or_none_on_several_ports(host: Machine) -> None:
    error = refused(
        host, {VF0: {"mac": MAC, "vlan": "12"}, OTHER: {"mac": "82:00:00:00:00:02", "link_state": "enable"}}
    )
    assert error.code == "SRIOV_KERNEL_REFUSED"
    assert f"{OTHER} (eth2)" in error.message
    assert "link_state of VF 0" in error.message
    assert settings(host, VF0) == settings(host, OTHER) == FRESH


def test_a_vf_that_is_gone(host: Machine) -> None:
    error = refused(host, {VF0: {"mac": MAC}, "0000:07:11.0": {"mac": "82:00:00:00:00:02"}})
    assert error.code == "SRIOV_NOT_FOUND"
    assert settings(host, VF0) == FRESH
    assert apply.release(host, ["0000:07:11.0"]) == {}


def test_a_driver_that_says_yes_and_does_not(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(take: Any, _index: int, changes: Dict[str, Any]) -> None:
        take({name: value for name, value in changes.items() if value != MAC})

    card_takes(monkeypatch, deaf)
    monkeypatch.setattr(apply, "BUSY_SECONDS", 0)
    error = refused(host, {VF0: {"mac": MAC, "vlan": "12"}})
    assert f"{VF0} has mac {NO_MAC}" in error.message
    assert settings(host, VF0) == FRESH


def test_a_driver_that_shows_a_setting_late(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    real, old = kernel_settings.read, [True] * 3

    def late(*args: Any) -> Any:
        shown = real(*args)
        if old:
            old.pop()
            eth1 = shown.settings["eth1"]
            eth1[0] = eth1[0]._replace(mac=NO_MAC)
        return shown

    there = apply.look(host)
    monkeypatch.setattr(kernel_settings, "read", late)
    monkeypatch.setattr(apply, "BUSY_PAUSE", 0.01)
    assert apply.put(host, there, {VF0: {"mac": MAC}}) == []
    assert not old


def test_a_pf_that_is_down_is_brought_up(host: Machine) -> None:
    host.run(["ip", "link", "set", "dev", "eth1", "down"])
    arrive(host, {VF0: {"mac": MAC, "max_tx_rate": "500"}})
    assert settings(host, VF0)[2] == 500


def test_a_mac_is_on_one_vf_only(host: Machine) -> None:
    """A VF that kept it, because its release was cut off, would take the VM's traffic."""
    arrive(host, {OTHER: {"mac": MAC, "vlan": "12"}})
    arrive(host, {VF0: {"mac": MAC, "vlan": "12"}})
    assert settings(host, VF0)[:2] == (MAC, 12)
    assert settings(host, OTHER) == FRESH


def test_a_running_vms_vf_is_left_alone(host: Machine) -> None:
    arrive(host, {OTHER: {"mac": MAC}})
    arrive(host, {VF0: {"mac": MAC}}, running=[OTHER])
    assert settings(host, OTHER)[0] == MAC


def test_a_driver_that_takes_no_mac_of_zeros_is_given_another(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(host, {VF0: {"mac": MAC, "vlan": "12"}})

    def strict(take: Any, _index: int, changes: Dict[str, Any]) -> None:
        if changes.get("mac") == NO_MAC:
            raise OSError(22, "Invalid argument")
        take(changes)

    card_takes(monkeypatch, strict)
    assert apply.release(host, [VF0]) == {}
    mac, *others = settings(host, VF0)
    assert mac not in (MAC, NO_MAC)
    assert tuple(others) == FRESH[1:]


def test_a_card_without_a_network(tmp_path: Path) -> None:
    card = Card(
        ("0000:05:00.0",),
        "144d:a808",
        "NVMe SSD",
        "nvme",
        pci_class="010802",
        sriov=Sriov(4, "a809", offset=1, stride=1),
    )
    host = machine.default_host(str(tmp_path), cards=(*default_description().cards, card))
    host.write_attribute("/sys/bus/pci/devices/0000:05:00.0/sriov_numvfs", "2")
    arrive(host, {"0000:05:00.1": {}})
    assert apply.release(host, ["0000:05:00.1"]) == {}
    arrive(host, {"0000:05:00.1": {"vlan": "default"}})
    error = refused(host, {"0000:05:00.1": {"vlan": "5"}})
    assert "is not a network card" in error.message
    assert error.hint.startswith("Give the VM another VF")


def test_a_port_whose_driver_is_gone(host: Machine) -> None:
    """A guest has a VF of it, so they stay."""
    host.start_domain(WEB, "web", [VF0])
    host.write_attribute(f"/sys/bus/pci/devices/{ETH1}/driver/unbind", ETH1)
    error = refused(host, {VF1: {"mac": MAC}})
    assert f"{VF1} cannot be set" in error.message
    assert "it has no driver" in error.message
    assert error.hint.startswith("Load the PF's own network driver")


def test_whether_all_is_as_it_was_asked_for(host: Machine) -> None:
    wanted = {VF0: {"mac": MAC, "vlan": "12"}, OTHER: {"vlan": "13"}}
    assert apply.are_set(apply.look(host), {})
    assert not apply.are_set(apply.look(host), wanted)
    arrive(host, wanted)
    assert apply.are_set(apply.look(host), wanted)
    assert not apply.are_set(apply.look(host), {**wanted, OTHER: {"vlan": "14"}})
    assert not apply.are_set(apply.look(host), {"0000:07:11.0": {}})  # one that is gone


def test_macs_leave_before_anything_else(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever cuts that off: the VM may be up elsewhere already."""
    arrive(host, {vf: {"mac": f"82:00:00:00:00:0{vf[-1]}", "vlan": "12"} for vf in (VF0, VF1)})
    seen: List[str] = []

    def watched(take: Any, _index: int, changes: Dict[str, Any]) -> None:
        seen.extend(sorted(changes))
        take(changes)

    card_takes(monkeypatch, watched)
    assert apply.release(host, [VF0, VF1]) == {}
    assert seen[:2] == ["mac", "mac"]
    assert "mac" not in seen[2:]


def test_untagged_has_no_priority_either(host: Machine) -> None:
    text = f"[pf {ETH1}]\nvfs = 2\n[vf {ETH1} 1]\nvlan = 7\nqos = 3\n"
    host.replace_file(sriov_conf.PATH, text.encode())
    arrive(host, {VF1: {"mac": MAC}})
    assert apply.look(host)[VF1].now.qos == 3
    arrive(host, {VF1: {"mac": MAC, "vlan": "0"}})
    assert (apply.look(host)[VF1].now.vlan, apply.look(host)[VF1].now.qos) == (0, 0)


@pytest.mark.parametrize("rate", ["max_tx_rate", "min_tx_rate"])
def test_a_rate_needs_a_link(host: Machine, rate: str) -> None:
    """A link that is down has no speed, and drivers take no rate then."""

    def is_up() -> bool:
        return "state UP" in host.run(["ip", "link", "show", "dev", "eth1"]).stdout

    host.run(["ip", "link", "set", "dev", "eth1", "down"])
    apply.wait_for_links(host, apply.look(host), {VF0: {"mac": MAC}})
    assert not is_up()
    apply.wait_for_links(host, apply.look(host), {VF0: {rate: "500"}})
    assert is_up()


def test_one_process_however_many_vfs(tmp_path: Path) -> None:
    made = machine.default_host(str(tmp_path))
    for port in (ETH1, ETH2):
        made.write_attribute(f"/sys/bus/pci/devices/{port}/sriov_numvfs", "63")
    host, started = counting(made)
    requested = {
        address: {"mac": f"82:00:00:00:01:{number:02x}", "vlan": "12"}
        for number, address in enumerate(apply.look(host))
    }
    started.clear()
    arrive(host, requested)
    assert len(requested) == 126
    assert started == [" ".join(ip_link.BATCH)]
    started.clear()
    assert apply.release(host, list(requested)) == {}
    assert started == [" ".join(ip_link.BATCH)]


def make_busy(monkeypatch: pytest.MonkeyPatch, times: int, seconds: float) -> None:
    """The driver says so many times that it is busy, and is tried again for so long."""
    left = [True] * times

    def busy(take: Any, _index: int, changes: Any) -> None:
        if left:
            left.pop()
            raise OSError(16, apply.BUSY)
        take(changes)

    card_takes(monkeypatch, busy)
    monkeypatch.setattr(apply, "BUSY_SECONDS", seconds)
    monkeypatch.setattr(apply, "BUSY_PAUSE", 0.01)


@pytest.mark.parametrize(("times", "seconds"), [(3, 60), (999, 0.2)])
def test_a_vf_that_is_busy_is_released_a_moment_later_or_named(
    host: Machine, monkeypatch: pytest.MonkeyPatch, times: int, seconds: float
) -> None:
    """As one is right after its domain's end."""
    arrive(host, {VF0: {"mac": MAC}})
    make_busy(monkeypatch, times, seconds)
    said = apply.release(host, [VF0])
    assert (settings(host, VF0)[0], list(said)) == ((NO_MAC, []) if times == 3 else (MAC, [VF0]))


def test_a_start_with_a_vf_that_stays_busy_is_refused_and_its_release_is_noted(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "vlan", "99"])  # of whoever had it before
    make_busy(monkeypatch, 999, 0.2)
    error = refused(host, {VF0: {"mac": MAC}})
    assert (error.code, apply.BUSY in error.message) == ("SRIOV_KERNEL_REFUSED", True)
    assert error.hint.startswith("Start the VM again in a moment")
    note = start_notes.read(host, WEB)
    assert note is not None
    assert (note.devices, list(note.settings), note.claims) == ([], [VF0], False)


def test_an_ip_that_hangs_is_started_once(host: Machine) -> None:
    """Each of many changes would hang as long."""
    batch, why = " ".join(ip_link.BATCH), "no end after 30 seconds, killed"
    hanging, started = counting(answering(host, batch, status=TIMED_OUT, stderr=why))
    there = apply.look(host)
    found = apply.put(hanging, there, {vf: {"mac": MAC, "vlan": 12} for vf in (VF0, OTHER)})
    assert {one.why for one in found} == {why}
    assert (len(found), started.count(batch)) == (4, 1)
