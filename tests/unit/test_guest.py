"""What a guest needs to use its VFs."""

from typing import Optional, Set

import pytest
import yaml
from sriovlib.pool import guest, vifs
from sriovlib.pool.guest import Interface
from sriovlib.pool.ledger import Choice, Request
from sriovlib.pool.vifs import Tags, Vif


@pytest.mark.parametrize(
    ("device", "linux", "windows"),
    [
        ("8086:10ca", "igbvf", "Intel"),
        ("8086:1520", "igbvf", "Intel"),
        ("8086:10ed", "ixgbevf", "Intel"),
        ("8086:1515", "ixgbevf", "Intel"),
        ("8086:154c", "iavf", "Intel"),
        ("8086:1889", "iavf", "Intel"),
        ("15b3:1004", "mlx4_core, mlx4_en", "WinOF"),
        ("15b3:101e", "mlx5_core", "WinOF-2"),
        ("14e4:16dc", "bnxt_en", "Broadcom"),
        ("14e4:166f", "bnx2x", "Broadcom"),
        ("1077:1664", "qede", "Marvell"),
        ("1425:5801", "cxgb4vf", "Chelsio"),
        ("1d0f:ec20", "ena", "Amazon"),
        ("19ee:6003", "nfp", None),
        ("8086:10fb", None, None),  # a PF
        ("144d:a824", None, None),  # not known
        ("", None, None),
    ],
)
def test_driver_of_a_vf(device: str, linux: str, windows: str) -> None:
    found = guest.drivers(device)
    assert found.linux == linux
    assert windows is None or windows in str(found.windows)
    assert (found.windows is None) == (windows is None)


def test_cloud_init_matches_vfs_by_mac() -> None:
    first, third = (Interface(number, f"b2:00:00:00:00:0{number}", None) for number in (1, 3))
    assert guest.cloud_init([first, third]) == (
        "version: 2\nethernets:\n"
        '  vf1:\n    match:\n      macaddress: "b2:00:00:00:00:01"\n    dhcp4: true\n'
        '  vf3:\n    match:\n      macaddress: "b2:00:00:00:00:03"\n    dhcp4: true\n'
    )
    assert guest.cloud_init([]) == ""


def test_cloud_init_bonds_a_vf_with_its_vif() -> None:
    """The address is the bond's alone; the other VF stays as it is."""
    vif = Vif("0", "5E:00:00:00:00:01", "a network", True)
    text = guest.cloud_init([Interface(1, "b2:00:00:00:00:01", vif), Interface(2, "b2:00:00:00:00:02", None)])
    read = yaml.safe_load(text)
    assert read["ethernets"] == {
        "vf1": {"match": {"macaddress": "b2:00:00:00:00:01"}, "set-name": "vf1"},
        "vif0": {"match": {"macaddress": "5e:00:00:00:00:01"}, "set-name": "vif0"},
        "vf2": {"match": {"macaddress": "b2:00:00:00:00:02"}, "dhcp4": True},
    }
    assert read["bonds"] == {
        "bond1": {
            "interfaces": ["vf1", "vif0"],
            "parameters": {
                "mode": "active-backup",
                "primary": "vf1",
                "fail-over-mac-policy": "active",
                "mii-monitor-interval": 100,
                "up-delay": 1000,
                "gratuitous-arp": 25,
            },
            "dhcp4": True,
        }
    }


TAGS: Tags = {"lan": {None}, "lan12": {12}, "odd": {12, 13}}


@pytest.mark.parametrize(
    ("by", "value", "vlan", "expected"),
    [
        ("pf", "0000:07:00.0", None, {"lan"}),
        ("pf", "0000:07:00.0", "12", {"lan12"}),
        ("pf", "0000:07:00.0", "14", set()),
        ("network", "lan", None, {"lan"}),
        ("network", "lan12", "12", {"lan12"}),
        ("network", "lan", "12", {"lan12"}),  # in a VLAN of its own
    ],
)
def test_networks_of_a_vf(by: str, value: str, vlan: Optional[str], expected: Set[str]) -> None:
    """Its VIF is on its port, with its tag."""
    request = Request(1, Choice(by, value), {} if vlan is None else {"vlan": vlan})
    assert vifs.networks(request, TAGS, TAGS) == expected


def test_network_of_a_vf_whose_host_is_silent() -> None:
    assert vifs.networks(Request(1, Choice("network", "lan"), {}), (), TAGS) == {"lan"}
    assert vifs.networks(Request(1, Choice("pf", "0000:07:00.0"), {}), (), TAGS) == set()


def test_a_vif_is_bonded_with_one_vf() -> None:
    ten, two = Vif("10", "", "lan", True), Vif("2", "", "lan", True)
    assert vifs.beside({1: {"lan"}, 2: {"lan"}, 3: {"lan"}}, [ten, two]) == {1: two, 2: ten}
    assert vifs.beside({1: {"dmz"}}, [ten]) == {}
