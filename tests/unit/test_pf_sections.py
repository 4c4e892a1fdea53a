"""Which card /etc/sriov.conf means: by address and MAC, and InfiniBand by its GUID."""

from typing import Any, Dict, List, Optional, Tuple

import pytest
from answering_host import DEVICES, AnsweringHost, add_interface, add_pf, shows, vf_address
from pyfakefs.fake_filesystem import FakeFilesystem
from sriovlib.calls import configure_vf
from sriovlib.config import ini, pf_sections, sriov_conf
from sriovlib.config.pf_sections import Match
from sriovlib.errors import SriovError
from sriovlib.machine import pci
from sriovlib.vf import apply, host_inventory, inventory, restore
from sriovlib.xapi.own_session import OwnSession

CARD = "0000:3b:00.0"
OTHER = "0000:5e:00.0"
GUID = "f4:52:14:03:00:7b:cb:a1"
OTHER_GUID = "f4:52:14:03:00:7b:cb:b2"
ETHTOOL = "ethtool -P {}"


def ipoib_address(guid: str, queue: str = "00:00:48") -> str:
    """Flags, a queue pair's number that each boot chooses anew, the subnet, the port's GUID."""
    return f"80:{queue}:fe:80:00:00:00:00:00:00:{guid}"


def infiniband_card(fs: FakeFilesystem, address: str = CARD, guid: str = GUID, name: str = "ib0") -> None:
    add_pf(fs, address, "15b3:1017", "mlx5_core", 2, pci_class="020700")
    add_interface(fs, address, name, ipoib_address(guid), type=32)


def ethernet_card(fs: FakeFilesystem, address: str = CARD, mac: str = "00:1b:21:00:01:00") -> None:
    add_pf(fs, address, "8086:10fb", "ixgbe", 2)
    add_interface(fs, address, "eth1", mac)


def matched(host: AnsweringHost, text: str) -> List[Match]:
    pfs, _ = pci.functions(host)
    macs = pf_sections.permanent_macs(host, pfs)
    config = sriov_conf.interpret(ini.parse(text))
    assert config.errors == []
    return [pf_sections.match(wanted, pfs, macs) for wanted in config.pfs.values()]


def pf_of(match: Match) -> Optional[str]:
    return match.pf.address if match.pf else None


def found(host: AnsweringHost, key: str) -> Tuple[Optional[str], Optional[str]]:
    """The PF that a section of CARD with that line means, and the code of what is wrong."""
    (match,) = matched(host, f"[pf {CARD}]\n{key}\nvfs = 2\n")
    return pf_of(match), match.problem.code if match.problem else None


@pytest.mark.parametrize(
    ("identity", "driver", "pci_class", "key", "expected"),
    [
        # at boot its driver may not have made the interface yet, which would show the MAC
        ("8086:10fb", "ixgbe", "020000", "mac = 00:1b:21:00:01:00", (CARD, None)),
        ("8086:10fb", "ixgbe", "020000", f"guid = {GUID}", (None, "OTHER_CARD")),
        ("144d:a808", "nvme", "010802", "mac = 00:1b:21:00:01:00", (None, "OTHER_CARD")),
        ("15b3:1017", "mlx5_core", "020700", "mac = 80:00:00:48:fe:80", (None, "OTHER_CARD")),
    ],
    ids=["late", "infiniband-wanted", "nvme", "cut-mac"],
)
def test_a_card_without_an_interface(
    fs: FakeFilesystem, identity: str, driver: str, pci_class: str, key: str, expected: Tuple[Any, Any]
) -> None:
    add_pf(fs, CARD, identity, driver, 0, pci_class=pci_class)
    assert found(AnsweringHost(), key) == expected


def test_another_infiniband_card_in_its_place_is_not_touched(fs: FakeFilesystem) -> None:
    infiniband_card(fs, guid=OTHER_GUID)
    assert found(AnsweringHost(), f"guid = {GUID}") == (None, "OTHER_CARD")


def test_an_infiniband_card_is_known_by_its_guid_wherever_it_is(fs: FakeFilesystem) -> None:
    infiniband_card(fs, OTHER)
    host = AnsweringHost({ETHTOOL.format("ib0"): f"Permanent address: {ipoib_address(GUID, '00:11:22')}\n"})
    assert found(host, f"guid = {GUID.upper()}") == (OTHER, "PF_MOVED")


def test_the_guid_is_the_same_after_a_boot_that_chose_another_queue(fs: FakeFilesystem) -> None:
    infiniband_card(fs)
    host = AnsweringHost()
    text = f"[pf {CARD}]\nguid = {GUID}\nvfs = 2\n"
    assert matched(host, text) == [Match(pci.functions(host)[0][0], None)]
    address = f"{DEVICES}/{CARD}/net/ib0/address"
    fs.remove(address)
    fs.create_file(address, contents=ipoib_address(GUID, "00:0a:7c"))
    assert [one.problem for one in matched(host, text)] == [None]


@pytest.mark.parametrize("guid", [GUID, OTHER_GUID])
def test_a_mac_that_an_earlier_build_cut_of_a_longer_address_means_no_card(
    fs: FakeFilesystem, guid: str
) -> None:
    infiniband_card(fs, guid=guid)
    (match,) = matched(AnsweringHost(), f"[pf {CARD}]\nmac = {ipoib_address(GUID)[:17]}\nvfs = 2\n")
    assert pf_of(match) is None
    assert match.problem
    assert "set_vf_count" in match.problem.hint


def test_without_an_ipoib_interface_the_first_gid_tells(fs: FakeFilesystem) -> None:
    add_pf(fs, CARD, "15b3:1003", "mlx4_core", 0, pci_class="028000")  # Ethernet or InfiniBand
    port = f"{DEVICES}/{CARD}/infiniband/mlx4_0/ports/1"
    fs.create_file(f"{port}/gids/0", contents="fe80:0000:0000:0000:f452:1403:007b:cba1\n")
    link_layer = fs.create_file(f"{port}/link_layer", contents="InfiniBand\n")
    text = f"[pf {CARD}]\nguid = {GUID}\nvfs = 2\n"
    assert [pf_of(one) for one in matched(AnsweringHost(), text)] == [CARD]
    link_layer.set_contents("Ethernet\n")  # RoCE: its GID is no GUID, and its interface has a MAC
    assert pci.functions(AnsweringHost())[0][0].guid is None


def test_set_vf_count_writes_the_guid_and_takes_a_cut_mac_away(fs: FakeFilesystem) -> None:
    infiniband_card(fs)
    host = AnsweringHost()
    pfs, _ = pci.functions(host)
    macs = pf_sections.permanent_macs(host, pfs)
    before = sriov_conf.interpret(ini.parse(f"[pf {CARD}]\nmac = 80:00:00:48:fe:80\nvfs = 2\n"))
    document = pf_sections.claim(before, pfs[0], pfs, macs)
    assert document.get(f"pf {CARD}", "guid") == GUID
    assert document.get(f"pf {CARD}", "mac") is None
    assert pf_of(matched(host, sriov_conf.as_bytes(document).decode())[0]) == CARD


def test_a_guid_of_another_form_is_an_error_of_the_file() -> None:
    config = sriov_conf.interpret(ini.parse(f"[pf {CARD}]\nguid = f4:52:14:03:00:7b\n"))
    assert "eight pairs" in config.errors[0]


# -- an Ethernet card ----------------------------------------------------------------------------


def test_a_card_whose_second_port_is_there_first(fs: FakeFilesystem) -> None:
    add_pf(fs, CARD, "15b3:1003", "mlx4_core", 0, pci_class="028000")
    add_interface(fs, CARD, "eth2", "00:02:c9:00:00:02", dev_port=1)
    assert found(AnsweringHost(), "mac = 00:02:c9:00:00:01") == (CARD, None)
    add_interface(fs, CARD, "eth1", "00:02:c9:00:00:01", dev_port=0)
    assert found(AnsweringHost(), "mac = 00:02:c9:00:00:99") == (None, "OTHER_CARD")


def test_the_burnt_in_mac_counts_and_not_a_bonds(fs: FakeFilesystem) -> None:
    ethernet_card(fs, mac="02:00:00:00:00:99")
    host = AnsweringHost({ETHTOOL.format("eth1"): "Permanent address: 00:1B:21:00:01:00\n"})
    assert [pf_of(one) for one in matched(host, f"[pf {CARD}]\nmac = 00:1b:21:00:01:00\n")] == [CARD]


@pytest.mark.parametrize(("kind", "known"), [(0, "02:00:00:00:00:99"), (3, "00:1b:21:00:01:00")])
def test_ethtool_is_asked_only_where_somebody_has_set_a_mac(
    fs: FakeFilesystem, kind: int, known: str
) -> None:
    add_pf(fs, CARD, "8086:10fb", "ixgbe", 2)
    add_interface(fs, CARD, "eth1", "02:00:00:00:00:99", addr_assign_type=kind)
    host = AnsweringHost({ETHTOOL.format("eth1"): "Permanent address: 00:1B:21:00:01:00\n"})
    (pf,), _ = pci.functions(host)
    assert pf_sections.permanent_macs(host, [pf]) == {CARD: known}


# -- VFs of an InfiniBand card -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [1, 3])  # NET_ADDR_RANDOM, NET_ADDR_SET
def test_a_mac_that_the_driver_made_up_tells_nothing_of_the_card(fs: FakeFilesystem, kind: int) -> None:
    """nfp with flower firmware: each boot it is another (flower/main.c, nfp_flower_vnic_alloc)."""
    add_pf(fs, CARD, "19ee:4000", "nfp", 2)
    add_interface(fs, CARD, "eth1", "c6:01:02:03:04:05", addr_assign_type=kind)
    host = AnsweringHost({ETHTOOL.format("eth1"): "Permanent address: 00:00:00:00:00:00\n"})
    (pf,), _ = pci.functions(host)
    assert pf_sections.permanent_macs(host, [pf]) == {CARD: None}
    assert matched(host, f"[pf {CARD}]\nmac = 8a:0f:0e:0d:0c:0b\nvfs = 2\n") == [Match(pf, None)]


def an_infiniband_host(fs: FakeFilesystem) -> AnsweringHost:
    infiniband_card(fs)
    return AnsweringHost(shows("ib0", vfs=2, kind=32))


def told(host: AnsweringHost) -> Dict[str, Any]:
    answer: Dict[str, Any] = host_inventory.read(host).to_json()
    return answer


def test_the_inventory_of_an_infiniband_card(fs: FakeFilesystem) -> None:
    answer = told(an_infiniband_host(fs))
    (pf,) = answer["pfs"]
    assert (pf["interface"], pf["mac"], pf["guid"]) == ("ib0", None, GUID)
    assert [port["link_layer"] for port in pf["ports"]] == ["infiniband"]
    for vf in answer["vfs"]:
        assert (vf["mac"], vf["vlan"], vf["spoof_check"]) == (None, None, None)
        assert "InfiniBand" in vf["no_settings"]


def test_a_vm_with_such_a_vf_starts(fs: FakeFilesystem) -> None:
    """An earlier build gave its request a MAC."""
    host = an_infiniband_host(fs)
    vf = vf_address(CARD, 0)
    apply.arrive(host, apply.look(host), {vf: {"mac": "82:00:00:00:00:01"}})
    assert apply.release(host, [vf]) == {}
    assert not [said for said in host.asked if "-batch" in said]


def test_a_vlan_of_such_a_vf_is_refused(fs: FakeFilesystem) -> None:
    host = an_infiniband_host(fs)
    with pytest.raises(SriovError, match="InfiniBand"):
        apply.arrive(host, apply.look(host), {vf_address(CARD, 0): {"vlan": "12"}})


def test_settings_of_such_a_vf_in_the_file_are_named_at_boot(fs: FakeFilesystem) -> None:
    host = an_infiniband_host(fs)
    wanted = sriov_conf.PfConfig(CARD, None, 2, {1: {"vlan": 12}}, GUID)
    assert "VF 1 was not set" in restore.apply_settings(host, inventory.look(host), {CARD: wanted})[CARD]


def test_configure_vf_says_that_it_has_no_such_settings(fs: FakeFilesystem) -> None:
    host = an_infiniband_host(fs)
    fs.create_dir("/run")
    with pytest.raises(SriovError, match="InfiniBand") as refused:
        configure_vf.configure_vf(host, OwnSession("none"), {"vf": vf_address(CARD, 0), "vlan": "12"})
    assert refused.value.code == "SRIOV_BAD_ARGUMENT"
