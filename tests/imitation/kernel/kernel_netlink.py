"""rtnetlink, byte by byte: what the kernel answers of an interface with its VFs and of dom0's IP addresses.

By the source (Linux 4.19 and 6.12): net/core/rtnetlink.c, rtnl_getlink, rtnl_fill_ifinfo, rtnl_fill_vf,
rtnl_fill_vfinfo; net/ipv4/devinet.c, inet_fill_ifaddr; names and numbers in include/uapi/linux.
"""

import errno
import socket
import struct
from typing import Callable, Dict, List, Optional, Sequence

import kernel_net
from kernel_net import VfSettings
from kernel_sysfs import Sysfs, resolved
from machine_devices import NET

GET_LINK, GET_ADDRESS = 18, 22
ROOM = 0x10000  # an attribute's length has 16 bits
_LINK_STATES = ("auto", "enable", "disable")
_PROTOCOLS = {"802.1Q": 0x8100, "802.1ad": 0x88A8}
_LOOPBACK, _ETHERNET = 772, 1


def answer(sysfs: Sysfs, request: bytes) -> List[bytes]:
    """The messages to one request."""
    _size, kind, _flags, _sequence, _port = struct.unpack_from("=IHHII", request)
    if kind == GET_LINK:
        return [_get_link(sysfs, request)]
    if kind == GET_ADDRESS:
        return _get_addresses(sysfs)
    return [refusal(errno.EOPNOTSUPP)]


def message(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 4711) + body


def refusal(number: int) -> bytes:
    """NLMSG_ERROR."""
    return message(2, struct.pack("=i", -number) + bytes(16))


def done(number: int = 0) -> bytes:
    """NLMSG_DONE, the end of a list; with a number where it is not whole."""
    return message(3, struct.pack("=i", -number), 2)


def attribute(kind: int, body: bytes) -> bytes:
    return struct.pack("=HH", (len(body) + 4) % ROOM, kind) + body + bytes(-len(body) % 4)


# -- interfaces --------------------------------------------------------------------------------------


def _get_link(sysfs: Sysfs, request: bytes) -> bytes:
    _family, _type, index = struct.unpack_from("=BxHi", request, 16)
    wanted = attributes(request[32:])
    title = wanted.get(3, b"").rstrip(b"\0").decode()
    for name in sysfs.names(NET):
        folder = resolved(sysfs.root, f"{NET}/{name}")
        number = int(sysfs.text(folder + "/ifindex"))
        if name == title or number == index:
            with_vfs = struct.unpack("=I", wanted.get(29, bytes(4)))[0] & 1  # RTEXT_FILTER_VF
            return new_link(name, number, _vfs(sysfs, folder, name) if with_vfs else None)
    return refusal(errno.ENODEV)


def attributes(data: bytes) -> Dict[int, bytes]:
    found = {}
    while data:
        size, kind = struct.unpack_from("=HH", data)
        found[kind] = data[4:size]
        data = data[size + 3 & ~3 :]
    return found


def _vfs(sysfs: Sysfs, folder: str, title: str) -> Optional[Sequence[VfSettings]]:
    device = folder.partition("/net/")[0]
    if not folder.startswith(device + "/net/") or sysfs.is_virtual(device):
        return None
    return kernel_net.told(sysfs, device, title)


def new_link(
    name: str,
    index: int,
    vfs: Optional[Sequence[VfSettings]],
    kind: int = _ETHERNET,
    num_vfs: Optional[int] = None,
) -> bytes:
    """RTM_NEWLINK. `vfs`: None of an interface whose device has none; `num_vfs`, where not all are told."""
    body = struct.pack("=BxHiII", 0, _LOOPBACK if name == "lo" else kind, index, 0x1043, 0)
    body += attribute(3, name.encode() + b"\0") + attribute(4, struct.pack("=I", 1500))
    if vfs is not None:
        count = len(vfs) if num_vfs is None else num_vfs
        body += attribute(21, struct.pack("=I", count))
        if count:
            body += attribute(22, b"".join(vf_info(number, vf) for number, vf in enumerate(vfs)))
    return message(16, body + attribute(26, attribute(2, bytes(8))))


def vf_info(number: int, vf: VfSettings, told: Callable[[bytes], bool] = lambda _attribute: True) -> bytes:
    """One IFLA_VF_INFO, with those attributes that are `told`."""
    mac = bytes(int(octet, 16) for octet in vf.mac.split(":"))
    vlan_info = struct.pack("=III", number, vf.vlan, vf.qos) + struct.pack(">HH", _PROTOCOLS[vf.protocol], 0)
    parts = [
        attribute(1, struct.pack("=I32s", number, mac)),
        attribute(13, b"\xff" * 6 + bytes(26)),
        attribute(2, struct.pack("=III", number, vf.vlan, vf.qos)),
        attribute(6, struct.pack("=III", number, vf.min_rate, vf.max_rate)),
        attribute(3, struct.pack("=II", number, vf.max_rate)),
        attribute(4, struct.pack("=II", number, vf.spoof_check)),
        attribute(5, struct.pack("=II", number, _LINK_STATES.index(vf.link_state))),
        attribute(7, struct.pack("=II", number, 0xFFFFFFFF)),
        attribute(9, struct.pack("=II", number, vf.trust)),
        attribute(12, attribute(1, vlan_info)),
    ]
    return attribute(1, b"".join(part for part in parts if told(part)))


# -- IP addresses ------------------------------------------------------------------------------------


def _get_addresses(sysfs: Sysfs) -> List[bytes]:
    """lo's, and those that dom0's interfaces were described with."""
    indexes = {name: int(sysfs.text(f"{NET}/{name}/ifindex")) for name in sysfs.names(NET)}
    found = [new_address(indexes.get("lo", 1), "127.0.0.1/8")]
    for one in sysfs.description.interfaces:
        if one.ipv4:
            found.append(new_address(indexes[one.name], one.ipv4))
    return [*found, done()]


def new_address(index: int, text: str, peer: str = "") -> bytes:
    """RTM_NEWADDR. An IPv6 address has no IFA_LOCAL but on a line between two."""
    address, _, prefix = text.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    own = socket.inet_pton(family, address)
    other = socket.inet_pton(family, peer) if peer else own
    body = struct.pack("=BBBBI", family, int(prefix or 32), 0x80, 0, index) + attribute(1, other)
    body += attribute(2, own) if peer or family == socket.AF_INET else b""
    return message(20, body, 2)
