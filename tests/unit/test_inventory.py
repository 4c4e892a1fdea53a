"""`inventory`: PFs and VFs of hosts of all kinds, without asking xapi."""

import errno
import json
import os
from pathlib import Path
from typing import Any, Dict, List, Optional

import machine
import one_host
import pytest
from machine import Machine
from machine_description import SATA, Card, Interface, Sriov, default_description
from one_host import call, odd
from sriovlib.calls import table
from sriovlib.config import sriov_conf
from sriovlib.machine import xenstored
from sriovlib.pool import told
from sriovlib.pool.told import Told, of_text
from sriovlib.vf import host_inventory, pciback, start_notes
from sriovlib.vf.inventory_json import HostInventory, OtherPlugin
from sriovlib.xapi.own_session import OwnSession

PF = "/sys/bus/pci/devices/{}"


def inventory(host: Machine) -> Any:
    return call(host, None, "inventory")


def make_vfs(host: Machine, address: str, count: int) -> None:
    host.write_attribute(PF.format(address) + "/sriov_numvfs", str(count))


def codes(pf: Dict[str, Any]) -> List[str]:
    return [problem["code"] for problem in pf["problems"]]


def host_with(folder: Path, *cards: Card, **changes: Any) -> Machine:
    management = default_description().cards[0]
    return machine.default_host(str(folder), cards=(management, *cards), **changes)


def test_a_two_port_82599_with_all_its_vfs(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path))
    make_vfs(host, "0000:07:00.0", 63)
    make_vfs(host, "0000:07:00.1", 63)
    answer = inventory(host)
    assert [pf["address"] for pf in answer["pfs"]] == ["0000:02:00.0", "0000:07:00.0", "0000:07:00.1"]
    pf = answer["pfs"][1]
    assert (pf["interface"], pf["total_vfs"], pf["num_vfs"], pf["driver"]) == ("eth1", 63, 63, "ixgbe")
    assert pf["description"] == "Intel Corporation 82599ES 10-Gigabit SFI/SFP+ Network Connection"
    vfs = answer["vfs"]
    assert len(vfs) == 126
    assert [vf["index"] for vf in vfs] == list(range(63)) * 2  # by PF, then by index: 10 after 9
    assert [vf["address"] for vf in vfs[:2]] == ["0000:07:10.0", "0000:07:10.2"]
    assert vfs[63]["address"] == "0000:07:10.1"
    assert (vfs[0]["vendor_id"], vfs[0]["device_id"]) == ("8086", "10ed")
    assert vfs[0]["mac"] == "00:00:00:00:00:00"
    assert answer["host_uuid"] == default_description().host_uuid


@pytest.mark.parametrize(
    ("recording", "drivers"),
    [
        ("xen-1-before-vfs", []),
        ("xen-2-seven-vfs-on-two-pfs", ["igbvf"] * 14),
        ("xen-3-one-vf-on-pciback", ["pciback"] + ["igbvf"] * 13),
    ],
)
def test_a_recorded_host(tmp_path: Path, recording: str, drivers: List[str]) -> None:
    answer = inventory(machine.from_recording(str(tmp_path), recording))
    assert [vf["driver"] for vf in answer["vfs"]] == drivers
    assert [vf["state"] for vf in answer["vfs"]] == [None if d == "pciback" else "dom0" for d in drivers]
    assert [pf["device_id"] for pf in answer["pfs"]] == ["10c9", "10c9"]
    own = {name: address for name, address in answer["interfaces"].items() if address[8:] == "00.0"}
    assert sorted(own.values()) == ["0000:01:00.0", "0000:02:00.0"]
    assert "0000:00:02.0" in answer["interfaces"].values()  # virtio's, which has no PCI device of its own


@pytest.mark.parametrize("recording", ["xen-2-seven-vfs-on-two-pfs", "xen-3-one-vf-on-pciback"])
def test_the_master_reads_what_the_host_wrote(tmp_path: Path, recording: str) -> None:
    host = machine.from_recording(str(tmp_path), recording)
    told = host_inventory.read(host)
    assert HostInventory.from_json(json.loads(json.dumps(told.to_json()))) == told


def test_a_host_that_tells_something_else_is_told_apart_from_the_others(tmp_path: Path) -> None:
    """What one host answers, whatever it puts in the place of a name, must not cost the pool its answer."""
    told = host_inventory.read(machine.from_recording(str(tmp_path), "xen-3-one-vf-on-pciback")).to_json()
    told["failures"] = {"host": "a line is wrong"}
    fields = [(kind, name) for kind in ("pfs", "vfs") for name in ("driver", "numa_node", "vendor_id")]
    fields += [("pfs", "management"), ("pfs", "guid"), ("vfs", "interface"), ("vfs", "index")]
    assert of_text(json.dumps(told)).devices
    odd_values: List[Any] = [[], {}, [None]]
    for kind, name in fields:
        for odd_value in odd_values:
            changed = {**told, kind: [{**told[kind][0], name: odd_value}, *told[kind][1:]]}
            with pytest.raises(OtherPlugin):
                of_text(json.dumps(changed))
    for name in ("failures", "starting", "interfaces"):
        with pytest.raises(OtherPlugin):
            of_text(json.dumps({**told, name: {"0000:07:10.0": None}}))


def facts(of: Told) -> Any:
    shown = of.version, of.owners_known, of.running, of.starting, of.devices, of.digest, of.packed
    return (*shown, of.inventory)


@pytest.mark.parametrize("xenstore", ["answers", "silent"])
@pytest.mark.parametrize("recording", [None, "xen-2-seven-vfs-on-two-pfs", "xen-3-one-vf-on-pciback"])
def test_the_master_knows_of_itself_what_it_would_tell(
    tmp_path: Path, recording: Optional[str], xenstore: str
) -> None:
    host = machine.from_recording(str(tmp_path), recording) if recording else busy_host(tmp_path)
    if xenstore == "silent":
        os.unlink(host.path(xenstored.SOCKET))
    assert facts(told.of_own(host)) == facts(told.of_inventory(host_inventory.read(host)))


def busy_host(folder: Path) -> Machine:
    """A VM runs with a VF, another one starts, and a third VF has a driver of dom0's."""
    host = machine.default_host(str(folder))
    make_vfs(host, "0000:07:00.0", 4)
    host.replace_file(sriov_conf.PATH, b"[pf 0000:07:00.0]\nvfs = 5\n[vf 0000:07:00.0 1]\nvlan = 5\n")
    host.start_domain("11111111-2222-4333-8444-555555555555", "web", ["0000:07:10.0"])
    start_notes.write(host, "22222222-2222-4333-8444-555555555555", ["0000:07:10.2"], {}, {})
    own = told.of_own(host)
    assert (list(own.running), list(own.starting)) == (["0000:07:10.0"], ["0000:07:10.2"])
    return host


def test_a_guest_that_runs_with_a_vf(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path))
    make_vfs(host, "0000:07:00.0", 4)
    uuid = "11111111-2222-4333-8444-555555555555"
    host.start_domain(uuid, "web", ["0000:07:10.4"])
    vf = inventory(host)["vfs"][2]
    assert vf["state"] == "in-use"
    assert vf["assigned_to"] == {"vm_uuid": uuid, "vm_name": "web", "power_state": None}


def test_the_management_port_is_known_without_xapi(tmp_path: Path) -> None:
    pfs = inventory(machine.default_host(str(tmp_path)))["pfs"]
    assert [pf["management"] for pf in pfs] == [True, False, False]
    assert "PF_NEEDED_BY_DOM0" in codes(pfs[0])


@pytest.mark.parametrize("kind", ["bridge", "openvswitch"])
def test_management_on_a_vlan_on_a_bond(tmp_path: Path, kind: str) -> None:
    interfaces = (
        Interface("bond0", "bond", ("eth0", "eth1")),
        Interface("xapi0", kind, ("bond0",)),
        Interface("bond0.100", "vlan", ("bond0",), tag=100),
        Interface("xapi1", kind, ("bond0.100",), ipv4="192.168.1.11/24"),
    )
    host = machine.default_host(str(tmp_path), interfaces=interfaces, management_interface="xapi1")
    assert [pf["management"] for pf in inventory(host)["pfs"]] == [True, True, False]


def test_hosts_without_any(tmp_path: Path) -> None:
    plain = default_description().cards[0]._replace(sriov=None)
    answer = inventory(machine.default_host(str(tmp_path), cards=(plain,)))
    assert (answer["pfs"], answer["vfs"]) == ([], [])


def test_an_nvme_pf_without_an_interface(tmp_path: Path) -> None:
    nvme = Card(
        ("0000:0a:00.0",),
        "1b36:0010",
        "NVMe",
        "nvme",
        pci_class="010802",
        sriov=Sriov(4, "0010", offset=1, stride=1),
    )
    host = host_with(tmp_path, nvme)
    make_vfs(host, "0000:0a:00.0", 2)
    answer = inventory(host)
    pf = answer["pfs"][1]
    assert (pf["interface"], pf["mac"], pf["link_up"], pf["num_vfs"]) == (None, None, None, 2)
    assert [vf["address"] for vf in answer["vfs"]] == ["0000:0a:00.1", "0000:0a:00.2"]
    assert (answer["vfs"][0]["mac"], answer["vfs"][0]["trust"]) == (None, None)


def test_a_pf_without_a_driver(tmp_path: Path) -> None:
    pf = inventory(
        host_with(tmp_path, Card(("0000:0b:00.0",), "8086:37c8", "QAT", None, sriov=Sriov(16, "37c9")))
    )
    assert codes(pf["pfs"][1]) == ["DRIVER_WITHOUT_SRIOV"]


@pytest.mark.parametrize(
    ("holder", "how"), [(None, "has no driver in dom0"), ("pciback", "is held as a whole by pciback")]
)
def test_vfs_whose_pf_has_lost_its_driver(tmp_path: Path, holder: Optional[str], how: str) -> None:
    """findings/nvme-vfs-outlive-their-pf-driver.sh: nothing else can set or remove them."""
    drive = "0000:1b:00.0"
    sriov = Sriov(8, "a824", driver="nvme")
    host = host_with(tmp_path, Card((drive,), "144d:a824", "SSD", "nvme", pci_class="010802", sriov=sriov))
    make_vfs(host, drive, 2)
    assert "DRIVER_WITHOUT_SRIOV" not in codes(inventory(host)["pfs"][1])
    host.write_attribute("/sys/bus/pci/drivers/nvme/unbind", drive)
    if holder:
        pciback.load(host)
        pciback.take(host, drive)
    answer = inventory(host)
    problem = answer["pfs"][1]["problems"][0]
    assert (problem["code"], len(answer["vfs"])) == ("DRIVER_WITHOUT_SRIOV", 2)
    assert f"{how}, so its 2 VFs may not work, and can be neither set nor removed" in problem["message"]
    assert f"Give {drive} back to the driver that made them" in problem["hint"]


def test_a_driver_without_sriov_is_known_by_the_kernels_words(tmp_path: Path) -> None:
    host = one_host.host_with(tmp_path, in_driver=False)
    assert codes(inventory(host)["pfs"][1]) == []  # nothing is known until somebody tries
    with pytest.raises(OSError, match="Errno"):
        make_vfs(host, "0000:07:00.0", 2)
    assert codes(inventory(host)["pfs"][1]) == ["DRIVER_WITHOUT_SRIOV"]


@pytest.mark.parametrize(("lacking", "code"), [("mmio", "NO_MMIO_SPACE"), ("buses", "NO_BUS_NUMBERS")])
def test_problem_of_scarce_firmware_resources(tmp_path: Path, lacking: str, code: str) -> None:
    host = one_host.host_with(tmp_path, lacking=lacking)
    with pytest.raises(OSError, match="Errno"):
        make_vfs(host, "0000:07:00.0", 63)
    assert code in codes(inventory(host)["pfs"][1])


def test_sriov_off_in_the_cards_firmware(tmp_path: Path) -> None:
    host = one_host.host_with(tmp_path, total=0)
    assert codes(inventory(host)["pfs"][1]) == ["SRIOV_OFF_IN_FIRMWARE"]


def test_a_port_that_is_down(tmp_path: Path) -> None:
    host = one_host.host_with(tmp_path, {"up": False})
    pf = inventory(host)["pfs"][1]
    assert pf["link_up"] is False
    assert codes(pf) == ["PF_DOWN"]


def test_five_digit_pci_domains_come_last(tmp_path: Path) -> None:
    card = default_description().cards[1]._replace(addresses=("10000:01:00.0",), interfaces=("eth1",))
    host = host_with(tmp_path, card)
    make_vfs(host, "10000:01:00.0", 3)
    answer = inventory(host)
    assert [pf["address"] for pf in answer["pfs"]] == ["0000:02:00.0", "10000:01:00.0"]
    assert answer["vfs"][2]["address"] == "10000:01:10.4"


def test_devices_that_vanish_while_they_are_read(tmp_path: Path) -> None:
    def is_gone(path: str) -> bool:
        return "0000:07:10.2" in path or path.startswith("/sys/bus/pci/devices/0000:07:00.1/")

    class Vanishing(Machine):
        def read_bytes(self, path: str) -> bytes:
            if is_gone(path):
                raise FileNotFoundError(path)
            return super().read_bytes(path)

        def link(self, path: str) -> Optional[str]:
            return None if is_gone(path) else super().link(path)

        def exists(self, path: str) -> bool:
            return not is_gone(path) and super().exists(path)

    make_vfs(machine.default_host(str(tmp_path)), "0000:07:00.0", 4)
    answer = inventory(Vanishing(str(tmp_path)))
    assert [pf["address"] for pf in answer["pfs"]] == ["0000:02:00.0", "0000:07:00.0"]
    assert [vf["index"] for vf in answer["vfs"]] == [0, 2, 3]


def test_no_commands_at_all_cost_what_they_would_tell(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path))
    make_vfs(host, "0000:07:00.0", 2)
    told = inventory(odd(host, "start", lambda start, *_: start(["no-such-command"])))
    assert (len(told["vfs"]), told["owners_known"], told["cpu_nodes"]) == (2, True, {})


def test_a_xenstore_that_does_not_answer_costs_the_owners(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path))
    make_vfs(host, "0000:07:00.0", 2)
    os.unlink(host.path(xenstored.SOCKET))
    told = inventory(host)
    assert (len(told["vfs"]), told["owners_known"], told["domains"]) == (2, False, None)


def test_a_kernel_that_tells_nothing_of_interfaces_costs_settings_and_closes_ports(tmp_path: Path) -> None:
    def refuses(_netlink: Any, _request: bytes) -> Any:
        raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")

    host = machine.default_host(str(tmp_path))
    make_vfs(host, "0000:07:00.0", 2)
    told = inventory(odd(host, "netlink", refuses))
    assert [vf["mac"] for vf in told["vfs"]] == [None, None]
    (problem,) = [one for pf in told["pfs"] for one in pf["problems"] if one["code"] == "SETTINGS_UNKNOWN"]
    assert problem["message"].endswith("the kernel does not tell of eth1: Protocol not supported.")
    assert "may have an IP address" in str(told["needed"]["0000:07:00.1"])


def test_texts_that_xapi_could_not_carry_are_made_safe(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path))
    ids = host.read_bytes("/usr/share/hwdata/pci.ids")
    host.replace_file(
        "/usr/share/hwdata/pci.ids", ids.replace(b"82599ES", b"82\x00\x1b[31m\xff599\x7f\xef\xbf\xbeES")
    )
    text = table.call(host, "inventory", OwnSession("none"), {})
    assert text.isascii() if hasattr(text, "isascii") else text.encode("ascii")
    description = json.loads(text)["pfs"][1]["description"]
    assert description.startswith("Intel Corporation 82\ufffd\ufffd[31m\ufffd599\ufffd\ufffdES")


def test_more_than_a_hundred_vfs_of_one_port(tmp_path: Path) -> None:
    host = one_host.host_with(tmp_path, total=130, offset=128, stride=2)
    make_vfs(host, "0000:07:00.0", 130)
    assert [vf["index"] for vf in inventory(host)["vfs"]] == list(range(130))


def test_devices_that_dom0_needs_without_xapi(tmp_path: Path) -> None:
    assert inventory(machine.default_host(str(tmp_path)))["needed"] == {
        "0000:02:00.0": ["the management interface eth0"],
        SATA: ["the mounted file system /", "swap"],
    }
