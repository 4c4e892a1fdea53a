"""Cards with other ports than one a function: which port, which network and which settings a VF has."""

from typing import Any, Dict, List, Optional

import pytest
from answering_host import DEVICES, AnsweringHost, add_interface, add_pf, shows, vf_address
from pyfakefs.fake_filesystem import FakeFilesystem
from sriovlib.calls import configure_vf
from sriovlib.errors import SriovError
from sriovlib.machine import pci, vgpus
from sriovlib.pool import candidates
from sriovlib.pool.hosts import Member
from sriovlib.pool.networks import Network
from sriovlib.vf import apply, host_inventory, inventory
from sriovlib.vf.inventory_json import HostInventory
from sriovlib.xapi.own_session import OwnSession

CONNECTX3 = "0000:03:00.0"
PARAMETER = "/sys/module/mlx4_core/parameters/num_vfs"


def connectx3(fs: FakeFilesystem, num_vfs: str, vfs: int, ports: int = 2) -> AnsweringHost:
    """A card with two ports on one function, of which eth1 is the first and eth2 the second."""
    attributes = {f"mlx4_port{number}": "eth" for number in range(1, ports + 1)}
    add_pf(fs, CONNECTX3, "15b3:1003", "mlx4_core", vfs, pci_class="028000", attributes=attributes)
    for number in range(ports):
        add_interface(fs, CONNECTX3, f"eth{number + 1}", f"00:02:c9:00:00:0{number + 1}", dev_port=number)
    fs.create_file(PARAMETER, contents=num_vfs + "\n")
    return AnsweringHost(shows("eth1", "eth2", vfs=vfs))


def ports_of_vfs(host: AnsweringHost) -> List[Optional[str]]:
    return [vf["interface"] for vf in host_inventory.read(host).to_json()["vfs"]]


def problems(host: AnsweringHost) -> Dict[str, str]:
    (pf,) = host_inventory.read(host).to_json()["pfs"]
    return {problem["code"]: problem["message"] for problem in pf["problems"]}


@pytest.mark.parametrize(
    ("num_vfs", "vfs", "expected"),
    [
        ("2,2,0", 4, ["eth1", "eth1", "eth2", "eth2"]),
        ("2,2", 4, ["eth1", "eth1", "eth2", "eth2"]),
        ("0,3,0", 3, ["eth2", "eth2", "eth2"]),
        ("1,1,2", 4, ["eth1", "eth2", None, None]),
        ("4", 4, [None, None, None, None]),  # one number is of both ports
        ("0000:03:00.0-1;1;0,0000:04:00.0-4", 2, ["eth1", "eth2"]),  # as the vendor's driver takes it
        ("03:00.0-1;1,04:00.0-4", 2, ["eth1", "eth2"]),
        ("0000:04:00.0-1;1;0", 2, [None, None]),  # of another card
        ("2,2,0", 3, [None, None, None]),  # the VFs were not made by these numbers
        ("", 2, [None, None]),
        ("many", 2, [None, None]),
    ],
)
def test_the_vfs_of_a_card_with_two_ports_are_on_the_port_that_the_driver_put_them_on(
    fs: FakeFilesystem, num_vfs: str, vfs: int, expected: List[Optional[str]]
) -> None:
    assert ports_of_vfs(connectx3(fs, num_vfs, vfs)) == expected


def test_the_parameter_has_another_name_or_cannot_be_read(fs: FakeFilesystem) -> None:
    host = connectx3(fs, "2,2,0", 4)
    fs.rename(PARAMETER, PARAMETER.replace("num_vfs", "port_vfs"))
    assert ports_of_vfs(host) == ["eth1", "eth1", "eth2", "eth2"]
    fs.remove(PARAMETER.replace("num_vfs", "port_vfs"))
    assert ports_of_vfs(host) == [None] * 4
    assert "num_vfs does not tell" in problems(host)["PORT_UNKNOWN"]


def test_a_card_of_that_driver_with_one_port(fs: FakeFilesystem) -> None:
    assert ports_of_vfs(connectx3(fs, "4", 4, ports=1)) == ["eth1"] * 4


def test_a_port_that_dom0_has_no_interface_of(fs: FakeFilesystem) -> None:
    """The second port is InfiniBand, say, and ib_ipoib is not loaded."""
    host = connectx3(fs, "1,1,0", 2)
    fs.remove_object(f"{DEVICES}/{CONNECTX3}/net/eth2")
    host.said = dict(shows("eth1", vfs=2))
    assert ports_of_vfs(host) == ["eth1", None]
    assert "VF 1 is on port 2" in problems(host)["PORT_UNKNOWN"]
    assert "port 2, for which dom0 has no interface" in problems(host)["PORT_UNKNOWN"]


def test_two_ports_of_a_driver_that_nobody_knows(fs: FakeFilesystem) -> None:
    add_pf(fs, CONNECTX3, "1dad:1000", "newdriver", 2)
    add_interface(fs, CONNECTX3, "eth1", "00:02:c9:00:00:01")
    add_interface(fs, CONNECTX3, "eth2", "00:02:c9:00:00:02", dev_port=1)
    host = AnsweringHost(shows("eth1", "eth2", vfs=2))
    assert ports_of_vfs(host) == [None, None]
    assert "eth1 and eth2" in problems(host)["PORT_UNKNOWN"]


def test_a_port_that_is_down_is_named(fs: FakeFilesystem) -> None:
    host = connectx3(fs, "1,1,0", 2)
    flags = f"{DEVICES}/{CONNECTX3}/net/eth2/flags"
    fs.remove(flags)
    fs.create_file(flags, contents="0x1002\n")
    assert "eth2" in problems(host)["PF_DOWN"]


# -- networks and settings -----------------------------------------------------------------------


def networks_of_vfs(host: AnsweringHost) -> List[List[str]]:
    """By placement: the network `one` stands on eth1, `two` on eth2."""
    return [sorted(candidate.networks) for candidate in candidates_of(host)]


def candidates_of(host: AnsweringHost) -> List[Any]:
    known = [Network("one", "one", "xenbr1", {"eth1"}), Network("two", "two", "xenbr2", {"eth2"})]
    member = Member("OpaqueRef:1", "host", "host", True, {})
    told = HostInventory.from_json(host_inventory.read(host).to_json())
    devices = candidates.Devices.of(told)
    closed = candidates.closed_pfs(member, devices, vgpus.UNTOLD)
    return candidates.Candidates().of(known, devices, closed)


def test_a_vf_serves_the_network_of_its_own_port(fs: FakeFilesystem) -> None:
    assert networks_of_vfs(connectx3(fs, "1,1,0", 2)) == [["one"], ["two"]]


def test_a_vf_on_both_ports_serves_no_network(fs: FakeFilesystem) -> None:
    host = connectx3(fs, "4", 4)
    assert networks_of_vfs(host) == [[]] * 4
    assert candidates_of(host)[0].no_network == {"one", "two"}


def test_settings_are_those_of_the_vfs_own_port(fs: FakeFilesystem) -> None:
    """Both interfaces tell of all VFs, each of what was set for its own port: mlx4_get_vf_config."""
    host = connectx3(fs, "1,1,0", 2)
    first = shows("eth1", vfs=2, mac="02:00:00:00:00:01")
    host.said = {**first, **shows("eth2", vfs=2, mac="02:00:00:00:00:02")}
    vfs = host_inventory.read(host).to_json()["vfs"]
    assert [vf["mac"] for vf in vfs] == ["02:00:00:00:00:01", "02:00:00:00:00:02"]


def test_a_vm_arrives_by_the_interface_of_its_vfs_port(fs: FakeFilesystem) -> None:
    host = connectx3(fs, "1,1,0", 2)
    with pytest.raises(SriovError):  # nothing answers the batch here
        apply.arrive(host, apply.look(host), {vf_address(CONNECTX3, 1): {"mac": "02:00:00:00:00:05"}})
    batches = [said for said in host.asked if "-batch" in said]
    assert "link set dev eth2 vf 1 mac 02:00:00:00:00:05" in batches[0]
    assert "eth1" not in batches[0]


def test_a_vf_on_both_ports_takes_no_settings(fs: FakeFilesystem) -> None:
    host = connectx3(fs, "4", 4)
    (vf, *_) = host_inventory.read(host).to_json()["vfs"]
    assert vf["mac"] is None
    assert "on both ports" in vf["no_settings"]
    with pytest.raises(SriovError, match="on both ports"):
        apply.arrive(host, apply.look(host), {vf_address(CONNECTX3, 0): {"vlan": "12"}})
    apply.arrive(host, apply.look(host), {vf_address(CONNECTX3, 0): {}})


def test_a_pf_that_only_vfio_holds(fs: FakeFilesystem) -> None:
    """For DPDK, say: it has no interface, and no network driver that has said why."""
    add_pf(fs, CONNECTX3, "8086:1592", "vfio-pci", 1)
    vf = vf_address(CONNECTX3, 0)
    with pytest.raises(SriovError, match="its driver is vfio-pci") as refused:
        apply.arrive(AnsweringHost(), apply.look(AnsweringHost()), {vf: {"vlan": "12"}})
    assert "own network driver" in refused.value.hint
    with pytest.raises(SriovError, match="its driver is vfio-pci") as refused:
        configure_vf.configure_vf(AnsweringHost(), OwnSession("none"), {"vf": vf, "vlan": "12"})
    assert "own network driver" in refused.value.hint


# -- Chelsio -------------------------------------------------------------------------------------


def chelsio(fs: FakeFilesystem, ports: int = 4) -> AnsweringHost:
    """A T5: functions 0 to 3 with two VFs each and an interface for their settings, ports on function 4."""
    card = "0000:05:00."
    for function in range(4):
        add_pf(fs, f"{card}{function}", "1425:5410", "cxgb4", 2)
        add_interface(fs, f"{card}{function}", f"mgmtpf0,{function}", "", type=65534, carrier="")
    fs.create_file(f"{DEVICES}/{card}4/uevent", contents="DRIVER=cxgb4\nPCI_CLASS=20000\nPCI_ID=1425:5410\n")
    for port in range(ports):
        add_interface(fs, f"{card}4", f"eth{port + 1}", f"00:07:43:00:00:0{port}", dev_port=port)
    return AnsweringHost(shows(*(f"mgmtpf0,{function}" for function in range(4)), vfs=2))


def test_the_vfs_of_a_chelsio_function_are_on_the_port_of_its_number(fs: FakeFilesystem) -> None:
    host = chelsio(fs)
    assert ports_of_vfs(host) == ["eth1", "eth1", "eth2", "eth2", "eth3", "eth3", "eth4", "eth4"]
    pfs = host_inventory.read(host).to_json()["pfs"]
    assert [(pf["interface"], pf["mac"]) for pf in pfs] == [
        (f"eth{port + 1}", f"00:07:43:00:00:0{port}") for port in range(4)
    ]
    assert [pf["link_up"] for pf in pfs] == [True] * 4


def test_a_chelsio_vf_is_set_by_its_functions_own_interface(fs: FakeFilesystem) -> None:
    host = chelsio(fs)
    with pytest.raises(SriovError):  # nothing answers the batch here
        apply.arrive(host, apply.look(host), {vf_address("0000:05:00.1", 1): {"mac": "02:00:00:00:00:05"}})
    batches = [said for said in host.asked if "-batch" in said]
    assert "link set dev mgmtpf0,1 vf 1 mac 02:00:00:00:00:05" in batches[0]


def test_a_chelsio_function_without_a_port_of_its_number(fs: FakeFilesystem) -> None:
    """Of a card with two ports the firmware's configuration says which of them functions 2 and 3 use."""
    host = chelsio(fs, ports=2)
    assert ports_of_vfs(host) == ["eth1", "eth1", "eth2", "eth2", None, None, None, None]
    pfs, _ = pci.functions(host)
    assert set(pfs[3].interfaces) == {"eth1", "eth2", "mgmtpf0,3"}  # what stands on either counts for it


def test_the_interface_that_tells_of_vfs_is_not_the_first(fs: FakeFilesystem) -> None:
    add_pf(fs, CONNECTX3, "1dad:1000", "newdriver", 1)
    add_interface(fs, CONNECTX3, "eth1", "00:02:c9:00:00:01")
    add_interface(fs, CONNECTX3, "eth2", "00:02:c9:00:00:02", dev_port=1)
    host = AnsweringHost(shows("eth2", vfs=1, mac="02:00:00:00:00:05"))
    (vf,) = host_inventory.read(host).to_json()["vfs"]
    assert (vf["mac"], vf["interface"]) == ("02:00:00:00:00:05", None)


def test_an_interface_for_settings_alone_is_no_port(fs: FakeFilesystem) -> None:
    """It comes first by its name, and carries nothing."""
    add_pf(fs, CONNECTX3, "1dad:1000", "newdriver", 1)
    add_interface(fs, CONNECTX3, "eth1", "", type=65534, carrier="")
    add_interface(fs, CONNECTX3, "eth2", "00:02:c9:00:00:02", type=1)
    host = AnsweringHost(shows("eth1", vfs=1, mac="02:00:00:00:00:05"))
    answer = host_inventory.read(host).to_json()
    assert [(pf["interface"], pf["mac"], pf["link_up"]) for pf in answer["pfs"]] == [
        ("eth2", "00:02:c9:00:00:02", True)
    ]
    assert [(vf["interface"], vf["mac"]) for vf in answer["vfs"]] == [("eth2", "02:00:00:00:00:05")]


def test_an_infiniband_partitions_interface_is_no_second_port(fs: FakeFilesystem) -> None:
    add_pf(fs, CONNECTX3, "15b3:1017", "mlx5_core", 1, pci_class="020700")
    address = "80:00:00:48:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:cb:a1"
    add_interface(fs, CONNECTX3, "ib0", address, type=32)
    add_interface(fs, CONNECTX3, "ib0.8001", address, type=32, parent="ib0")
    (pf,) = host_inventory.read(AnsweringHost()).to_json()["pfs"]
    assert [port["interface"] for port in pf["ports"]] == ["ib0"]
    assert pf["interfaces"] == ("ib0", "ib0.8001")  # what stands on either counts


# -- interfaces of devices that a function has -----------------------------------------------------


def add_part(fs: FakeFilesystem, part: str, name: str) -> None:
    folder = f"{DEVICES}/{CONNECTX3}/{part}/net/{name}"
    for attribute, text in (("address", "52:54:00:00:00:01"), ("flags", "0x1003"), ("type", "1")):
        fs.create_file(f"{folder}/{attribute}", contents=text + "\n")
    fs.create_symlink(f"/sys/class/net/{name}", folder)
    fs.create_symlink(f"{folder}/device", f"../../../{part}")


def test_a_virtio_cards_interface_is_that_of_its_virtio_device(fs: FakeFilesystem) -> None:
    """0000:03:00.0/virtio2/net/eth0: the management port all the same."""
    add_pf(fs, CONNECTX3, "1af4:1041", "virtio-pci", 2)
    add_part(fs, "virtio2", "eth0")
    fs.create_file("/etc/xensource-inventory", contents="MANAGEMENT_INTERFACE='eth0'\n")
    seen = inventory.look(AnsweringHost())
    assert seen.pfs[0].interface == "eth0"
    assert seen.management(seen.pfs[0]) is True
    assert [vf.port.interface for vf in seen.vfs] == ["eth0", "eth0"]


def test_the_interface_of_a_sub_function_is_no_port_and_counts_for_what_dom0_needs(
    fs: FakeFilesystem,
) -> None:
    add_pf(fs, CONNECTX3, "15b3:101d", "mlx5_core", 1)
    add_interface(fs, CONNECTX3, "eth1", "00:02:c9:00:00:01", phys_port_name="p0")
    add_part(fs, "mlx5_core.sf.4", "eth7")
    fs.create_file("/etc/xensource-inventory", contents="MANAGEMENT_INTERFACE='eth7'\n")
    seen = inventory.look(AnsweringHost())
    assert seen.pfs[0].interfaces == ("eth1",)
    assert [vf.port.interface for vf in seen.vfs] == ["eth1"]
    assert seen.management(seen.pfs[0]) is True


# -- switchdev -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "representors"),
    [
        (None, ["0", "1"]),  # mlx5 before Linux 5.0
        ("p0", ["pf0vf0", "pf0vf1"]),  # mlx5, ice
        (None, ["pf0vfr0", "pf0vfr1"]),  # ice of Linux 5.17
        ("p1s0", ["pf0", "pf0vf0", "pf0vf1"]),  # nfp
        ("p0", ["p0pf0vf0", "pf0sf88", "c1pf0"]),  # sfc, sub-functions, a SmartNIC's other host
    ],
)
def test_interfaces_that_stand_for_others_are_not_the_pfs(
    fs: FakeFilesystem, own: Optional[str], representors: List[str]
) -> None:
    add_pf(fs, CONNECTX3, "15b3:1017", "mlx5_core", 2)
    for number, port_name in enumerate(representors):
        add_interface(fs, CONNECTX3, f"eth{number}", "02:00:00:00:00:01", phys_port_name=port_name)
    more = {} if own is None else {"phys_port_name": own}
    add_interface(fs, CONNECTX3, "eth9", "02:00:00:00:00:00", **more)
    seen = inventory.look(AnsweringHost())
    assert seen.pfs[0].interfaces == ("eth9",)
    assert [vf.port.interface for vf in seen.vfs] == ["eth9", "eth9"]
    # dom0 may stand on them all the same, and then the PF is needed
    assert seen.interfaces(seen.pfs[0]) == ["eth9", *(f"eth{number}" for number in range(len(representors)))]
