"""VF settings as the kernel tells them by netlink, held to what the real `ip` shows of the same message."""

import errno
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List

import kernel_netlink
import pytest
from answering_host import AnsweringHost, add_interface, add_pf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from kernel_net import VfSettings as Kept
from sriovlib.config.vf_settings import VfSettings
from sriovlib.machine import netlink, pci
from sriovlib.machine.host import Host
from sriovlib.vf import kernel_settings

IP = shutil.which("ip") or ""
needs_ip = pytest.mark.skipif(not IP, reason="there is no `ip` here")
ETHERNET, INFINIBAND, NONE = 1, 32, 0xFFFE


def read(message: bytes) -> Dict[int, VfSettings]:
    return kernel_settings.told(netlink.with_vfs(AnsweringHost({"link eth4": [message]}), "eth4"))


# -- the real ip -----------------------------------------------------------------------------------

LINE = re.compile(r"\s+vf (\d+)\s+(?:MAC|link/\S+) ([0-9a-f:]+)(.*)")
WORD = r"(?:^|, )([a-z_ -]+?) (\d+|802\S+?|on|off|auto|enable|disable)(?:Mbps| \(Mbps\))?(?=,|$|\s)"


def as_shown(text: str) -> Dict[int, VfSettings]:
    """What the lines of `ip -details link show` say of VFs: it leaves out what is zero or not told."""
    found = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        words: Dict[str, str] = dict(re.findall(WORD, match.group(3)))
        switches = {name: words[name] == "on" for name in ("spoof checking", "trust") if name in words}
        found[int(match.group(1))] = VfSettings(
            mac=match.group(2)[:17],
            vlan=int(words.get("vlan", 0)),
            qos=int(words.get("qos", 0)),
            vlan_protocol=words.get("vlan protocol", "802.1q").lower(),
            min_tx_rate=int(words.get("min_tx_rate", 0)),
            max_tx_rate=int(words.get("max_tx_rate", words.get("tx rate", 0))),
            spoof_check=switches.get("spoof checking"),
            trust=switches.get("trust"),
            link_state=words.get("link-state"),
        )
    return found


def shown_by_ip(folder: Path, message: bytes) -> Dict[int, VfSettings]:
    """As it shows what was kept of netlink (`ip monitor file`, of a file that rtmon wrote)."""
    (folder / "kept").write_bytes(message)
    told = subprocess.check_output([IP, "-details", "monitor", "file", str(folder / "kept")])
    return as_shown(told.decode())


def without(kinds: List[int]) -> Callable[[bytes], bool]:
    """What an older kernel or a driver that knows less tells."""
    return lambda attribute: struct.unpack_from("=HH", attribute)[1] not in kinds


MACS = some.binary(min_size=6, max_size=6).map(lambda six: ":".join(f"{octet:02x}" for octet in six))
VFS = some.builds(
    Kept,
    mac=MACS,
    vlan=some.integers(0, 4094),
    qos=some.integers(0, 7),
    protocol=some.sampled_from(["802.1Q", "802.1ad"]),
    max_rate=some.sampled_from([0, 1, 500, 100000, 0xFFFFFFFF]),
    min_rate=some.sampled_from([0, 1, 400]),
    spoof_check=some.sampled_from([0, 1, 0xFFFFFFFF]),
    link_state=some.sampled_from(["auto", "enable", "disable"]),
    trust=some.sampled_from([0, 1, 0xFFFFFFFF]),
)
# What `ip` can do without: spoof checking, the link's state, both rates, trust, the VLANs, broadcast.
LESS = some.lists(some.sampled_from([4, 5, 6, 7, 9, 12, 13]), unique=True, max_size=7)


@needs_ip
@given(vfs=some.lists(some.tuples(VFS, LESS), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_settings_are_as_the_real_ip_shows_them(tmp_path_factory: Any, vfs: Any) -> None:
    told = [kernel_netlink.vf_info(number, vf, without(less)) for number, (vf, less) in enumerate(vfs)]
    message = kernel_netlink.new_link("eth4", 6, [])
    message = _with_list(message, told)
    assert read(message) == shown_by_ip(tmp_path_factory.mktemp("ip"), message)


def _with_list(message: bytes, told: List[bytes]) -> bytes:
    number = kernel_netlink.attribute(21, struct.pack("=I", len(told)))
    body = message[16:].replace(kernel_netlink.attribute(21, bytes(4)), number)
    return kernel_netlink.message(16, body + kernel_netlink.attribute(22, b"".join(told)))


# -- what it does not show --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "mac"), [(ETHERNET, "06:44:3c:5a:00:01"), (NONE, "06:44:3c:5a:00:01"), (INFINIBAND, None)]
)
def test_a_vfs_mac_where_the_interface_is_not_ethernet(kind: int, mac: Any) -> None:
    """cxgb4's interface for settings alone is of no kind; InfiniBand has no MACs."""
    message = kernel_netlink.new_link("eth4", 6, [Kept("06:44:3c:5a:00:01", vlan=12)], kind)
    assert (read(message)[0].mac, read(message)[0].vlan) == (mac, 12)


def test_a_vlan_of_4095_is_none() -> None:
    """mlx4's way to say so."""
    assert read(kernel_netlink.new_link("eth4", 6, [Kept(vlan=4095)]))[0].vlan == 0


def card(fs: Any, vfs: int) -> List[Any]:
    add_pf(fs, "0000:05:00.0", "8086:1572", "i40e", vfs)
    add_interface(fs, "0000:05:00.0", "eth4", "00:1b:21:00:00:01")
    return pci.functions(AnsweringHost())[0]


def test_all_vfs_of_a_list_that_is_longer_than_an_attribute_can_say(fs: Any) -> None:
    """XCP-ng 8.3's kernel lets the length run over."""
    vfs = [Kept(f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}") for number in range(400)]
    message = kernel_netlink.new_link("eth4", 6, vfs)
    assert len(message) > kernel_netlink.ROOM
    shown = kernel_settings.read(AnsweringHost({"link eth4": [message]}), card(fs, 400))
    assert [vf.mac for vf in shown.settings["eth4"].values()] == [vf.mac for vf in vfs]
    assert shown.cut_off == {}


@pytest.mark.parametrize("told", [0, 220])
def test_a_list_that_ends_before_the_last_vf_is_named(fs: Any, told: int) -> None:
    message = kernel_netlink.new_link("eth4", 6, [Kept()] * told, num_vfs=256)
    shown = kernel_settings.read(AnsweringHost({"link eth4": [message]}), card(fs, 256))
    assert list(shown.settings["eth4"]) == list(range(told))
    assert shown.cut_off == {"eth4": f"the kernel tells of {told} of the 256 VFs of eth4"}


def test_an_interface_that_the_kernel_does_not_tell_of_is_named(fs: Any) -> None:
    host = AnsweringHost({"link eth4": [kernel_netlink.refusal(errno.EMSGSIZE)]})
    shown = kernel_settings.read(host, card(fs, 2))
    assert shown.settings == {}
    assert shown.cut_off == {"eth4": "the kernel does not tell of eth4: Message too long"}


def test_a_driver_that_tells_of_no_vf_is_not_cut_off(fs: Any) -> None:
    message = kernel_netlink.new_link("eth4", 6, None)
    shown = kernel_settings.read(AnsweringHost({"link eth4": [message]}), card(fs, 2))
    assert (shown.settings, shown.cut_off) == ({"eth4": {}}, {})


@given(
    vfs=some.lists(VFS, min_size=1, max_size=4),
    place=some.integers(16, 1200),
    octet=some.integers(0, 255),
)
def test_a_message_with_a_wrong_byte_does_no_harm(vfs: List[Kept], place: int, octet: int) -> None:
    message = bytearray(kernel_netlink.new_link("eth4", 6, vfs))
    message[min(place, len(message) - 1)] = octet
    kernel_settings.told(netlink._link(bytes(message)))


# -- questions to this machine's kernel --------------------------------------------------------------


@needs_ip
def test_addresses_are_those_that_ip_shows() -> None:
    told = subprocess.check_output([IP, "-oneline", "address", "show"]).decode()
    shown = re.findall(r"^\d+: (\S+?)(?:@\S+)?\s+inet6? ([^\s/]+)", told, re.MULTILINE)
    assert sorted(netlink.addresses(Host())) == sorted(shown)


def test_an_interface_and_one_that_is_not_there() -> None:
    for name in os.listdir("/sys/class/net"):
        link = netlink.with_vfs(Host(), name)
        with open(f"/sys/class/net/{name}/type") as file:
            assert (link.name, link.kind) == (name, int(file.read()))
    with pytest.raises(OSError) as error:  # noqa: PT011 (its number is what is asked for)
        netlink.with_vfs(Host(), "no-such-link")
    assert error.value.errno == errno.ENODEV


class Interrupted(Host):
    """The table of addresses changes while it is told."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def netlink(self, request: bytes) -> List[bytes]:
        if struct.unpack_from("=IH", request)[1] == kernel_netlink.GET_LINK:
            return [kernel_netlink.new_link("eth0", 2, None)]
        self.left -= 1
        flags = 0x10 if self.left >= 0 else 0
        address = kernel_netlink.new_address(2, "10.0.0.1/24" if flags else "10.0.0.2/24")
        return [struct.pack("=IHH", len(address), 20, 2 | flags) + address[8:], kernel_netlink.done()]


def test_a_list_that_changed_while_it_was_told_is_asked_for_again() -> None:
    assert netlink.addresses(Interrupted(2)) == [("eth0", "10.0.0.2")]


def test_a_list_that_changes_each_time_is_not_known() -> None:
    """A part of it would be taken for all that there is."""
    with pytest.raises(OSError, match="changed each time"):
        netlink.addresses(Interrupted(3))


def test_addresses_of_another_size_are_not_passed_over() -> None:
    short = kernel_netlink.new_address(3, "10.0.0.1/32").replace(
        kernel_netlink.attribute(2, bytes((10, 0, 0, 1))), kernel_netlink.attribute(2, bytes(2))
    )
    for message in (short, kernel_netlink.message(20, b"")):
        said = {"addresses": [message, kernel_netlink.done()], "link 3": []}
        with pytest.raises(OSError, match="Bad message"):
            netlink.addresses(AnsweringHost(said))


def test_an_address_on_a_line_between_two_is_our_own() -> None:
    said = {
        "addresses": [kernel_netlink.new_address(3, "10.0.0.1/32", peer="10.0.0.2"), kernel_netlink.done()],
        "link 3": [kernel_netlink.new_link("ppp0", 3, None)],
    }
    assert netlink.addresses(AnsweringHost(said)) == [("ppp0", "10.0.0.1")]
