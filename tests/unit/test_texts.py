"""What dom0's commands and files print, old and new, read as the library reads them."""

import json
from pathlib import Path
from typing import Any, Dict

import pytest
from sriovlib.config import vf_settings
from sriovlib.machine import pci_ids, xen
from sriovlib.machine.command import Completed
from sriovlib.machine.host import Host
from sriovlib.vf import kernel_settings

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
    assert kernel_settings.without_speed({0: vf}, 25000)[0].max_tx_rate == means


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
