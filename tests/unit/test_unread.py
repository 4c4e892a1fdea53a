"""What cannot be read, or is not what the kernel writes: unknown, with a name, and never none."""

from pathlib import Path
from typing import Any

import machine
import pytest
from machine import Machine
from one_host import call, listing, refused, unreadable
from pyfakefs.fake_filesystem import FakeFilesystem
from small_pool import SmallPool
from sriovlib.config import ini, sriov_conf
from sriovlib.machine import pci, sysfs
from sriovlib.machine.host import Host
from sriovlib.vf import create, pf_notes, restore

PF = "/sys/bus/pci/devices/0000:07:00.0"
WEB = "11111111-2222-4333-8444-555555555555"
SUPERSCRIPT, ARABIC = "\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT TWO}"


def numbers_unread(host: Machine) -> Machine:
    """sriov_numvfs fails: a PF that was just reset, or no descriptors are left."""
    return unreadable(host, f"{PF}/sriov_numvfs")


def links_unread(host: Machine) -> Machine:
    return listing(host, lambda path, found: [] if path == PF else found)


@pytest.mark.parametrize("kind", [numbers_unread, links_unread])
def test_the_vfs_of_a_port_that_cannot_be_read_stay(tmp_path: Path, pool: SmallPool, kind: Any) -> None:
    host = machine.default_host(str(tmp_path))
    call(host, pool, "set_vf_count", pf="eth1", count="4")
    host.start_domain(WEB, "web", ["0000:07:10.2"])
    host.replace_file(sriov_conf.PATH, b"[pf 0000:07:00.0]\nvfs = 6\n")
    unread = kind(host)
    assert refused(unread, pool, "set_vf_count", pf="eth1", count="2").code == "SRIOV_VF_IN_USE"
    assert restore.restore(unread)[-1].error
    assert len(create.present(host, "0000:07:00.0")) == 4
    assert sriov_conf.read(host).pfs["0000:07:00.0"].vfs == 6


@pytest.mark.parametrize("text", ["", "\n", SUPERSCRIPT, ARABIC, "1_0", "0x4", "9" * 5000, "(null)", "4 4"])
def test_attributes_that_are_no_number(fs: FakeFilesystem, text: str) -> None:
    fs.create_file(f"{PF}/sriov_totalvfs", contents=text)
    fs.create_file("/sys/class/net/eth1/flags", contents=text.replace("0x", ""))
    assert Host().number(f"{PF}/sriov_totalvfs") is None
    assert pci.functions(Host()) == ([], [])
    assert sysfs.is_up(Host(), "eth1") is None


def test_links_that_are_no_vf(fs: FakeFilesystem) -> None:
    for name in (SUPERSCRIPT, "", "x", "1"):
        fs.create_symlink(f"{PF}/virtfn{name}", "../0000:07:10.0")
    fs.create_file(f"{PF}/sriov_totalvfs", contents="7\n")
    fs.create_file(f"{PF}/uevent", contents="PCI_CLASS=20000\nPCI_ID=8086:10FB\n")
    fs.create_file("/sys/bus/pci/devices/0000:07:10.0/uevent", contents="PCI_ID=8086:10ED\n")
    assert create.present(Host(), "0000:07:00.0") == ["0000:07:10.0"]
    (pf,), (vf,) = pci.functions(Host())
    assert (pf.num_vfs, vf.number) == (1, 1)


@pytest.mark.parametrize("value", ["", SUPERSCRIPT, ARABIC, "9" * 5000, "-1", "1_0", "4.0", "\0"])
def test_values_of_the_file_that_are_none_are_named_by_their_line(value: str) -> None:
    keys = ["vlan", "qos", "max_tx_rate", "mac", "trust", "spoof_check", "link_state", "vlan_protocol", value]
    text = f"[pf 0000:07:00.0]\nvfs = {value}\n[vf 0000:07:00.0 0]\n"
    text += "".join(f"{key} = {value}\n" for key in keys)
    config = sriov_conf.interpret(ini.parse(text + f"[vf 0000:07:00.0 {value}]\nvlan = 1\n"))
    pf = config.pfs["0000:07:00.0"]
    assert (pf.vfs, pf.settings[0]) == (None, {})
    assert len(config.errors) >= 10
    assert all(error.startswith("line ") and len(error) < 400 for error in config.errors)


def test_each_contradiction_of_a_section_is_named(fs: FakeFilesystem) -> None:
    text = "[vf 0000:07:00.0 0]\nqos = 3\nvlan_protocol = 802.1ad\nmin_tx_rate = 9\nmax_tx_rate = 5\n"
    fs.create_file(sriov_conf.PATH, contents=text)
    config = sriov_conf.read(Host())
    assert config.pfs["0000:07:00.0"].settings == {0: {"max_tx_rate": 5}}
    assert [error.split(":")[0] for error in config.errors] == ["line 2", "line 3", "line 4"]


@pytest.mark.parametrize("note", ["[]", "[" * 100_000, "7", "{", ""])
def test_a_note_that_is_none(fs: FakeFilesystem, note: str) -> None:
    fs.create_file(pf_notes.LAST_ERRORS, contents=note)
    assert pf_notes.read(Host(), pf_notes.LAST_ERRORS) == {}
