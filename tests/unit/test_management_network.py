"""What the management network and dom0's addresses stand on, and what is not known of it: a dom0 with the
NICs eth0 (0000:02:00.0) and eth1 (0000:07:00.0) in small trees."""

import errno
import json
from typing import Any, Dict, List, Optional, Tuple

import kernel_netlink
import pytest
from answering_host import AnsweringHost, has_addresses
from pyfakefs.fake_filesystem import FakeFilesystem
from sriovlib.errors import SriovError
from sriovlib.machine import dom0_devices
from sriovlib.vf import host_inventory, in_use, inventory

ETH0, ETH1 = "0000:02:00.0", "0000:07:00.0"
NETWORKD = "/var/lib/xcp/networkd.db"
Layout = List[Tuple[str, Tuple[str, ...], Dict[str, str]]]  # name, those below it, its files
XENBR0 = {"bridge_config": [["xenbr0", {"ports": [["eth0", {"interfaces": ["eth0"]}]]}]]}


def nic(fs: FakeFilesystem, name: str, address: str, mac: str = "00:16:3e:00:00:01") -> None:
    device = f"/sys/devices/pci0000:00/0000:00:01.0/{address}"
    fs.create_file(f"{device}/sriov_totalvfs", contents="7\n")
    fs.create_file(f"{device}/sriov_numvfs", contents="0\n")
    fs.create_file(f"{device}/uevent", contents="DRIVER=igb\nPCI_CLASS=20000\nPCI_ID=8086:1521\n")
    fs.create_file(f"{device}/net/{name}/address", contents=mac + "\n")
    fs.create_symlink(f"{device}/net/{name}/device", f"../../../{address}")
    fs.create_symlink(f"/sys/class/net/{name}", f"{device}/net/{name}")
    fs.create_symlink(f"/sys/bus/pci/devices/{address}", device)


def over(fs: FakeFilesystem, name: str, *below: str, **files: str) -> None:
    """An interface that the kernel makes over others."""
    folder = f"/sys/devices/virtual/net/{name}"
    fs.create_file(f"{folder}/flags", contents="0x1003\n")
    for file, text in files.items():
        fs.create_file(f"{folder}/{file}", contents=text)
    for lower in below:
        fs.create_symlink(f"{folder}/lower_{lower}", f"/sys/class/net/{lower}")
    fs.create_symlink(f"/sys/class/net/{name}", folder)


@pytest.fixture
def openvswitch(fs: FakeFilesystem) -> FakeFilesystem:
    """sysfs shows nothing below xenbr0; only networkd's file does."""
    nic(fs, "eth0", ETH0)
    nic(fs, "eth1", ETH1, "00:16:3e:00:00:02")
    over(fs, "ovs-system", "eth0", "eth1")
    over(fs, "xenbr0")
    fs.create_file("/sys/class/net/lo/type", contents="772\n")
    fs.create_file("/etc/xensource-inventory", contents="MANAGEMENT_INTERFACE='xenbr0'\n")
    fs.create_file("/proc/self/mountinfo", contents="21 1 0:5 / /proc rw - proc proc rw\n")
    fs.create_file("/proc/swaps", contents="Filename Type Size Used Priority\n")
    fs.create_dir("/sys/class/block")
    return fs


@pytest.fixture
def bridge(openvswitch: FakeFilesystem) -> FakeFilesystem:
    openvswitch.create_file(NETWORKD, contents=json.dumps(XENBR0))
    return openvswitch


def needs(host: AnsweringHost) -> Dict[str, Tuple[str, ...]]:
    seen = inventory.look(host)
    return dom0_devices.needs(host, seen.pfs, seen.vfs, seen.network, dom0_devices.NOTHING, {})


def refusal(host: AnsweringHost, interface: str) -> str:
    """The code with which a change of that port is refused, "" where it is not."""
    seen = inventory.look(host)
    (pf,) = [pf for pf in seen.pfs if pf.interface == interface]
    try:
        in_use.pf_is_not_needed(pf, seen)
    except SriovError as error:
        return error.code
    return ""


@pytest.mark.usefixtures("bridge")
def test_networkd_tells_which_nic_is_below_the_bridge() -> None:
    host = AnsweringHost(has_addresses(("xenbr0", "192.168.1.11/24")))
    assert (refusal(host, "eth0"), refusal(host, "eth1")) == ("SRIOV_MANAGEMENT_INTERFACE", "")
    assert needs(host) == {ETH0: ("the management interface eth0",)}


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        json.dumps(XENBR0)[:60],
        "{}",
        "[1]",
        '{"bridge_config": []}',
        '{"bridge_config": [["xenbr0", {"ports": []}]]}',
        '{"bridge_config": [["xenbr0", {"ports": [["eth9", {"interfaces": ["eth9"]}]]}]]}',
        '{"bridge_config": [["xenbr0", {"vlan": ["xenbr7", 12]}]]}',
        '{"bridge_config": [["xenbr0", null], 7]}',
        "[" * 50_000,
    ],
    ids=[
        "missing",
        "empty",
        "cut",
        "none",
        "another",
        "no-bridge",
        "no-port",
        "no-nic",
        "no-parent",
        "null",
        "deep",
    ],
)
def test_a_management_interface_that_leads_to_no_nic_closes_every_port(
    openvswitch: FakeFilesystem, text: str
) -> None:
    if text is not None:
        openvswitch.create_file(NETWORKD, contents=text)
    host = AnsweringHost(has_addresses(("xenbr0", "192.168.1.11/24")))
    assert {refusal(host, "eth0"), refusal(host, "eth1")} == {"SRIOV_NEEDED_BY_DOM0"}
    assert [pf["management"] for pf in host_inventory.read(host).to_json()["pfs"]] == [None, None]
    assert {"the network interface eth1, which may be the management interface"} == set(needs(host)[ETH1])


@pytest.mark.usefixtures("openvswitch")
def test_port_that_may_carry_the_management_network() -> None:
    (problem, _) = [
        problem
        for pf in host_inventory.read(AnsweringHost(has_addresses())).to_json()["pfs"]
        for problem in pf["problems"]
        if problem["code"] == "PF_NEEDED_BY_DOM0"
    ]
    assert "0000:02:00.0 (eth0) may" in problem["message"]
    assert "/var/lib/xcp/networkd.db" in problem["hint"]


def test_an_inventory_that_cannot_be_read_closes_ports_with_an_address(bridge: FakeFilesystem) -> None:
    bridge.remove("/etc/xensource-inventory")
    host = AnsweringHost(has_addresses(("xenbr0", "192.168.1.11/24")))
    assert (refusal(host, "eth0"), refusal(host, "eth1")) == ("SRIOV_NEEDED_BY_DOM0", "")


@pytest.mark.parametrize(
    "says",
    [
        {},
        {"addresses": [kernel_netlink.done()]},
        {"addresses": [kernel_netlink.new_address(1, "127.0.0.1/8"), kernel_netlink.done(errno.EMSGSIZE)]},
        {"addresses": [kernel_netlink.new_address(1, "127.0.0.1/8"), kernel_netlink.done()]},
    ],
    ids=["fails", "says-nothing", "cut", "on-an-interface-that-is-gone"],
)
def test_addresses_that_cannot_be_read_close_every_port(bridge: FakeFilesystem, says: Dict[str, Any]) -> None:
    host = AnsweringHost(dict(says))
    assert needs(host)[ETH1] == ("the network interface eth1, which dom0 may have an IP address on",)
    bridge.remove("/etc/xensource-inventory")
    assert refusal(host, "eth1") == "SRIOV_NEEDED_BY_DOM0"


@pytest.mark.parametrize("text", ["10.9.0.1/24", "2001:db8::7/64", "fd00::7/64", "169.254.7.7/16"])
@pytest.mark.usefixtures("bridge")
def test_an_address_makes_a_nic_needed_whatever_xapi_knows_of_it(text: str) -> None:
    host = AnsweringHost(has_addresses(("xenbr0", "192.168.1.11/24"), ("eth1", text)))
    assert needs(host)[ETH1] == ("the network interface eth1, which dom0 has an IP address on",)
    assert refusal(host, "eth1") == ""  # VFs may be made of it


@pytest.mark.parametrize("text", ["fe80::1/64", "FE80::1/64", "febf::1/64"])
@pytest.mark.usefixtures("bridge")
def test_a_link_local_address_does_not(text: str) -> None:
    assert ETH1 not in needs(AnsweringHost(has_addresses(("eth1", text))))


def test_an_address_on_a_bond_a_team_a_vlan_or_a_macvlan(bridge: FakeFilesystem) -> None:
    over(bridge, "bond0", "eth1", uevent="DEVTYPE=bond\n")
    over(bridge, "bond0.12", "bond0", uevent="DEVTYPE=vlan\n")
    over(bridge, "macvlan0", "bond0.12")
    assert ETH1 in needs(AnsweringHost(has_addresses(("macvlan0", "10.9.0.1/24"))))


def test_an_address_on_a_vlan_of_an_openvswitch_bond(bridge: FakeFilesystem) -> None:
    more = [
        ["xapi1", {"ports": {"bond1": {"interfaces": ["eth1", "eth7"]}}}],
        ["xapi2", {"vlan": ["xapi1", 12]}],
    ]
    bridge.remove(NETWORKD)
    bridge.create_file(NETWORKD, contents=json.dumps({"bridge_config": XENBR0["bridge_config"] + more}))
    over(bridge, "xapi2")
    assert ETH1 in needs(AnsweringHost(has_addresses(("xapi2", "10.9.0.1/24"))))


def test_a_vf_of_dom0_that_may_have_an_address_has_a_hint_that_says_why(bridge: FakeFilesystem) -> None:
    vf = "0000:07:10.0"
    nic(bridge, "eth7", vf, "00:16:3e:00:00:07")
    device = f"/sys/devices/pci0000:00/0000:00:01.0/{vf}"
    for file in ("sriov_totalvfs", "sriov_numvfs"):
        bridge.remove(f"{device}/{file}")
    bridge.create_symlink(f"{device}/driver", "/sys/bus/pci/drivers/igbvf")
    bridge.create_symlink(f"/sys/bus/pci/devices/{ETH1}/virtfn0", f"../{vf}")
    over(bridge, "ovsbr9")
    seen = inventory.look(AnsweringHost(has_addresses(("ovsbr9", "10.9.0.1/24"))))
    with pytest.raises(SriovError) as error:
        in_use.pf_is_not_needed(next(pf for pf in seen.pfs if pf.interface == "eth1"), seen)
    assert "eth7, and dom0 may have an IP address on it" in error.value.message
    assert "`ovs-vsctl add-br`" in error.value.hint


MAYBE = ("the network interface eth1, which dom0 may have an IP address on",)
VLAN, BRIDGE = {"uevent": "DEVTYPE=vlan\n"}, {"bridge/bridge_id": "8000"}
OVSBR9 = ("ovsbr9", (), {"type": "1\n", "ifindex": "9\n", "iflink": "9\n"})


@pytest.mark.parametrize(
    ("interfaces", "expected"),
    [
        # a bridge of Open vSwitch that nobody explains may stand on each NIC, and so may what is over it
        ([("ovsbr9", (), {})], MAYBE),
        ([OVSBR9, ("over9", ("ovsbr9",), VLAN)], MAYBE),
        ([OVSBR9, ("over9", ("ovsbr9",), BRIDGE)], MAYBE),
        ([OVSBR9, ("over9", ("ovsbr9",), {})], MAYBE),
        ([("ovsbr9", (), {}), ("br0", ("eth0", "ovsbr9"), BRIDGE)], MAYBE),
        # these are known to stand on no NIC
        ([("gre1", (), {"type": "778\n", "uevent": "INTERFACE=gre1\n"})], None),
        ([("veth0", (), {"type": "1\n", "ifindex": "7\n", "iflink": "8\n"})], None),
        ([("xenapi", (), BRIDGE)], None),
        ([("tap0", (), {"tun_flags": "0x1002\n"})], None),
        ([("wg0", (), {"uevent": "DEVTYPE=wireguard\nINTERFACE=wg0\n"})], None),
    ],
    ids=lambda value: value[-1][0] if isinstance(value, list) else "",
)
def test_an_address_on_what_stands_on_others(
    bridge: FakeFilesystem, interfaces: Layout, expected: Optional[Tuple[str, ...]]
) -> None:
    """The address is on the last of the interfaces."""
    for name, below, files in interfaces:
        over(bridge, name, *below, **files)
    assert needs(AnsweringHost(has_addresses((name, "10.9.0.1/24")))).get(ETH1) == expected


def test_of_a_bridge_that_guests_use_only_the_nic_is_dom0s(bridge: FakeFilesystem) -> None:
    over(bridge, "vif3.0", type="1\n")
    bridge.create_symlink("/sys/devices/virtual/net/vif3.0/device", "/sys/devices/vif-3-0")
    over(bridge, "br0", "eth0", "vif3.0", **BRIDGE)
    assert ETH1 not in needs(AnsweringHost(has_addresses(("br0", "10.9.0.1/24"))))


def test_an_internal_network_of_xapi_closes_none(bridge: FakeFilesystem) -> None:
    bridge.remove(NETWORKD)
    config = {"bridge_config": [*XENBR0["bridge_config"], ["xapi9", {"ports": []}]]}
    bridge.create_file(NETWORKD, contents=json.dumps(config))
    over(bridge, "xapi9")
    assert ETH1 not in needs(AnsweringHost(has_addresses(("xapi9", "10.9.0.1/24"))))


# -- disks that come over a NIC -------------------------------------------------------------------


@pytest.mark.parametrize("table", ["ibft", "iscsi_boot0"])
def test_the_nic_that_the_firmware_booted_from(bridge: FakeFilesystem, table: str) -> None:
    bridge.create_file(f"/sys/firmware/{table}/ethernet0/mac", contents="00:16:3e:00:00:02\n")
    expected = "the network interface eth1, over which the iSCSI disk that the host booted from comes"
    assert needs(AnsweringHost(has_addresses()))[ETH1] == (expected,)


def test_of_a_bond_its_member_keeps_the_mac_that_the_firmware_knows(bridge: FakeFilesystem) -> None:
    bridge.create_file("/sys/class/net/eth1/bonding_slave/perm_hwaddr", contents="00:16:3e:00:00:09\n")
    bridge.create_file("/sys/firmware/ibft/ethernet1/mac", contents="00:16:3e:00:00:09\n")
    assert ETH1 in needs(AnsweringHost(has_addresses()))


def test_a_nic_that_the_firmware_booted_from_without_an_interface(bridge: FakeFilesystem) -> None:
    bridge.create_file("/sys/firmware/ibft/ethernet0/mac", contents="00:16:3e:00:00:77\n")
    bridge.create_symlink("/sys/firmware/ibft/ethernet0/device", "../../../devices/pci0000:00/0000:09:00.0")
    assert needs(AnsweringHost(has_addresses()))["0000:09:00.0"] == (
        "the NIC that the host booted from by iSCSI",
    )


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("/sys/class/iscsi_host/host6/netdev", "eth1"),
        ("/sys/class/iscsi_host/host6/hwaddress", "00:16:3e:00:00:02"),
        ("/sys/class/iscsi_host/host6/ipaddress", "fe80::2"),
        ("/sys/class/iscsi_connection/connection1:0/persistent_address", "fe80::1%eth1"),
    ],
)
def test_an_iscsi_session_names_its_nic(bridge: FakeFilesystem, file: str, text: str) -> None:
    bridge.create_file(file, contents=text + "\n")
    said = needs(AnsweringHost(has_addresses(("eth1", "fe80::2/64"))))[ETH1]
    assert said == ("the network interface eth1, over which an iSCSI session comes",)


@pytest.mark.parametrize(
    "text",
    [
        "traddr=10.9.0.9,trsvcid=4420,host_iface=eth1",
        "traddr=fe80::9%eth1,trsvcid=4420",
        "traddr=fe80::9,trsvcid=4420,src_addr=fe80::2%eth1",
        "traddr=fe80::9,trsvcid=4420,host_traddr=fe80::2",
    ],
)
def test_an_nvme_disk_names_its_nic(bridge: FakeFilesystem, text: str) -> None:
    bridge.create_file("/sys/class/nvme/nvme0/transport", contents="tcp\n")
    bridge.create_file("/sys/class/nvme/nvme0/address", contents=text + "\n")
    said = needs(AnsweringHost(has_addresses(("eth1", "fe80::2/64"))))[ETH1]
    assert said == ("the network interface eth1, over which the NVMe disk nvme0 comes",)
