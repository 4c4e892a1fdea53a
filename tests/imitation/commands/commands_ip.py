"""The command `ip`: links shown as iproute2 prints them, interfaces and VFs set.

The format of 6.1 is the recorded one. Before 5.0, as on XCP-ng 8.3, a VF's line begins `vf 0 MAC`
(ip/ipaddress.c, print_vfinfo).
"""

import os
from functools import lru_cache
from typing import Any, Callable, Dict, List, Sequence, Tuple

import kernel_net
from commands import Answer, not_imitated
from kernel_sysfs import Sysfs, name, resolved
from machine_devices import NET


def ip(sysfs: Sysfs, arguments: Sequence[str], input_text: str) -> Answer:
    words = list(arguments)
    if words == ["-force", "-batch", "-"]:
        return _batch(sysfs, input_text)
    if words == ["-oneline", "address", "show"]:
        return Answer(0, _addresses(sysfs))
    details = words[:1] == ["-details"]
    if words[details : details + 2] == ["link", "show"]:
        return _show(sysfs, words[details + 2 :], details)
    if words[:2] == ["link", "set"]:
        return _set(sysfs, words[2:])
    return not_imitated("ip", arguments)


def _addresses(sysfs: Sysfs) -> str:
    """`ip -oneline address show`: lo's, and those that dom0's interfaces were described with."""
    lines = ["1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n"]
    lines += [
        f"{number}: {one.name}    inet {one.ipv4} brd + scope global {one.name}\\       valid_lft forever\n"
        for number, one in enumerate(sysfs.description.interfaces, 2)
        if one.ipv4
    ]
    return "".join(lines)


def _batch(sysfs: Sysfs, text: str) -> Answer:
    """Line by line to the end, whatever fails."""
    output, errors = "", ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            answer = ip(sysfs, line.split(), "")
            output += answer.stdout
            if answer.status:
                errors += f"{answer.stderr}Command failed -:{number}\n"
    return Answer(1 if errors else 0, output, errors)


# -- ip link set ---------------------------------------------------------------------------------


def _set(sysfs: Sysfs, arguments: Sequence[str]) -> Answer:
    words = list(arguments)
    if words[0] == "dev":
        del words[0]
    title = words.pop(0)
    if not sysfs.exists(f"{NET}/{title}"):
        return Answer(1, "", f'Cannot find device "{title}"\n')
    try:
        while words:
            word = words.pop(0)
            if word in ("up", "down"):
                kernel_net.set_up(sysfs, title, word == "up")
            elif word == "vf":
                index = int(words.pop(0))
                kernel_net.set_vf(sysfs, title, index, _vf_changes(words))
            else:
                return not_imitated("ip link set", arguments)
    except OSError as refused:
        return Answer(2, "", f"RTNETLINK answers: {os.strerror(refused.errno or 0)}\n")
    return Answer()


def _is_on(value: str) -> bool:
    return value == "on"


_SETTINGS: Dict[str, Tuple[str, Callable[[str], Any]]] = {
    "mac": ("mac", str.lower),
    "vlan": ("vlan", int),
    "qos": ("qos", int),
    "proto": ("protocol", lambda value: value.lower().replace("q", "Q")),
    "rate": ("max_rate", int),
    "max_tx_rate": ("max_rate", int),
    "min_tx_rate": ("min_rate", int),
    "spoofchk": ("spoof_check", _is_on),
    "trust": ("trust", _is_on),
    "state": ("link_state", str),
}


def _vf_changes(words: List[str]) -> Dict[str, Any]:
    """The settings after `vf N`, taken off the words. A VLAN comes with the defaults of its kind."""
    changes: Dict[str, Any] = {}
    while words and words[0] not in ("vf", "up", "down"):
        key, read = _SETTINGS[words.pop(0)]
        if key == "vlan":
            changes = {"qos": 0, "protocol": "802.1Q", **changes}
        changes[key] = read(words.pop(0))
    return changes


# -- ip link show --------------------------------------------------------------------------------


def _show(sysfs: Sysfs, arguments: Sequence[str], details: bool) -> Answer:
    wanted = [word for word in arguments if word != "dev"]
    if wanted and not sysfs.exists(f"{NET}/{wanted[0]}"):
        return Answer(1, "", f'Device "{wanted[0]}" does not exist.\n')
    folders = [resolved(sysfs.root, f"{NET}/{title}") for title in wanted or sysfs.names(NET)]
    folders.sort(key=lambda folder: int(sysfs.text(folder + "/ifindex")))
    return Answer(0, "".join(_link(sysfs, folder, details) for folder in folders))


def _link(sysfs: Sysfs, folder: str, details: bool) -> str:
    """An interface's lines: names and numbers, addresses, kind and limits, VFs."""
    shown = {key: sysfs.text(f"{folder}/{key}").strip() for key in ("ifindex", "mtu", "address")}
    title, master, below = name(folder), "", ""
    if sysfs.exists(folder + "/master"):
        master = f"master {name(resolved(sysfs.root, folder + '/master'))} "
    kind = _kind(sysfs, title)
    if kind == "vlan":
        below = "@" + next(entry[6:] for entry in sysfs.names(folder) if entry.startswith("lower_"))
    text = (
        f"{shown['ifindex']}: {title}{below}: <{_flags(sysfs, folder)}> mtu {shown['mtu']} "
        f"qdisc {_queue_discipline(sysfs, folder)} {master}state {_state(sysfs, folder)} "
        "mode DEFAULT group default qlen 1000\n"
    )
    loopback = title == "lo"
    broadcast = kernel_net.NO_MAC if loopback else "ff:ff:ff:ff:ff:ff"
    text += f"    link/{'loopback' if loopback else 'ether'} {shown['address']} brd {broadcast}"
    text += _details(sysfs, folder, kind) if details else ""
    device = folder.partition("/net/")[0]
    if folder.startswith(device + "/net/") and not sysfs.is_virtual(device):
        new = sysfs.description.iproute >= (5, 0)
        vfs = kernel_net.told(sysfs, device, name(folder))
        text += "".join(f"\n    vf {number}{_vf(settings, new)}" for number, settings in enumerate(vfs))
    return text + "\n"


@lru_cache(maxsize=None)  # of hundreds of VFs most are alike
def _vf(settings: kernel_net.VfSettings, new: bool) -> str:
    address = f"     link/ether {settings.mac} brd ff:ff:ff:ff:ff:ff" if new else f" MAC {settings.mac}"
    parts = [address]
    if settings.vlan:
        parts.append(f"vlan {settings.vlan}")
        parts += [f"qos {settings.qos}"] if settings.qos else []
        parts += [f"vlan protocol {settings.protocol}"] if settings.protocol != "802.1Q" else []
    if settings.max_rate:
        parts += [f"tx rate {settings.max_rate} (Mbps)", f"max_tx_rate {settings.max_rate}Mbps"]
    if settings.min_rate:
        parts.append(f"min_tx_rate {settings.min_rate}Mbps")
    parts.append(f"spoof checking {'on' if settings.spoof_check else 'off'}")
    parts.append(f"link-state {settings.link_state}")
    parts.append(f"trust {'on' if settings.trust else 'off'}")
    return ", ".join(parts)


def _kind(sysfs: Sysfs, title: str) -> str:
    """What was described; `openvswitch` for a bridge of its."""
    kinds = {described.name: described.kind for described in sysfs.description.interfaces}
    return "openvswitch" if title == "ovs-system" else kinds.get(title, "")


def _flags(sysfs: Sysfs, folder: str) -> str:
    if name(folder) == "lo":
        return "LOOPBACK,UP,LOWER_UP"
    if not kernel_net.is_up(sysfs, name(folder)):
        return "BROADCAST,MULTICAST"
    carrier = sysfs.text(folder + "/operstate").strip() == "up"
    return "BROADCAST,MULTICAST,UP,LOWER_UP" if carrier else "NO-CARRIER,BROADCAST,MULTICAST,UP"


def _state(sysfs: Sysfs, folder: str) -> str:
    return sysfs.text(folder + "/operstate").strip().upper()


def _queue_discipline(sysfs: Sysfs, folder: str) -> str:
    if folder.startswith("/sys/devices/virtual/"):
        return "noqueue"
    if not kernel_net.is_up(sysfs, name(folder)):
        return "noop"
    return "mq" if _queues(sysfs, folder) > 1 else "fq_codel"


def _queues(sysfs: Sysfs, folder: str) -> int:
    """As recorded: eight of a card with SR-IOV, one of a VF and of others."""
    return 8 if sysfs.exists(folder.partition("/net/")[0] + "/sriov_numvfs") else 1


def _details(sysfs: Sysfs, folder: str, kind: str) -> str:
    new = sysfs.description.iproute >= (5, 0)
    loopback = name(folder) == "lo"
    text = " promiscuity 0 "
    if new:
        text += " allmulti 0 minmtu 0 maxmtu 0 " if loopback else " allmulti 0 minmtu 68 maxmtu 9216 "
    tag = [described.tag for described in sysfs.description.interfaces if described.name == name(folder)]
    words = {
        "bridge": "bridge forward_delay 1500 hello_time 200 max_age 2000 ageing_time 30000 stp_state 0",
        "bond": "bond mode active-backup miimon 100 updelay 31000 downdelay 200",
        "vlan": f"vlan protocol 802.1Q id {tag[0] if tag else 0} <REORDER_HDR>",
        "openvswitch": "openvswitch",
    }
    text += f"\n    {words[kind]} " if kind else ""
    queues = _queues(sysfs, folder)
    text += f"addrgenmode eui64 numtxqueues {queues} numrxqueues {queues} "
    text += "gso_max_size 65536 gso_max_segs 65535 "
    if new:
        text += f"tso_max_size {524280 if loopback else 65536} tso_max_segs 65535 gro_max_size 65536 "
        if not folder.startswith("/sys/devices/virtual/"):
            device = folder.partition("/net/")[0]
            bus = name(resolved(sysfs.root, device + "/subsystem"))
            text += f"parentbus {bus} parentdev {name(device)} "
    return text
