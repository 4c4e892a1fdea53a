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
