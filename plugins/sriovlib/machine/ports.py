"""The ports of a PCI function, by dom0's network interfaces, and the port that each of its VFs is on.

Most functions have one port, and all VFs are on it. Known to differ, by their sources in the kernel:

- mlx4 (ConnectX-3) has both ports on one function, and its module's parameter says which VF is on which
  (drivers/net/ethernet/mellanox/mlx4/main.c: first those of port 1, then of port 2, then those on both);
- Chelsio's T4 to T6 make VFs on functions 0 to 3 and have all ports on function 4; function N's VFs use port
  N, and with the VFs function N gets an interface for their settings alone (cxgb4_main.c: cxgb4_mgmt_*);
- a card in switchdev mode has an interface for each VF beside its own.
"""

import re
from typing import List, Mapping, NamedTuple, Optional, Sequence, Tuple

from . import sysfs
from .host import Host

MLX4 = "mlx4_core"
CHELSIO = "1425"

_INFINIBAND_BYTES = 20
_ARPHRD_INFINIBAND, _ARPHRD_NONE = 32, 0xFFFE  # include/uapi/linux/if_arp.h
# Interfaces that stand for others, by phys_port_name: 3 (mlx5 before Linux 5.0: en_rep.c), pf0vf3, p0pf1vf3
# (sfc), pf0vfr3 (ice), pf0sf88, c1pf0 (a SmartNIC's other hosts), pf0 (nfp). A port says p0, p0s1 or nothing.
_REPRESENTOR = re.compile(r"\d+|.*(?:vfr?|sf)\d+|(?:c\d+)?pf\d+(?:s\d+)?")
# Devices below a function that have interfaces of it: virtio's has its only one
# (0000:05:00.0/virtio2/net/eth0), a sub-function (mlx5_core.sf.4) one that is no port.
_PARTS = re.compile(r"virtio\d+|\w+\.sf\.\d+")
_PER_CARD = r"([0-9a-f:.]+)-([\d;]+)"


class Port(NamedTuple):
    """A port that dom0 has an interface of. `number` counts from 0, as the kernel's `dev_port` does."""

    number: int
    interface: str
    infiniband: bool
    guid: Optional[str]  # of an InfiniBand port: eight bytes, as in f4:52:14:03:00:7b:cb:a1


class Interfaces(NamedTuple):
    """`every` is what dom0 has of the function, and of its port on another one; `settings` those of the
    function itself, by which the kernel is told of its VFs; `others` those that stand for VFs and the like.
    """

    ports: Tuple[Port, ...]
    every: Tuple[str, ...]
    settings: Tuple[str, ...]
    others: Tuple[str, ...]


class VfPort(NamedTuple):
    """The port that a VF is on, by its interface. None where the PF has no ports, or where dom0 has no
    interface of that port or cannot tell which it is: then `why` completes "the VF is ...".
    """

    interface: Optional[str]
    why: Optional[str] = None


def own(host: Host, address: str) -> List[str]:
    """The function's interfaces, by port, without those that stand for VFs and the like."""
    return _interfaces(host, address, host.names(sysfs.device(address)))[0]


def _interfaces(host: Host, address: str, names: Sequence[str]) -> Tuple[List[str], List[str]]:
    """The function's own ones, by port; those that stand for others. `names`: what is in its folder."""
    found, others = [], []
    parts = [name for name in names if ("virtio" in name or ".sf." in name) and _PARTS.fullmatch(name)]
    for part in ["", *parts]:
        for name in host.names(sysfs.device(address, f"{part}/net" if part else "net")):
            if "." in part or _stands_for_others(host.text(sysfs.interface(name, "phys_port_name")) or ""):
                others.append(name)
            else:
                found.append((host.number(sysfs.interface(name, "dev_port")) or 0, name))
    return [name for _, name in sorted(found)], others


def _stands_for_others(port_name: str) -> bool:
    """A name with neither an `f` nor digits alone is a port's: no pattern is compiled for that."""
    return ("f" in port_name or port_name.isdecimal()) and _REPRESENTOR.fullmatch(port_name) is not None


def find(host: Host, address: str, vendor: str, folder: Sequence[str]) -> Interfaces:
    """The interfaces of a PF. `folder`: the names in its folder."""
    names, others = _interfaces(host, address, folder)
    if vendor != CHELSIO or address[-1] not in "0123":
        return Interfaces(_ports(host, names), tuple(names), tuple(names), tuple(others))
    with_ports = f"{address[:-1]}4"
    there = _ports(host, own(host, with_ports))
    ports = tuple(port for port in there if port.number == int(address[-1]))
    # Which port it uses is the firmware's choice where there is none of that number: it may be any.
    on_other = [port.interface for port in ports or there if port.interface not in names]
    return Interfaces(ports, (*on_other, *names), tuple(names), tuple(others))


def _ports(host: Host, names: Sequence[str]) -> Tuple[Port, ...]:
    """Those interfaces that carry traffic of their own. One for VF settings alone has no link layer
    (cxgb4_mgmt_setup); one of an InfiniBand partition (ib0.8001) has a `parent`."""
    found = []
    for name in names:
        folder = sysfs.interface(name)
        kind = host.number(f"{folder}/type")
        if host.text(f"{folder}/parent") is None and kind != _ARPHRD_NONE:
            octets = (host.text(f"{folder}/address") or "").lower().split(":")
            infiniband = len(octets) == _INFINIBAND_BYTES or kind == _ARPHRD_INFINIBAND
            guid = ":".join(octets[-8:]) if infiniband and len(octets) == _INFINIBAND_BYTES else None
            found.append(Port(host.number(f"{folder}/dev_port") or 0, name, infiniband, guid))
    return tuple(found)


def guid(host: Host, address: str, ports: Sequence[Port]) -> Optional[str]:
    """The GUID of the function's first port, where that is InfiniBand: the last half of the first GID, where
    no interface shows it (ib_ipoib is not loaded; kernel: drivers/infiniband/core/sysfs.c)."""
    if ports and (ports[0].guid or not ports[0].infiniband):
        return ports[0].guid
    folder = sysfs.device(address, "infiniband")
    for name in host.names(folder):
        port = f"{folder}/{name}/ports/1"
        gid = (host.text(f"{port}/gids/0") or "").lower().replace(":", "")
        is_one = re.fullmatch(r"[0-9a-f]{32}", gid) and int(gid[16:], 16)
        if is_one and host.text(f"{port}/link_layer") == "InfiniBand":
            return ":".join(gid[at : at + 2] for at in range(16, 32, 2))
    return None


def of_vfs(
    host: Host, address: str, driver: Optional[str], ports: Sequence[Port], count: int
) -> List[VfPort]:
    """The port of each of the PF's `count` VFs, by their numbers."""
    by_number = {port.number: port.interface for port in ports}
    if driver == MLX4:
        physical = _mlx4_ports(host, address, ports)
        if physical > 1:
            return _mlx4(host, address, by_number, count)
    if len(ports) == 1:
        return [VfPort(ports[0].interface)] * count
    if not ports:
        return [VfPort(None)] * count
    names = " and ".join(port.interface for port in ports)
    return [VfPort(None, f"on one of the ports {names}, and the kernel does not tell which")] * count


def _mlx4_ports(host: Host, address: str, ports: Sequence[Port]) -> int:
    """How many ports the card has, be they Ethernet or InfiniBand, with an interface or without."""
    attributes = sum(host.exists(sysfs.device(address, f"mlx4_port{number}")) for number in (1, 2))
    return max([attributes, *(port.number + 1 for port in ports)])


def _mlx4(host: Host, address: str, by_number: Mapping[int, str], count: int) -> List[VfPort]:
    told = [
        counts
        for counts in (_mlx4_counts(host, address, name) for name in ("num_vfs", "port_vfs"))
        if counts is not None and sum(counts) == count  # else these VFs were made by other numbers
    ]
    if not told:
        return [VfPort(None, f"on a port that {MLX4}'s parameter num_vfs does not tell")] * count
    found: List[VfPort] = []
    for number, vfs in enumerate(told[0][:2]):
        name = by_number.get(number)
        found += [
            VfPort(name, None if name else f"on port {number + 1}, for which dom0 has no interface")
        ] * vfs
    return found + [VfPort(None, "on both ports")] * told[0][2]


def _mlx4_counts(host: Host, address: str, name: str) -> Optional[Tuple[int, int, int]]:
    """VFs on port 1, on port 2 and on both, by what the module was loaded with: `2,2,0`, or `4`, which is
    of both. The vendor's own driver also takes `0000:04:00.0-2;2;0,0000:05:00.0-4` (MLNX_OFED's manual)."""
    text = host.text(f"/sys/module/{MLX4}/parameters/{name}") or ""
    if "-" in text:
        cards = dict(re.findall(_PER_CARD, text.lower()))
        words = str(cards.get(address, cards.get(address[len("0000:") :], ""))).split(";")
    else:
        words = text.split(",")
    if not all(word.isdecimal() for word in words) or len(words) > 3:
        return None
    numbers = [int(word) for word in words]
    if len(numbers) == 1:
        return 0, 0, numbers[0]
    return numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else 0


def settings_interface(
    driver: Optional[str],
    names: Sequence[str],
    port: Optional[str],
    number: int,
    shown: Mapping[str, Mapping[int, object]],
) -> Optional[str]:
    """The interface by which VF `number` is set and read: of the function's own ones that of the VF's port,
    where the kernel tells of the VF there (`shown`: interface -> VF number -> settings), else one that does.

    None where a setting might reach another port: mlx4 keeps settings for each port (en_netdev.c).
    """
    if port in names and number in shown.get(port or "", {}):
        return port
    answering = [name for name in names if number in shown.get(name, {})]
    if port in names and not answering:
        return port
    if driver == MLX4 and port is None:
        return None
    candidates = answering or names
    # nfp keeps them for the VF (nfp_net_sriov.c); of other drivers that is not known
    return candidates[0] if len(candidates) == 1 or (candidates and driver == "nfp") else None
