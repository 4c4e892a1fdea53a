"""What the kernel tells of the settings of VFs, by rtnetlink."""

from struct import Struct
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

from ..config.vf_settings import VfSettings
from ..machine import netlink, pci, sysfs
from ..machine.host import Host
from ..safetext import plural

NO_VLAN = 4095  # what mlx4 says where there is none (kernel: mlx4/cmd.c, MLX4_VGT)
# Drivers that tell the link's speed where no rate limits a VF, and take no 0 to end a limit; for a VF with
# link_state enable it is what the fastest cards could do (kernel: qed_sriov.c, qed_get_vf_config and
# qed_set_vf_rate).
TELL_SPEED = ("qede",)
FASTEST = (40000, 100000)
# Drivers that know no limits, and tell a speed in their place (kernel: bnx2x_sriov.c, bnx2x_get_vf_config,
# always 10 Gbit/s; liquidio/lio_main.c, liquidio_get_vf_config, the link's).
WITHOUT_LIMITS = ("bnx2x", "liquidio")

_INFINIBAND = 32  # include/uapi/linux/if_arp.h
_QINQ = 0x88A8  # include/uapi/linux/if_ether.h, ETH_P_8021AD
_LINK_STATES = ("auto", "enable", "disable")
# include/uapi/linux/if_link.h: IFLA_VF_... Each begins with the VF's number; the last is a list of VLANs, of
# which there is one.
_MAC, _VLAN, _TX_RATE, _SPOOF_CHECK, _LINK_STATE, _RATE, _TRUST, _VLAN_LIST = 1, 2, 3, 4, 5, 6, 9, 12
_WANTED = (_VLAN, _TX_RATE, _SPOOF_CHECK, _LINK_STATE, _RATE, _TRUST)
_TWO, _THREE, _VLAN_PROTOCOL, _VLAN_INFO = Struct("=II"), Struct("=III"), Struct(">H"), Struct("=IIIH")
_NOT_TOLD = 0xFFFFFFFF  # by the driver (net/core/rtnetlink.c, rtnl_fill_vfinfo)


class Shown(NamedTuple):
    """What the kernel tells of VFs' settings. `cut_off`: why it does not tell those of all."""

    settings: Dict[str, Dict[int, VfSettings]]  # interface -> VF index -> settings
    cut_off: Dict[str, str]  # interface -> in words


def read(host: Host, pfs: Sequence[pci.PhysicalFunction]) -> Shown:
    """Of all VFs of these PFs: what their drivers tell in ways of their own is as all tell it."""
    shown = Shown({}, {})
    for pf in pfs:
        for name in pf.settings_interfaces if pf.num_vfs else ():
            try:
                link = netlink.with_vfs(host, name)
            except OSError as error:
                shown.cut_off[name] = f"the kernel does not tell of {name}: {error.strerror or error}"
                continue
            vfs = shown.settings[name] = told(link)
            if link.num_vfs is not None and len(vfs) < link.num_vfs:
                shown.cut_off[name] = (
                    f"the kernel tells of {len(vfs)} of the {plural(link.num_vfs, 'VF')} of {name}"
                )
            if pf.driver in TELL_SPEED:
                shown.settings[name] = without_speed(vfs, sysfs.speed(host, name))
            elif pf.driver in WITHOUT_LIMITS:
                shown.settings[name] = {number: vf._replace(max_tx_rate=0) for number, vf in vfs.items()}
    return shown


def told(link: netlink.Link) -> Dict[int, VfSettings]:
    """By VF index. Hundreds of VFs are told of alike, most with the same settings but for their MACs: where
    an attribute stands is looked for once, and the same settings are read once."""
    found: Dict[int, VfSettings] = {}
    form: Optional[_Form] = None
    for begin, end in link.vfs:
        if form is None or form.size != end - begin or form.heads.unpack_from(link.data, begin) != form.are:
            form = _form(link.data, begin, end)
            alike: Dict[Tuple[Any, ...], Tuple[Any, ...]] = {}
        if form is None:
            continue
        number, mac, *rest = form.contents.unpack_from(link.data, begin)
        key = tuple(rest)
        if key not in alike:
            alike[key] = _settings(link.data, begin, end)[1:]
        text = None if link.kind == _INFINIBAND else "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}".format(*mac)
        found[number] = VfSettings(text, *alike[key])
    return found


class _Form(NamedTuple):
    """How the kernel tells of a VF: the heads of the attributes; the VF's number, its MAC, and what else is
    wanted."""

    size: int
    heads: Struct
    are: Tuple[int, ...]
    contents: Struct


def _form(data: bytes, begin: int, end: int) -> Optional[_Form]:
    """None where it does not begin with a MAC, as it always does."""
    heads, contents, at = "=", "=", begin
    for kind, first, last in netlink.attributes(data, begin, end):
        gap, size = first - at, last - first
        heads += f"{gap - netlink.ATTRIBUTE.size}xI{size}x"
        if kind == _MAC and at == begin and size >= 10:
            contents += f"{gap}xI6s{size - 10}x"
        elif kind == _VLAN_LIST and size >= 8:
            contents += f"{gap}x4s4x{size - 8}s"
        elif kind in _WANTED and size >= 4:
            contents += f"{gap + 4}x{size - 4}s"
        else:
            contents += f"{gap + size}x"
        at = last
    if not contents.startswith("=4xI6s"):
        return None
    whole = Struct(heads)
    return _Form(end - begin, whole, whole.unpack_from(data, begin), Struct(contents))


def _settings(data: bytes, begin: int, end: int) -> VfSettings:
    """Without the MAC. What is not told is as `ip` shows it: it leaves out what is zero."""
    parts = {kind: data[first:last] for kind, first, last in netlink.attributes(data, begin, end)}

    def numbers(kind: int, form: Struct) -> Tuple[int, ...]:
        """What follows the VF's number; nothing where it is not told."""
        part = parts.get(kind, b"")
        return form.unpack_from(part)[1:] if len(part) >= form.size else ()

    def switch(kind: int) -> Optional[bool]:
        (value,) = numbers(kind, _TWO) or (_NOT_TOLD,)
        return None if value == _NOT_TOLD else bool(value)

    vlan, qos = numbers(_VLAN, _THREE) or (0, 0)
    protocol = 0
    vlans = parts.get(_VLAN_LIST, b"")
    for _kind, first, last in netlink.attributes(vlans, 0, len(vlans)):
        if last - first >= _VLAN_INFO.size:
            vlan, qos = _THREE.unpack_from(vlans, first)[1:]
            (protocol,) = _VLAN_PROTOCOL.unpack_from(vlans, first + _THREE.size)
    low, high = numbers(_RATE, _THREE) or (0, 0)
    (old_high,) = numbers(_TX_RATE, _TWO) or (0,)  # all that old kernels tell
    (state,) = numbers(_LINK_STATE, _TWO) or (None,)
    return VfSettings(
        vlan=vlan % NO_VLAN,
        qos=qos,
        vlan_protocol="802.1ad" if protocol == _QINQ else "802.1q",
        min_tx_rate=low,
        max_tx_rate=high or old_high,
        spoof_check=switch(_SPOOF_CHECK),
        trust=switch(_TRUST),
        link_state=None if state is None else _LINK_STATES[min(state, 2)],
    )


def without_speed(vfs: Dict[int, VfSettings], speed: Optional[int]) -> Dict[int, VfSettings]:
    """As a driver of `TELL_SPEED` would tell its VFs if it said 0 where there is no limit."""

    def limits(vf: VfSettings) -> bool:
        return vf.max_tx_rate != speed and not (vf.link_state == "enable" and vf.max_tx_rate in FASTEST)

    return {number: vf if limits(vf) else vf._replace(max_tx_rate=0) for number, vf in vfs.items()}
