"""The settings of network VFs (MAC, VLAN, rates ...), as `ip link` tells them of the PF's interface."""

import re
from typing import Dict, NamedTuple, Optional

from .host import Completed

COMMAND = ("ip", "-details", "link", "show")  # one process for all interfaces of the host


class VfSettings(NamedTuple):
    """What can be set on a VF from dom0. None: the driver does not tell."""

    mac: Optional[str] = None  # all zeros: none was set, and the guest's driver makes up its own
    vlan: Optional[int] = None  # 0: untagged
    qos: Optional[int] = None
    vlan_protocol: Optional[str] = None  # 802.1q or 802.1ad
    min_tx_rate: Optional[int] = None  # Mbit/s; 0: no limit
    max_tx_rate: Optional[int] = None
    spoof_check: Optional[bool] = None
    trust: Optional[bool] = None
    link_state: Optional[str] = None  # auto, enable or disable


UNKNOWN = VfSettings()

_INTERFACE = re.compile(r"\d+: ([^:@\s]+)[:@]")
_VF = re.compile(r"\s+vf (\d+)\s+(?:MAC|link/\S+) ([0-9a-fA-F:]+)(.*)")


def parse(answer: Completed) -> Dict[str, Dict[int, VfSettings]]:
    """Interface -> VF index -> settings, of what `COMMAND` printed; nothing where it failed.

    Its text is read and not its JSON, which the `ip` of XCP-ng 8.3 does not have. The old one says
    `vf 0 MAC 02:..`, a new one `vf 0     link/ether 02:.. brd ff:..`; both leave out what is zero
    or what the driver does not report (iproute2: ip/ipaddress.c, print_vfinfo).
    """
    found: Dict[str, Dict[int, VfSettings]] = {}
    vfs: Dict[int, VfSettings] = {}
    for line in answer.stdout.splitlines() if answer.status == 0 else ():
        if line[:1] != " ":
            match = _INTERFACE.match(line)
            if match:
                vfs = found.setdefault(match.group(1), {})
        elif line.lstrip().startswith("vf "):
            vf = _VF.match(line)
            if vf:
                vfs[int(vf.group(1))] = _settings(vf.group(2).lower(), vf.group(3))
    return found


def _settings(mac: str, rest: str) -> VfSettings:
    vlan, qos, protocol, minimum, maximum = 0, 0, "802.1q", 0, 0
    spoof: Optional[bool] = None
    trust: Optional[bool] = None
    link: Optional[str] = None
    for part in rest.split(", "):
        words = part.split()
        if part.startswith("vlan protocol "):
            protocol = words[2].lower()
        elif part.startswith("vlan "):
            vlan = int(words[1])
        elif part.startswith("qos "):
            qos = int(words[1])
        elif part.startswith("tx rate "):  # all that an old kernel tells of the upper limit
            maximum = maximum or int(words[2])
        elif part.startswith("max_tx_rate "):
            maximum = int(words[1].replace("Mbps", ""))
        elif part.startswith("min_tx_rate "):
            minimum = int(words[1].replace("Mbps", ""))
        elif part.startswith("spoof checking "):
            spoof = words[2] == "on"
        elif part.startswith("trust "):
            trust = words[1] == "on"
        elif part.startswith("link-state "):
            link = words[1]
    return VfSettings(mac, vlan, qos, protocol, minimum, maximum, spoof, trust, link)
