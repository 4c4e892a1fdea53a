"""restore beside running VMs, other callers and other cards: what it must leave alone, and whom it means."""

import os
import signal
import time
from pathlib import Path
from typing import Any, List

import forked
import machine
import pytest
from machine import Machine
from machine_description import Interface, default_description
from one_host import call, counting, drivers, host_with, listing, odd, refused
from small_pool import SmallPool
from sriovlib.config import sriov_conf
from sriovlib.machine import pci, xenstored
from sriovlib.machine.command import Completed
from sriovlib.vf import create, links, pciback, pf_notes, restore

ETH1, ETH2 = "0000:07:00.0", "0000:07:00.1"
WEB = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def host(tmp_path: Path) -> Machine:
    return machine.default_host(str(tmp_path))


def count(host: Machine, pool: SmallPool, number: int, pf: str = "eth1") -> Any:
    return call(host, pool, "set_vf_count", pf=pf, count=str(number))


def write(host: Machine, text: str) -> None:
    host.replace_file(sriov_conf.PATH, text.encode())


def errors(host: Machine) -> List[str]:
    return [result.error for result in restore.restore(host) if result.error]


def present(host: Machine, pf: str = ETH1) -> int:
    return len(create.present(host, pf))


def test_where_xenstore_is_silent_vfs_that_there_are_stay(host: Machine, pool: SmallPool) -> None:
    count(host, pool, 4)
    write(host, "[pf 0000:07:00.0]\nvfs = 6\n")
    os.unlink(host.path(xenstored.SOCKET))
    assert "xenstore does not answer" in errors(host)[0]
    host.reboot()  # at boot there are none, and no VM either
    assert errors(host) == []
    assert present(host) == 6


def test_where_xenstore_is_silent_settings_of_vfs_on_pciback_stay(host: Machine, pool: SmallPool) -> None:
    """A running VM may have any of them, and the VLAN is its own."""
    count(host, pool, 4)
    host.start_domain(WEB, "web", ["0000:07:10.2"])
    assert host.run(["ip", "link", "set", "dev", "eth1", "vf", "1", "vlan", "12"]).status == 0
    write(host, "[pf 0000:07:00.0]\nvfs = 4\n[vf 0000:07:00.0 1]\nvlan = 100\n")
    host.replace_file("/var/lib/xcp/xapi", b"")  # its socket: the toolstack runs
    os.unlink(host.path(xenstored.SOCKET))
    (error,) = errors(host)
    assert "xenstore does not answer, so the settings of its VFs are left alone" in error
    assert "vlan 12" in host.run(["ip", "-details", "link", "show"]).stdout
    os.unlink(host.path("/var/lib/xcp/xapi"))  # at boot xenstore comes later, and no VM runs
    assert errors(host) == []
    assert "vlan 100" in host.run(["ip", "-details", "link", "show"]).stdout


def test_a_restore_that_waited_goes_by_the_file_as_it_is_then(host: Machine, pool: SmallPool) -> None:
    count(host, pool, 2)
    begin, go = os.pipe()

    def restore_when_told() -> None:
        os.read(begin, 1)
        restore.restore(Machine(host.root))

    child = forked.child(restore_when_told)  # before the lock is taken: a child has the locks of its parent
    with host.lock("vfs", "a test"):
        os.write(go, b"!")
        time.sleep(0.2)  # long enough to read the file, had it not to wait; shorter proves less
        write(host, host.read(sriov_conf.PATH).replace("vfs = 2", "vfs = 7"))
    assert forked.status(child) == 0
    assert present(host) == 7


def test_a_driver_that_hangs_keeps_no_lock(
    host: Machine, pool: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind: List[int] = []

    def hanging(write: Any, path: str, text: str) -> None:
        if path.endswith("sriov_numvfs"):
            signal.pause()
        write(path, text)

    monkeypatch.setattr(create, "WRITE_SECONDS", 0.2)
    monkeypatch.setattr(os, "kill", lambda pid, _signal: left_behind.append(pid))  # none reaches it
    with_hanging = odd(host, "write_attribute", hanging)
    error = refused(with_hanging, pool, "set_vf_count", pf="eth1", count="4")
    assert ("timed out" in error.message, pciback.slots(host)) == (True, set())
    monkeypatch.undo()
    try:
        assert count(host, pool, 4)["after"] == 4
    finally:
        for child in left_behind:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_a_vf_that_carries_the_management_network_is_not_taken(tmp_path: Path, pool: SmallPool) -> None:
    host = machine.default_host(
        str(tmp_path),
        blacklist=(),
        modprobe="options ixgbe max_vfs=2,0\n",
        interfaces=(Interface("xenbr0", "bridge", ("eth1v0",), ipv4="192.168.1.11/24"),),
    )
    for number in (2, 4):
        error = refused(host, pool, "set_vf_count", pf="eth1", count=str(number))
        assert error.code == "SRIOV_MANAGEMENT_INTERFACE"
    write(host, "[pf 0000:07:00.0]\nvfs = 4\n")
    assert "management network" in errors(host)[0]
    assert host.exists("/sys/class/net/eth1v0")


def test_a_vf_with_an_attached_pif_is_not_taken(tmp_path: Path, pool: SmallPool) -> None:
    host = machine.default_host(str(tmp_path), blacklist=(), modprobe="options ixgbe max_vfs=2,0\n")
    pool.attached = ["eth1v1"]
    error = refused(host, pool, "set_vf_count", pf="eth1", count="2")
    assert (error.code, "eth1v1" in error.message) == ("SRIOV_NEEDED_BY_DOM0", True)


def test_two_ports_with_one_mac_are_told_apart_by_their_addresses(tmp_path: Path, pool: SmallPool) -> None:
    mac = default_description().cards[1].macs[0]
    host = host_with(tmp_path, {"macs": (mac, mac)})
    count(host, pool, 3, "eth2")
    host.reboot()
    assert errors(host) == []
    assert (present(host, ETH1), present(host, ETH2)) == (0, 3)


SWAPPED = """[pf 0000:07:00.0]
mac = 00:1b:21:00:01:01
vfs = 4

[vf 0000:07:00.0 0]
vlan = 10

[pf 0000:07:00.1]
mac = 00:1b:21:00:01:00
vfs = 2
"""


def test_ports_that_changed_places_keep_their_own_sections(host: Machine, pool: SmallPool) -> None:
    write(host, SWAPPED)
    assert errors(host) == []
    assert (present(host, ETH1), present(host, ETH2)) == (2, 4)
    count(host, pool, 3, "eth1")
    assert host.read(sriov_conf.PATH) == SWAPPED.replace("vfs = 2", "vfs = 3")
    count(host, pool, 0, "eth1")
    assert list(sriov_conf.read(host).pfs) == [ETH1]  # which means the port at eth2


def test_a_strangers_settings_do_not_go_to_the_card_in_its_place(host: Machine, pool: SmallPool) -> None:
    write(host, "[pf 0000:07:00.0]\nmac = 00:1b:21:99:99:99\nvfs = 8\n\n[vf 0000:07:00.0 0]\nvlan = 10\n")
    count(host, pool, 2)
    assert sriov_conf.read(host).pfs == {ETH1: sriov_conf.PfConfig(ETH1, "00:1b:21:00:01:00", 2, {})}


def test_settings_that_the_driver_refuses_are_told_and_the_vfs_are_there(
    host: Machine, pool: SmallPool
) -> None:
    write(host, "[vf 0000:07:00.0 0]\nlink_state = enable\n")
    answer = count(host, pool, 6)
    assert (answer["after"], sriov_conf.read(host).pfs[ETH1].vfs) == (6, 6)
    assert "link" in answer["warnings"][0] or "state" in answer["warnings"][0]


def test_vfs_that_come_too_late_are_given_up_and_the_former_ones_are_back(
    tmp_path: Path, pool: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = machine.default_host(str(tmp_path), blacklist=())
    count(host, pool, 2)

    slow = listing(host, lambda _path, found: [name for name in found if name != "virtfn5"])
    monkeypatch.setattr(create, "BIRTH_SECONDS", 0.2)
    message = refused(slow, pool, "set_vf_count", pf="eth1", count="6").message
    assert "only 5 of 6" in message
    assert "2 as before" in message
    assert drivers(host, ETH1) == ["pciback"] * 2
    assert pciback.slots(host) == set(create.present(host, ETH1))


def test_slots_that_a_killed_call_left_are_taken_away(host: Machine, pool: SmallPool) -> None:
    for address in pci.expected(host, ETH1, 7):
        pciback.add_slot(host, address)
    count(host, pool, 2)
    assert pciback.slots(host) == set(create.present(host, ETH1))


def test_an_ip_that_stops_at_a_word_it_does_not_know(host: Machine, pool: SmallPool) -> None:
    """Seen on a real one: exit status 255, no line named, and what stands behind it not done."""
    count(host, pool, 4)

    def old(start: Any, argv: Any, input_text: Any = None) -> Any:
        if "trust" not in (input_text or "") and "trust" not in argv:
            return start(argv, input_text)
        if input_text:
            start(argv, input_text.split("trust")[0].rsplit("\n", 1)[0] + "\n")
        return machine.Done(Completed(argv, 255, "", 'Error: argument "trust" is wrong: unknown\n'))

    with_old = odd(host, "start", old)
    asked = {"vf": "07:10.2", "mac": "02:00:00:00:00:05", "vlan": "7", "trust": "on"}
    assert "refused trust" in refused(with_old, pool, "configure_vf", **asked).message
    vf = call(host, pool, "list_vfs")[1]
    assert (vf["mac"], vf["vlan"]) == ("00:00:00:00:00:00", 0)
    sections = [f"[vf 0000:07:00.0 {number}]\nvlan = {number + 1}\ntrust = on\n" for number in range(4)]
    write(host, "[pf 0000:07:00.0]\nvfs = 4\n" + "".join(sections))
    assert "unknown" in errors(with_old)[0]
    assert [one["vlan"] for one in call(host, pool, "list_vfs")] == [1, 2, 3, 4]


def test_untagged_is_untagged_whatever_there_was(host: Machine, pool: SmallPool) -> None:
    count(host, pool, 2)
    for vlan in ("0", "default"):
        call(host, pool, "configure_vf", vf="07:10.2", vlan="12", qos="3")
        vf = call(host, pool, "configure_vf", vf="07:10.2", vlan=vlan)
        assert (vf["vlan"], vf["qos"]) == (0, 0)


def test_a_vm_that_runs_on_another_host_holds_nothing_here(host: Machine, pool: SmallPool) -> None:
    count(host, pool, 4)
    pool.add_vm("elsewhere", "0/0000:07:10.2", "Running")
    pool.vms["elsewhere"]["resident_on"] = "OpaqueRef:another"
    refused(host, pool, "set_vf_count", pf="eth1", count="2")
    assert call(host, pool, "set_vf_count", pf="eth1", count="2", force="yes")["after"] == 2
    pool.vms["elsewhere"]["current_operations"] = {"OpaqueRef:task": "start_on"}
    error = refused(host, pool, "set_vf_count", pf="eth1", count="0", force="yes")
    assert "running or starting VMs" in error.message


def test_the_file_is_read_strictly(host: Machine) -> None:
    write(host, "[pf 07:00]\nvfs = 2\n[vf 0000:07:00.0 01]\nvlan = 5\n[hots]\n[host]\npciback = yes # Mary\n")
    config = sriov_conf.read(host)
    assert [error.split(":")[0] for error in config.errors] == ["line 1", "line 3", "line 5"]
    assert config.pciback


def test_a_copy_that_speaks_of_no_pf_is_no_reinstalled_host(host: Machine, pool: SmallPool) -> None:
    call(host, pool, "load_pciback")
    count(host, pool, 2)
    count(host, pool, 0)
    assert "pciback" in pool.other_config["sriov-conf"]
    assert "CONFIG_IN_POOL" not in [problem["code"] for problem in call(host, pool, "status")["problems"]]


def test_the_udev_rule_has_work_to_do_once_all_pfs_were_restored(host: Machine) -> None:
    """Not before: the boot service finds the PFs that are there by itself."""
    restore.restore(host, ETH1)
    assert not host.exists(restore.BEGUN)
    restore.restore(host)
    assert host.exists(restore.BEGUN)


def test_where_no_time_is_left_the_other_pfs_say_so(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit would be killed, and nothing be told."""
    write(host, f"[pf {ETH1}]\nvfs = 2\n[pf {ETH2}]\nvfs = 2\n")
    monkeypatch.setattr(restore, "SECONDS", -1)
    told = {result.step: result.error for result in restore.restore(host) if result.step != "pciback"}
    assert told == dict.fromkeys((ETH1, ETH2), "no time was left for it; run sriov-restore again")
    assert pf_notes.read(host, pf_notes.LAST_ERRORS)[ETH2] == told[ETH2]
    assert (present(host), present(host, ETH2)) == (0, 0)


def test_a_restore_that_is_killed_leaves_word(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier one said of its PFs is no longer so."""
    write(host, f"[pf {ETH1}]\nvfs = 2\n[pf {ETH2}]\nvfs = 2\n")
    assert errors(host) == []

    def killed(*_args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(links, "bring_up", killed)
    with pytest.raises(KeyboardInterrupt):
        restore.restore(host)
    unfinished = {ETH1: restore.UNFINISHED, ETH2: restore.UNFINISHED, pf_notes.OF_HOST: restore.NOT_ENDED}
    assert pf_notes.failures(host) == unfinished
    monkeypatch.undo()
    assert errors(host) == []
    assert pf_notes.failures(host) == {}


def test_errors_of_a_pf_that_nobody_configures_any_more_are_forgotten(host: Machine) -> None:
    write(host, "[pf 0000:0e:00.0]\nvfs = 2\n[host]\npciback = perhaps\n")
    restore.restore(host)
    assert list(pf_notes.failures(host)) == [pf_notes.OF_HOST, "0000:0e:00.0"]
    write(host, f"[pf {ETH1}]\nvfs = 2\n")
    restore.restore(host, ETH1)
    assert list(pf_notes.failures(host)) == [pf_notes.OF_HOST, "0000:0e:00.0"]
    restore.restore(host)
    assert pf_notes.failures(host) == {}


def test_a_port_that_is_down_is_brought_up_for_its_vfs(host: Machine) -> None:
    host.run(["ip", "link", "set", "dev", "eth1", "down"])
    write(host, f"[pf {ETH1}]\nvfs = 2\n")
    assert [result.done for result in restore.restore(host) if result.step == ETH1] == ["2 VFs"]
    assert "state UP" in host.run(["ip", "link", "show", "dev", "eth1"]).stdout


@pytest.mark.parametrize(("setting", "waits"), [("max_tx_rate", 1), ("min_tx_rate", 1), ("vlan", 0)])
def test_a_rate_waits_for_the_link(
    host: Machine, monkeypatch: pytest.MonkeyPatch, setting: str, waits: int
) -> None:
    """Drivers take none before they know its speed."""
    waited: List[str] = []
    monkeypatch.setattr(links, "wait_for_carrier", lambda _host, ports: waited.extend(ports))
    write(host, f"[pf {ETH1}]\nvfs = 2\n[vf {ETH1} 0]\n{setting} = 100\n")
    restore.restore(host)
    assert waited == ["eth1"] * waits


def test_a_restore_of_more_pfs_runs_no_more_commands(host: Machine) -> None:
    """But ethtool, which tells of one port."""
    counted, started = counting(host)
    counts = []
    for pfs in ([ETH1], [ETH1, ETH2]):
        write(host, "".join(f"[pf {pf}]\nvfs = 2\n[vf {pf} 0]\nvlan = 7\n" for pf in pfs))
        for pf in (ETH1, ETH2):
            host.write_attribute(f"/sys/bus/pci/devices/{pf}/sriov_numvfs", "0")
        started.clear()
        assert errors(counted) == []
        counts.append(sum(words.startswith("ip") for words in started))
        for pf in pfs:
            for vf in create.present(host, pf):
                pciback.release(host, vf)
    assert counts[0] == counts[1]
