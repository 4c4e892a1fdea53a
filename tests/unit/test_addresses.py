"""A PCI address is understood as people and tools write it, wherever one is read, and is written in full."""

from typing import Optional

import pytest
from answering_host import AnsweringHost
from pyfakefs.fake_filesystem import FakeFilesystem
from sriovlib.calls import arguments
from sriovlib.config import sriov_conf
from sriovlib.machine import pci, xenstore
from sriovlib.machine.host import Host
from sriovlib.vf import pciback

PORT, VF = "0000:3b:00.0", "0000:3b:10.0"


@pytest.mark.parametrize("text", ["0000:3B:00.0", "3b:00.0", "00000000:3B:00.0", " 0000:3b:00.0\n"])
def test_pci_address_as_an_argument(text: str) -> None:
    assert arguments.pf({"pf": text}) == PORT
    assert arguments.address({"vf": text}, "vf") == PORT


def test_several_with_commas_between() -> None:
    assert arguments.addresses({"vfs": "3B:10.0, 0000:3b:10.2,"}, "vfs") == [VF, "0000:3b:10.2"]


def test_an_interface_with_blanks_around_is_one_too() -> None:
    assert arguments.pf({"pf": " eth1\n"}) == "eth1"


def test_in_the_sections_of_sriov_conf(fs: FakeFilesystem) -> None:
    """The next change writes them in full; nobody's lines are lost."""
    text = "[ pf 3B:00.0 ] # the fast card\nvfs = 4\n\n[vf 00000000:3B:00.0 2]\nvlan = 12\n"
    fs.create_file(sriov_conf.PATH, contents=text)
    fs.create_dir("/run/sriov")
    host = Host()
    config = sriov_conf.read(host)
    assert (config.errors, list(config.pfs)) == ([], [PORT])
    assert (config.pfs[PORT].vfs, config.pfs[PORT].settings) == (4, {2: {"vlan": 12}})
    sriov_conf.update(host, sriov_conf.pf_section(PORT), {"vfs": "2"})
    assert host.read(sriov_conf.PATH) == (
        f"[{sriov_conf.pf_section(PORT)}] # the fast card\nvfs = 2\n\n[vf {PORT} 2]\nvlan = 12\n"
    )


def test_two_sections_of_one_port(fs: FakeFilesystem) -> None:
    fs.create_file(sriov_conf.PATH, contents=f"[pf {PORT}]\nvfs = 4\n[pf 3B:00.0]\nmac = 00:1b:21:00:01:00\n")
    config = sriov_conf.read(Host())
    assert config.errors == [f"line 3: a second section [pf {PORT}]; both count"]
    assert (config.pfs[PORT].vfs, config.pfs[PORT].mac) == (4, "00:1b:21:00:01:00")


def test_in_pcibacks_slots(fs: FakeFilesystem) -> None:
    fs.create_file(f"{pciback.DRIVER}/slots", contents="0000:3B:10.0\n0000:3b:10.2\n")
    assert pciback.slots(Host()) == {VF, "0000:3b:10.2"}


def test_in_xenstore() -> None:
    devices = {f"{xenstore.BACKENDS}/7/0/dev-0": "0000:3B:10.0 ", f"{xenstore.BACKENDS}/7/0/dev-1": ""}
    domain = {"/local/domain/7/name": "web", "/local/domain/7/domid": "7"}
    owners = xenstore.owners(AnsweringHost({"xenstore": {**devices, **domain}}))
    assert owners is not None
    assert {address: domain.name for address, domain in owners.items()} == {VF: "web"}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0000:07:10.0", "0000:07:10.0"),
        ("07:10.0", "0000:07:10.0"),
        ("0000:0A:1F.7", "0000:0a:1f.7"),
        ("10000:01:00.0", "10000:01:00.0"),
        ("0000:07:10.8", None),
        ("0000:07:10", None),
        ("0000:07:10.0\n", "0000:07:10.0"),
        (" 0000:3B:00.0\t", "0000:3b:00.0"),
        ("00000000:07:00.0", "0000:07:00.0"),
        ("00010000:01:00.0", "10000:01:00.0"),
        ("0:7:0.0", "0000:07:00.0"),
        ("7:10.2", "0000:07:10.2"),
        ("0000:07:20.0", None),
        ("0000:07:10.0 0000:07:10.2", None),
        ("000000000:07:00.0", None),
        ("x0000:07:10.0", None),
        ("", None),
    ],
)
def test_forms_of_an_address(text: str, address: Optional[str]) -> None:
    assert pci.parse_address(text) == address
