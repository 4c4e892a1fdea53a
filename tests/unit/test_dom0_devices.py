"""What of dom0 is on which device: what a VM that names the device would take away."""

from pathlib import Path
from typing import Any, Dict, Tuple

import machine
from machine import Machine
from machine_description import SATA, Card, Disk, default_description
from sriovlib.machine import dom0_devices, management_network, pci
from sriovlib.machine.dom0_devices import NOTHING, Known

ETH0, ETH1, ETH2 = "0000:02:00.0", "0000:07:00.0", "0000:07:00.1"
VF = "0000:07:10.0"
HBA, NVME = "0000:04:00.0", "0000:05:00.0"


def needs(
    host: Machine,
    known: Known = NOTHING,
    of_vms: Dict[str, str] = {},  # noqa: B006 - nobody changes it
) -> Dict[str, Tuple[str, ...]]:
    pfs, vfs = pci.functions(host)
    standing = management_network.look(host)
    return dom0_devices.needs(host, pfs, vfs, standing, known, of_vms)


def with_vfs(host: Machine, count: int = 2) -> Machine:
    host.write_attribute(f"/sys/bus/pci/devices/{ETH1}/sriov_numvfs", str(count))
    return host


def controllers(*disks: Disk) -> Dict[str, Any]:
    """A host with two more controllers, and these disks."""
    more = (
        Card((HBA,), "1000:005d", "MegaRAID SAS-3", "megaraid_sas", pci_class="010400"),
        Card((NVME,), "144d:a808", "NVMe SSD", "nvme", pci_class="010802"),
    )
    return {"cards": default_description().cards + more, "disks": disks}


def test_a_usual_host(tmp_path: Path) -> None:
    assert needs(machine.default_host(str(tmp_path))) == {
        ETH0: ("the management interface eth0",),
        SATA: ("the mounted file system /", "swap"),
    }


def test_an_attached_pif_on_a_pf_and_on_a_vf(tmp_path: Path) -> None:
    host = with_vfs(machine.default_host(str(tmp_path), blacklist=()))
    (name,) = host.names(f"/sys/bus/pci/devices/{VF}/net")
    found = needs(host, Known({"eth2", name}, set(), ()))
    assert found[ETH2] == ("the network interface eth2, which an attached PIF uses",)
    assert found[VF] == (f"the network interface {name}, which an attached PIF uses",)
    assert found[ETH1] == found[VF]  # the VF goes with its PF


def test_a_pf_whose_vfs_vms_have(tmp_path: Path) -> None:
    found = needs(with_vfs(machine.default_host(str(tmp_path))), of_vms={VF: "web"})
    assert found[ETH1] == (f"the VF {VF} of web",)
    assert VF not in found  # to whom it belongs is another question


def test_xapis_own_sriov_has_the_pf_and_all_its_vfs(tmp_path: Path) -> None:
    found = needs(with_vfs(machine.default_host(str(tmp_path))), Known(set(), {"eth1"}, ()))
    assert {address for address in found if "xapi's own SR-IOV" in found[address]} == {
        ETH1,
        VF,
        "0000:07:10.2",
    }


def test_file_systems_through_lvm_multipath_and_raid(tmp_path: Path) -> None:
    host = machine.default_host(
        str(tmp_path),
        **controllers(
            Disk("sda", (HBA,), parts=(("sda1", "/boot"), ("sda2", ""))),
            Disk("sdb", (SATA,), parts=(("sdb1", ""),)),
            Disk("md127", ("sda2", "sdb1")),
            Disk("dm-0", ("md127",), use="/"),
            Disk("dm-1", ("md127",), use="swap"),
            Disk("sdc", (NVME,), use="/mnt/a b"),
        ),
    )
    found = needs(host)
    assert found[HBA] == ("the mounted file system /boot", "the mounted file system /", "swap")
    assert found[SATA] == ("the mounted file system /", "swap")
    assert found[NVME] == ("the mounted file system /mnt/a b",)


def test_the_recorded_host(tmp_path: Path) -> None:
    host = machine.from_recording(str(tmp_path), "xen-2-seven-vfs-on-two-pfs")
    assert needs(host) == {"0000:00:02.0": ("the management interface enp0s2",)}
