"""Which GPUs' VFs are xapi's, by its PGPU records, and where it does not tell, by their driver."""

from typing import Any, Dict, List, Optional

import pytest
import query
from answering_host import AnsweringHost
from pyfakefs.fake_filesystem import FakeFilesystem
from sriovlib.calls import list_vfs
from sriovlib.errors import SriovError
from sriovlib.machine import dom0_devices, vgpus
from sriovlib.machine.pci import PhysicalFunction
from sriovlib.pool import hosts
from sriovlib.pool.state import Silence
from sriovlib.starts import reboot
from sriovlib.starts.judge import Device
from sriovlib.vf import host_inventory, in_use, inventory, restore

A40, VF = "0000:41:00.0", "0000:41:00.4"


def card(fs: FakeFilesystem, driver: Optional[str], pci_class: str = "30200", vfs: int = 1) -> AnsweringHost:
    """A card with one VF that the PF's driver has."""
    top = "/sys/bus/pci/devices"
    bound = f"DRIVER={driver}\n" if driver else ""
    fs.create_file(f"{top}/{A40}/uevent", contents=f"{bound}PCI_CLASS={pci_class}\nPCI_ID=10DE:2235\n")
    fs.create_file(f"{top}/{A40}/sriov_totalvfs", contents="32\n")
    fs.create_file(f"{top}/{A40}/sriov_numvfs", contents=f"{vfs}\n")
    if vfs:
        fs.create_file(f"{top}/{VF}/uevent", contents=f"{bound}PCI_CLASS={pci_class}\nPCI_ID=10DE:2235\n")
        fs.create_symlink(f"{top}/{VF}/driver", f"../../../bus/pci/drivers/{driver}")
        fs.create_symlink(f"{top}/{A40}/virtfn0", f"../{VF}")
    fs.create_file("/etc/xensource-inventory", contents="INSTALLATION_UUID='8c2f7d8e'\n")
    return AnsweringHost({"xenstore": {}})


def gpu(driver: str, vfs: int = 0) -> PhysicalFunction:
    return PhysicalFunction(A40, "10de", "2235", driver, None, 32, vfs, (), "030200", (), (), None)


def held(host: AnsweringHost) -> List[str]:
    (pf,) = host_inventory.read(host).to_json()["pfs"]
    return [problem["code"] for problem in pf["problems"] if problem["code"] == "VF_HELD_BY_DOM0"]


def only_vf(host: AnsweringHost) -> Dict[str, Any]:
    (vf,) = list_vfs.vf_records(inventory.look(host), Silence("it restarts"))
    return vf


@pytest.mark.parametrize("driver", ["nvidia", "gim"])
def test_while_xapi_is_silent_a_gpu_is_known_by_its_driver(fs: FakeFilesystem, driver: str) -> None:
    host = card(fs, driver)
    seen, silence = inventory.look(host), Silence("it restarts")
    vfs = host_inventory.vf_states(seen)
    pfs = list_vfs.pf_states(host, seen, vfs, {}, silence)
    (pf,) = list_vfs.pf_records(seen, pfs, list_vfs.joined(seen, vfs, silence), silence)
    vf = only_vf(host)
    assert (vf["state"], pf["managed_by"], pf["free_vfs"]) == ("reserved", "xapi", 0)
    assert held(host) == []


@pytest.mark.parametrize(("driver", "pci_class"), [("nouveau", "30200"), ("gim", "20000")])
def test_vgpu_of_another_device_class_is_no_gpu(fs: FakeFilesystem, driver: str, pci_class: str) -> None:
    host = card(fs, driver, pci_class)
    assert only_vf(host)["state"] == "dom0"
    assert held(host) == ["VF_HELD_BY_DOM0"]


def test_at_boot_no_vfs_of_it_are_made(fs: FakeFilesystem) -> None:
    host = card(fs, "nvidia", vfs=0)
    (pf,) = inventory.look(host).pfs
    with pytest.raises(SriovError) as error:
        restore._must_be_ours(pf, inventory.look(host))
    assert error.value.code == "SRIOV_MANAGED_BY_XAPI"


@pytest.mark.parametrize(
    ("driver", "told", "of_vfs", "of_pf"),
    [
        ("nvidia", {A40: True}, True, True),
        ("pciback", {A40: True}, True, True),  # xapi has given it to a VM as a whole, or means to
        ("nvidia", {A40: False}, True, False),
        ("nvidia", {}, True, True),
        ("nouveau", {A40: False}, False, False),
        ("nouveau", {}, False, False),
    ],
)
def test_gpu_without_vfs_may_be_xapis(driver: str, told: Dict[str, bool], of_vfs: bool, of_pf: bool) -> None:
    assert vgpus.gives_vfs(gpu(driver), told) == of_vfs
    assert vgpus.needs_pf(gpu(driver), told) == of_pf
    assert vgpus.needs_pf(gpu(driver, vfs=4), told) == of_vfs


def test_the_vfs_and_the_pf_are_needed(fs: FakeFilesystem) -> None:
    seen = inventory.look(card(fs, "nouveau"))
    known = dom0_devices.NOTHING._replace(vgpus={A40: True})
    found = dom0_devices.needs(AnsweringHost(), seen.pfs, seen.vfs, seen.network, known, {})
    assert found[A40] == found[VF] == ("xapi's vGPUs",)
    with pytest.raises(SriovError) as error:
        in_use.gives_no_vgpus(seen.pfs[0], known.vgpus)
    assert error.value.code == "SRIOV_MANAGED_BY_XAPI"


@pytest.mark.parametrize("carried", dom0_devices.XAPIS)
def test_vgpu_from_xapi_stays_with_its_vm_at_a_reboot(carried: str) -> None:
    device = Device(VF, True, A40, "10de:2235", (carried,), None)
    assert reboot._is_xapis(device)
    assert not reboot._is_xapis(device._replace(carries=("the mounted file system /",)))


class Xapi:
    """Answers with these records, and notes what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: List[str] = []

    def call(self, method: str, *params: Any) -> Any:
        self.asked.append(method)
        name = method.split(".")[1] if method.startswith("PCI.") else method.split(".")[0]
        return self.answers[name][params[0]] if name == "get_pci_id" else self.answers[name]


@pytest.mark.parametrize("implementation", ["nvidia_sriov", "mxgpu", "nvidia", "gvt_g"])
def test_xapi_is_asked_for_types_of_vgpus_whether_they_are_vfs_or_parts(implementation: str) -> None:
    """A T4 can SR-IOV, and its vGPUs are parts of the PF (`nvidia`): no VM may have it as a whole."""

    def matches(row: Dict[str, str]) -> bool:
        return query.parse(hosts._VGPU_TYPES)(lambda name: row[name])

    assert matches({"implementation": implementation})
    assert not matches({"implementation": "passthrough"})
    xapi: Any = Xapi(
        PGPU={
            "a": {"PCI": "pci-a", "supported_VGPU_types": ["whole", "quarter"]},
            "b": {"PCI": "pci-b", "supported_VGPU_types": ["whole"]},
        },
        VGPU_type={"quarter": {}},
        get_pci_id={"pci-a": A40, "pci-b": "0000:00:02.0"},
    )
    told = hosts.gpus(xapi, "host", [gpu("nvidia")])
    assert told == {A40: True, "0000:00:02.0": False}


def test_on_a_host_without_a_gpu_it_is_not_asked() -> None:
    xapi: Any = Xapi()
    assert hosts.gpus(xapi, "host", [gpu("ixgbe")._replace(pci_class="020000")]) == {}
    assert xapi.asked == []
