"""Network interfaces: their birth and end, up and down, and what a PF's driver keeps for each VF.

The drivers' refusals: igb's measured on the lab host; ixgbe and i40e share them (their .ndo_set_vf_*
functions in drivers/net/ethernet/intel); mlx5_core takes minimum rates and link states. What a new VF has
differs, and how it is told (drivers/net/ethernet: their ndo_get_vf_config): be2net, mlx4 and mlx5 begin
without spoof checking, and be2net's older chips refuse it (be_set_vf_spoofchk); mlx4 says 4095 where there is
no VLAN (MLX4_VGT), qede the link's speed where there is no limit, and takes no 0 for one (qed_set_vf_rate);
bnx2x says 10 Gbit/s and knows no limit (bnx2x_get_vf_config).
"""

import errno
import zlib
from typing import Any, Dict, List, NamedTuple, Optional

from kernel_sysfs import Sysfs, name, refuse, resolved
from machine_description import Interface, members
from machine_devices import NET, interface, virtual_number

NO_MAC = "00:00:00:00:00:00"
UP, BROADCAST_MULTICAST = 0x1, 0x1002
# What cannot be read of an interface that is down (recorded): EINVAL.
ONLY_WHEN_UP = ("carrier", "dormant", "duplex", "speed", "testing")


class VfSettings(NamedTuple):
    """What a PF's driver keeps for a VF; the defaults are what igb gives a new one."""

    mac: str = NO_MAC
    vlan: int = 0
    qos: int = 0
    protocol: str = "802.1Q"
    max_rate: int = 0
    min_rate: int = 0
    spoof_check: bool = True
    link_state: str = "auto"
    trust: bool = False


class Policy(NamedTuple):
    """What a PF's driver takes of `ip link set PF vf N ...`, what it gives a new VF, and how it tells."""

    min_rate: bool = False
    link_state: bool = False
    spoof_check: bool = True
    new: VfSettings = VfSettings()
    no_vlan: int = 0
    tells_speed: bool = False
    limits: bool = True


_UNCHECKED = VfSettings(spoof_check=False)
POLICIES = {
    "mlx5_core": Policy(min_rate=True, link_state=True, new=_UNCHECKED),
    "mlx4_core": Policy(link_state=True, new=_UNCHECKED, no_vlan=4095),
    "be2net": Policy(link_state=True, spoof_check=False, new=_UNCHECKED),
    "qede": Policy(min_rate=True, link_state=True, tells_speed=True),
    "bnx2x": Policy(link_state=True, new=VfSettings(max_rate=10000), limits=False),
}


def _policy(sysfs: Sysfs, physical: str) -> Policy:
    return POLICIES.get(sysfs.driver(physical) or "", Policy())


def add_of_device(sysfs: Sysfs, device: str) -> None:
    """The interface that a network driver makes of the device that it was given."""
    card, index = sysfs.card(device)
    if card is None or not card.interfaces or not card.pci_class.startswith("02"):
        return
    if sysfs.is_virtual(device):
        physical = sysfs.physical(device)
        number = virtual_number(name(physical), card, name(device))
        # udev's name for it, as seen in the lab; for a second after its birth it is eth1, eth2 ...
        title = f"{card.interfaces[index]}v{number}"
        given = settings(sysfs, physical)[number].mac
        mac = _random_mac(sysfs, device) if given == NO_MAC else given
    else:
        title, mac = card.interfaces[index], card.macs[index]
    _add(sysfs, f"{device}/net/{title}", device, mac, sysfs.is_virtual(device))


def add_over(sysfs: Sysfs, described: Interface) -> None:
    """A bridge, a bond or a VLAN over other interfaces, with the links by which sysfs shows it."""
    if described.kind == "openvswitch":
        _add_openvswitch(sysfs, described)
        return
    folder = f"/sys/devices/virtual/net/{described.name}"
    _add(sysfs, folder, "", mac_of(sysfs, described), False)
    if described.kind == "bond":
        sysfs.put(folder + "/bonding/slaves", " ".join(described.over) + "\n")
    if described.kind == "bridge":
        sysfs.put(folder + "/bridge", {})
    for below in described.over:
        real = resolved(sysfs.root, f"{NET}/{below}")
        _put_over(sysfs, folder, real)
        if described.kind == "vlan":
            sysfs.put(f"{folder}/iflink", sysfs.text(real + "/ifindex"))
        else:
            sysfs.link(real + "/master", folder)
        if described.kind == "bridge":
            sysfs.link(real + "/brport/bridge", folder)
            sysfs.link(f"{folder}/brif/{below}", real + "/brport")
    set_up(sysfs, described.name, True)


def _add_openvswitch(sysfs: Sysfs, described: Interface) -> None:
    """Its bridges are no masters of their ports: all ports have the one datapath for that, bonds and
    VLANs are no interfaces at all, and of a bridge sysfs shows nothing but itself."""
    datapath = "/sys/devices/virtual/net/ovs-system"
    if not sysfs.exists(datapath):
        _add(sysfs, datapath, "", "6a:00:00:00:00:01", False)
    for below in members(sysfs.description.interfaces, described):
        real = resolved(sysfs.root, f"{NET}/{below}")
        if not sysfs.exists(real + "/master"):
            _put_over(sysfs, datapath, real)
            sysfs.link(real + "/master", datapath)
    folder = f"/sys/devices/virtual/net/{described.name}"
    _add(sysfs, folder, "", mac_of(sysfs, described), False)
    set_up(sysfs, described.name, True)


def _put_over(sysfs: Sysfs, above: str, below: str) -> None:
    sysfs.link(f"{below}/upper_{name(above)}", above)
    sysfs.link(f"{above}/lower_{name(below)}", below)


def mac_of(sysfs: Sysfs, described: Interface) -> str:
    first = members(sysfs.description.interfaces, described)[:1]
    return sysfs.text(f"{NET}/{first[0]}/address").strip() if first else NO_MAC


def remove_of_device(sysfs: Sysfs, device: str) -> None:
    for title in sysfs.names(device + "/net"):
        sysfs.remove(f"{NET}/{title}")
    sysfs.remove(device + "/net")


def _add(sysfs: Sysfs, folder: str, device: str, mac: str, of_vf: bool) -> None:
    sysfs.state["last_interface"] += 1
    sysfs.plant(interface(folder, device, mac, sysfs.state["last_interface"], of_vf))
    sysfs.link(f"{NET}/{name(folder)}", folder)


def _random_mac(sysfs: Sysfs, device: str) -> str:
    """Another one at each birth, as igbvf's, and yet the same in each run of a test."""
    seed = f"{sysfs.description.hostname} {device}".encode()
    number = zlib.crc32(seed, sysfs.state["last_interface"])
    return ":".join(["9e", "c5", *(f"{octet:02x}" for octet in number.to_bytes(4, "big"))])


# -- up and down ---------------------------------------------------------------------------------


def is_up(sysfs: Sysfs, title: str) -> bool:
    return bool(int(sysfs.text(f"{NET}/{title}/flags"), 16) & UP)


def set_up(sysfs: Sysfs, title: str, up: bool) -> None:
    """As the recordings show an interface that is up, and one that is down."""
    if up == is_up(sysfs, title):
        return
    folder = resolved(sysfs.root, f"{NET}/{title}")
    card, _ = sysfs.card(folder.partition("/net/")[0])
    carrier = card is None or card.cable
    shown: Dict[str, Any] = {attribute: {"err": "EINVAL"} for attribute in ONLY_WHEN_UP}
    if up:
        speed = card.speed if card else 10000
        shown = {"carrier": f"{carrier:d}\n", "dormant": "0\n", "testing": "0\n"}
        shown["speed"] = f"{speed if carrier else -1}\n"
        shown["duplex"] = "full\n" if carrier else "unknown\n"
    shown["flags"] = f"0x{BROADCAST_MULTICAST | (UP if up else 0):x}\n"
    shown["operstate"] = "up\n" if up and carrier else "down\n"
    if carrier:
        for counter in ("carrier_changes", "carrier_up_count" if up else "carrier_down_count"):
            shown[counter] = f"{int(sysfs.text(f'{folder}/{counter}')) + 1}\n"
    for attribute, entry in shown.items():
        sysfs.put(f"{folder}/{attribute}", entry)


# -- VFs, as their PF's driver keeps them --------------------------------------------------------


def settings(sysfs: Sysfs, physical: str) -> List[VfSettings]:
    kept = sysfs.state["vfs"].get(name(physical), [])
    new = _policy(sysfs, physical).new
    return [new._replace(**values) if values else new for values in kept]


def told(sysfs: Sysfs, physical: str, title: str) -> List[VfSettings]:
    """As the driver tells them."""
    policy, (card, _) = _policy(sysfs, physical), sysfs.card(physical)
    found = [one._replace(vlan=one.vlan or policy.no_vlan) for one in settings(sysfs, physical)]
    if policy.tells_speed and card is not None and is_up(sysfs, title):
        found = [one._replace(max_rate=one.max_rate or card.speed) for one in found]
    return found


def renew_settings(sysfs: Sysfs, physical: str, count: int) -> None:
    """New VFs begin with the driver's own settings: 0 and back resets them all (measured)."""
    sysfs.state["vfs"][name(physical)] = [{} for _ in range(count)]  # what differs from the defaults


def set_vf(sysfs: Sysfs, title: str, index: int, changes: Dict[str, Any]) -> None:
    """One `vf` part of a netlink message. The kernel hands the settings to the driver one by one, in
    this order (do_setvfinfo, net/core/rtnetlink.c), and those before a refusal stay."""
    folder = resolved(sysfs.root, f"{NET}/{title}")
    physical = folder.partition("/net/")[0]
    kept = settings(sysfs, physical)
    if sysfs.card(physical)[0] is None:
        refuse(errno.EOPNOTSUPP, title)
    if not 0 <= index < len(kept):
        refuse(errno.EINVAL, title)
    for group in (("mac",), ("vlan", "qos", "protocol"), ("max_rate", "min_rate")) + tuple(
        (single,) for single in ("spoof_check", "link_state", "trust")
    ):
        part = {key: changes[key] for key in group if key in changes}
        if not part:
            continue
        reason = _refusal(sysfs, physical, title, kept[index]._replace(**part), part)
        if reason:
            refuse(reason, title)
        if not is_up(sysfs, title):  # measured: it takes them, and warns
            sysfs.say(f"{sysfs.driver(physical)} {name(physical)}: Bring the PF device up before use")
        if _policy(sysfs, physical).tells_speed and part.get("max_rate") == 0:
            del part["max_rate"]
        kept[index] = kept[index]._replace(**part)
        sysfs.state["vfs"][name(physical)][index].update(part)


def _refusal(
    sysfs: Sysfs, physical: str, title: str, wanted: VfSettings, part: Dict[str, Any]
) -> Optional[int]:
    policy = _policy(sysfs, physical)
    if "mac" in part and int(wanted.mac[:2], 16) & 1:  # multicast
        return errno.EINVAL
    if "vlan" in part:
        if not 0 <= wanted.vlan < 4095 or not 0 <= wanted.qos < 8:
            return errno.EINVAL
        if wanted.protocol != "802.1Q":
            return errno.EPROTONOSUPPORT
    if "max_rate" in part or "min_rate" in part:
        card, _ = sysfs.card(physical)
        linked = is_up(sysfs, title) and card is not None and card.cable
        if not policy.limits:
            return errno.EOPNOTSUPP
        if wanted.min_rate and not policy.min_rate:
            return errno.EINVAL
        if not linked or card is None or wanted.max_rate > card.speed:  # the link's speed is unknown
            return errno.EINVAL
    if "spoof_check" in part and not policy.spoof_check:
        return errno.EOPNOTSUPP
    if "link_state" in part and not policy.link_state:
        return errno.EOPNOTSUPP
    return None
