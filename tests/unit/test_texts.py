"""What dom0's commands and files print, old and new, read as the library reads them."""

import json
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

import pytest
from machine import Done
from sriovlib.config import vf_settings
from sriovlib.machine import pci_ids, xen, xenstore
from sriovlib.machine.command import Completed
from sriovlib.machine.host import Host
from sriovlib.vf import ip_link

RECORDINGS = Path(__file__).parent.parent / "imitation" / "machine" / "recordings"


def recorded(name: str) -> Dict[str, Any]:
    meta: Dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())["meta"]
    return meta


def said(stdout: str = "", status: int = 0, stderr: str = "") -> Completed:
    return Completed(["command"], status, stdout, stderr)


def test_vf_settings_as_a_new_ip_prints_them() -> None:
    vfs = ip_link.parse(said(recorded("xen-3-one-vf-on-pciback")["ip_link"]))["enp1s0"]
    assert sorted(vfs) == list(range(7))
    assert vfs[0] == vf_settings.VfSettings(
        "02:11:22:33:44:55", 100, 3, "802.1q", 0, 100, spoof_check=True, trust=False, link_state="auto"
    )
    assert (vfs[1].vlan, vfs[1].max_tx_rate, vfs[1].spoof_check, vfs[1].trust) == (0, 0, False, True)


def test_text_and_json_of_the_same_ip_agree() -> None:
    meta = recorded("xen-2-seven-vfs-on-two-pfs")
    by_text = ip_link.parse(said(meta["ip_link"]))
    for link in json.loads(meta["ip_link_json"]):
        for vf in link.get("vfinfo_list", []):
            settings = by_text[link["ifname"]][vf["vf"]]
            assert settings.mac == vf["address"]
            assert settings.spoof_check == vf["spoofchk"]
            assert settings.trust == vf["trust"]
            assert settings.link_state == vf["link_state"]


def test_vf_settings_as_the_ip_of_centos_7_prints_them() -> None:
    text = (
        "6: eth4: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq master ovs-system state UP\n"
        "    link/ether 00:1b:21:00:01:00 brd ff:ff:ff:ff:ff:ff promiscuity 1 \n"
        "    vf 0 MAC 02:AA:00:00:00:01, vlan 12, qos 3, vlan protocol 802.1ad, tx rate 500 (Mbps), "
        "max_tx_rate 500Mbps, min_tx_rate 100Mbps, spoof checking off, link-state enable, trust on\n"
        "    vf 10 MAC 00:00:00:00:00:00, tx rate 200 (Mbps)\n"
    )
    vfs = ip_link.parse(said(text))["eth4"]
    assert vfs[0] == vf_settings.VfSettings(
        "02:aa:00:00:00:01", 12, 3, "802.1ad", 100, 500, spoof_check=False, trust=True, link_state="enable"
    )
    assert vfs[10].max_tx_rate == 200
    assert (vfs[10].spoof_check, vfs[10].trust, vfs[10].link_state) == (None, None, None)


def test_an_ip_that_breaks_off_costs_what_it_had_not_printed_only() -> None:
    text = recorded("xen-3-one-vf-on-pciback")["ip_link"]
    assert ip_link.parse(said(text, status=1)) == ip_link.parse(said(text))
    assert ip_link.parse(said("", status=1)) == {}
    line = "6: eth4: <UP> mtu 1500\n    vf 0 MAC 02:aa:00:00:00:01\n    vf 1 MAC 02:aa:00:00:00:02, vlan 1"
    assert list(ip_link.parse(said(line, status=-9))["eth4"]) == [0]  # it may have been about to say 12
    assert ip_link.parse(said(line))["eth4"][1].vlan == 1


def test_ip_output_of_an_interface_that_is_not_complete() -> None:
    truncated = said("", stderr="Truncated VF list: eth4\n")
    assert ip_link.cut_off(truncated, "eth4") == "Truncated VF list: eth4"
    assert ip_link.cut_off(truncated, "eth40") is None
    for status in (1, 0):  # 0 from iproute2 4.12 on (findings/ip-link-show-gives-up-with-status-0.sh)
        gave_up = said("", status, stderr="Error: Buffer too small for object.\nDump terminated\n")
        assert ip_link.cut_off(gave_up, "eth4") == "Dump terminated"
    assert ip_link.cut_off(said("", status=1), "eth4") == "exit status 1"


def test_a_vfs_mac_where_the_interface_is_not_ethernet() -> None:
    """From iproute2 5.3 on it has 20 bytes then: cxgb4's interface for settings alone is `none`."""
    none, broadcast = ":00" * 14, "00:ff:ff:ff:ff:12:40:1b:ff:ff:00:00:00:00:00:00:ff:ff:ff:ff"
    text = (
        "7: mgmtpf0,0: <> mtu 0 qdisc noop state DOWN mode DEFAULT group default qlen 1000\n"
        "    link/none  promiscuity 0  allmulti 0 minmtu 0 maxmtu 0 addrgenmode eui64 numtxqueues 1 \n"
        f"    vf 0     link/none 06:44:3c:5a:00:01{none} brd 00:00:00:00:00:00{none}, vlan 12, "
        "tx rate 100 (Mbps), max_tx_rate 100Mbps, link-state auto\n"
        "8: ib0: <BROADCAST,MULTICAST> mtu 2044 qdisc mq state DOWN mode DEFAULT group default qlen 256\n"
        f"    vf 0     link/infiniband 00:00:00:00:00:00{none} brd {broadcast}, spoof checking off, "
        "NODE_GUID 00:00:00:00:00:00:00:00, PORT_GUID 00:00:00:00:00:00:00:00, link-state disable, "
        "trust off, query_rss off\n"
    )
    shown = ip_link.parse(said(text))
    vf = shown["mgmtpf0,0"][0]
    assert (vf.mac, vf.vlan, vf.max_tx_rate) == ("06:44:3c:5a:00:01", 12, 100)
    vf = shown["ib0"][0]
    assert (vf.mac, vf.trust, vf.link_state) == (None, False, "disable")


def test_vfs_behind_a_line_that_is_no_interface_are_nobodys() -> None:
    text = "6: eth4: <UP> mtu 1500\n: : <> mtu 0\n    vf 0 MAC 02:aa:00:00:00:01, vlan 12\n"
    assert ip_link.parse(said(text)) == {"eth4": {}}


def test_a_vlan_of_4095_is_none() -> None:
    """mlx4's way to say so."""
    line = "6: eth4: <UP> mtu 1500\n    vf 0 MAC 00:00:00:00:00:00, vlan 4095, spoof checking off\n"
    assert ip_link.parse(said(line))["eth4"][0].vlan == 0


@pytest.mark.parametrize(
    ("told", "link_state", "means"),
    [
        (25000, "auto", 0),
        (0, "auto", 0),
        (10000, "auto", 10000),
        (100000, "enable", 0),
        (40000, "auto", 40000),
    ],
)
def test_a_rate_as_high_as_the_link_is_none(told: int, link_state: str, means: int) -> None:
    """qede's way to say so."""
    vf = vf_settings.VfSettings(max_tx_rate=told, link_state=link_state)
    assert ip_link.without_speed({0: vf}, 25000)[0].max_tx_rate == means


def test_the_recorded_xen() -> None:
    with_iommu = xen.parse(said(recorded("xen-1-before-vfs")["xl_info"]))
    without = xen.parse(said(recorded("xen-5-no-iommu-one-vf-on-pciback")["xl_info"]))
    assert with_iommu
    assert without
    assert (with_iommu.version, with_iommu.iommu_active) == ("4.17.5", True)
    assert "spec-ctrl=eager-fpu" in with_iommu.options
    assert without.iommu_active is False


def test_without_xen_nothing_is_known() -> None:
    assert xen.parse(said(status=127)) is None
    assert xen.parse(said("nonsense\n")) is None


XENSTORE = """/local/domain/0/backend/pci/7 = ""
/local/domain/0/backend/pci/7/0 = ""
/local/domain/0/backend/pci/7/0/frontend = "/local/domain/7/device/pci/0"
/local/domain/0/backend/pci/7/0/dev-0 = "0000:07:10.0"
/local/domain/0/backend/pci/7/0/vdev-0 = "0000:00:00.00"
/local/domain/0/backend/pci/7/0/dev-1 = "0000:07:10.2"
/local/domain/0/backend/pci/7/0/num_devs = "2"
"""


class XenstoreHost(Host):
    """Domain 7 is a guest with an odd name; domain 8 has died, and left its backend behind; 9 has no name."""

    def start(self, argv: Sequence[str], _input: Optional[str] = None) -> Done:
        there = {
            "/local/domain/7/domid": "7",
            "/local/domain/7/vm": "/vm/0f1e2d3c-0000-4000-8000-0123456789ab",
            "/local/domain/7/name": "caf\\xc3\\xa9",
            "/local/domain/9/domid": "9",
            "/local/domain/9/vm": "/vm/0f1e2d3c-0000-4000-8000-0123456789ab",
        }
        gone = [path for path in argv[1:] if path not in there]
        if gone:
            return Done(said("", 1, f"xenstore-read: couldn't read path {gone[0]}"))
        return Done(said("".join(there[path] + "\n" for path in argv[1:])))


CAFE = xenstore.Domain(7, "0f1e2d3c-0000-4000-8000-0123456789ab", "caf\u00e9")


def test_running_domains_and_their_devices() -> None:
    owners = xenstore.owners(XenstoreHost(), said(XENSTORE))
    assert owners == {"0000:07:10.0": CAFE, "0000:07:10.2": CAFE}


def test_a_domain_that_died_holds_nothing_and_one_without_a_name_keeps_its_uuid() -> None:
    dead = XENSTORE.replace("pci/7", "pci/8").replace("07:10", "07:11")
    nameless = XENSTORE.replace("pci/7", "pci/9").replace("07:10", "07:12")
    owners = xenstore.owners(XenstoreHost(), said(XENSTORE + dead + nameless))
    assert owners
    assert sorted(owners) == ["0000:07:10.0", "0000:07:10.2", "0000:07:12.0", "0000:07:12.2"]
    assert owners["0000:07:10.0"] == CAFE
    assert owners["0000:07:12.0"] == CAFE._replace(domid=9, name=None)


def test_no_backend_folder_is_no_domain_and_no_xenstore_is_no_answer() -> None:
    none = "xenstore-ls: xs_directory (/local/domain/0/backend/pci): No such file or directory\n"
    assert xenstore.owners(Host(), said("", 1, none)) == {}
    assert xenstore.owners(Host(), said("", 1, "xenstore-ls: xs_open: No such file or directory\n")) is None
    assert xenstore.owners(Host(), said("", 127, "No such file or directory")) is None


PCI_IDS = """# comment
8086  Intel Corporation
\t10ed  82599 Ethernet Controller Virtual Function
\t10fb  82599ES 10-Gigabit SFI/SFP+ Network Connection
\t\t8086 0003  Ethernet Server Adapter X520-2
# in between
\t1521  I350 Gigabit Network Connection
8087  Intel Corp. (other)
\t1572  not this one
C 02  Network controller
"""


def test_names_of_devices_from_pci_ids(tmp_path: Path) -> None:
    (tmp_path / "usr/share/hwdata").mkdir(parents=True)
    (tmp_path / "usr/share/hwdata/pci.ids").write_text(PCI_IDS)
    names = pci_ids.descriptions(
        Host(str(tmp_path)), [("8086", "10ed"), ("8086", "1521"), ("8086", "1572"), ("1111", "10ed")]
    )
    assert names == {
        ("8086", "10ed"): "Intel Corporation 82599 Ethernet Controller Virtual Function",
        ("8086", "1521"): "Intel Corporation I350 Gigabit Network Connection",
        ("8086", "1572"): None,
        ("1111", "10ed"): None,
    }
    assert pci_ids.descriptions(Host(str(tmp_path / "none")), [("8086", "10ed")]) == {("8086", "10ed"): None}
