"""What a guest needs to use its VFs: which they are to it, drivers, a network configuration. Pure.

The IDs that Linux's drivers take are those of its modules (Linux 6.1.192, `modinfo -F alias`); of drivers
that take PFs too all are listed, as a VF may have the PF's ID (mlx4, be2net). For Windows it is the package
in which the card's vendor has the driver.
"""

import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from .ledger import Request
from .state import Vm
from .vifs import Vif

LOOK_MS = 100  # from one look of a bond at its links to the next
NOTICES = 25  # of a bond that has changed over, one at each look

_INTEL = "Intel Ethernet drivers for Windows (PROSet package)"
_QAT = "Intel QuickAssist drivers for Windows"
_BNXT = "160[4-9]|1614|16bd|16c[0-589a-f]|16d[0-9cef]|16e[1-35-9a-f]|16f[01]|175[0-2]|180[0-9]|d80[024]"

# driver in Linux, package for Windows, and a pattern of device IDs of a vendor
_KNOWN = (
    ("8086", "igbvf", _INTEL, "10ca|1520"),
    ("8086", "ixgbevf", _INTEL, "10ed|1515|152e|1530|1564|1565|15a8|15a9|15c5|57ad"),
    ("8086", "iavf", _INTEL, "154c|1571|1889|37cd"),
    ("8086", "qat_dh895xccvf", _QAT, "0443"),
    ("8086", "qat_c62xvf", _QAT, "37c9"),
    ("8086", "qat_c3xxxvf", _QAT, "19e3"),
    ("15b3", "mlx4_core, mlx4_en", "NVIDIA WinOF", "100[2-9a-f]|1010"),
    ("15b3", "mlx5_core", "NVIDIA WinOF-2", "101[1-9a-f]|102[1357]|a2d[236cf]"),
    ("14e4", "bnx2x", "Broadcom NetXtreme II drivers", "166f|163f|16a9|16ad|16af"),
    ("1077", "bnx2x", "Marvell FastLinQ drivers", "16a[14d]"),
    ("14e4", "bnxt_en", "Broadcom NetXtreme-E drivers", _BNXT),
    ("1077", "qede", "Marvell FastLinQ drivers", "1634|1636|1644|1654|1656|1664|1666|8070|8090"),
    ("10df", "be2net", "Broadcom Emulex OneConnect drivers", "0720|0728|e220|e228"),
    ("19a2", "be2net", "Broadcom Emulex OneConnect drivers", "0211|0221|0700|0710"),
    ("1425", "cxgb4vf", "Chelsio Unified Wire for Windows", "[456]8[0-9ab][0-9a-f]"),
    ("1137", "enic", "Cisco VIC drivers", "0043|0044|0071"),
    ("1924", "sfc", "Solarflare drivers for Windows", "0[9ab]03|0923|1[9ab]03|1923"),
    ("10ee", "sfc", None, "[01]100"),
    ("19ee", "nfp", None, "3803|6003"),
    ("1da8", "nfp", None, "3803|6003"),
    ("19e5", "hinic", None, "375e"),
    ("1d0f", "ena", "Amazon ENA driver", "ec2[01]|0ec2|1ec2|0051"),
    ("177d", "liquidio_vf", None, "9712"),
    ("1af4", "virtio_net", "virtio-win (NetKVM)", "1000|1041"),
)


class Drivers(NamedTuple):
    """Names; None: not known, or for Windows that the vendor has none."""

    linux: Optional[str]
    windows: Optional[str]


def drivers(device: str) -> Drivers:
    """For a VF's `vendor:device`, as in `8086:10ed`."""
    if device not in _DRIVERS:
        _DRIVERS[device] = _drivers(device)
    return _DRIVERS[device]


_DRIVERS: Dict[str, Drivers] = {}  # a pool's thousand VFs are of few devices


def _drivers(device: str) -> Drivers:
    vendor, _, number = device.partition(":")
    for known, linux, windows, numbers in _KNOWN:
        if vendor == known and re.fullmatch(numbers, number):
            return Drivers(linux, windows)
    return Drivers(None, None)


def needs(vm: Vm, request: Request, address: Optional[str], device: Optional[str]) -> Dict[str, Any]:
    """Of the request's VF `address`; `device` is its `vendor:device`, where its host answered. `{position,
    device, mac, vlan, linux_driver, windows_driver}`: `position` counts all entries from 1 in the order in
    which xapi plugs them, that of the guest's bus, and is null where there is no entry for it; `vlan` is the
    tag that the host puts on and takes off, 0 for none; a driver is null where it is not known."""
    if device is None and request.choice.kind in ("device", "vf"):
        device = request.choice.value if request.choice.kind == "device" else request.choice.device
    found = drivers(device or "")
    return {
        "position": vm.named.index(address) + 1 if address in vm.named else None,
        "device": device,
        "mac": request.settings.get("mac"),
        "vlan": request.vlan,
        "linux_driver": found.linux,
        "windows_driver": found.windows,
    }


class Interface(NamedTuple):
    """A VF that is a network interface, and the VIF that its guest can bond with it."""

    request: int
    mac: str
    vif: Optional[Vif]


def cloud_init(interfaces: Sequence[Interface]) -> str:
    """The file `network-config` of cloud-init (version 2, YAML; netplan's below its key `network`) for them,
    each with DHCP; "" for none. A MAC is the VF's whichever slot and name the guest gives it."""
    lines: List[str] = []
    for one in interfaces:
        lines += _matched(f"vf{one.request}", one.mac, one.vif is not None)
        lines += _matched(f"vif{one.vif.device}", one.vif.mac, True) if one.vif else _DHCP
    bonds = [line for one in interfaces if one.vif for line in _bond(one.request, one.vif.device)]
    parts = [*(["ethernets:", *lines] if lines else []), *(["bonds:", *bonds] if bonds else [])]
    return "\n".join(["version: 2", *parts]) + "\n" if parts else ""


_DHCP = ["    dhcp4: true"]


def _matched(name: str, mac: str, bonded: bool) -> List[str]:
    """A bond may know its primary by the interface's name only (netplan with NetworkManager)."""
    found = [f"  {name}:", "    match:", f'      macaddress: "{mac.lower()}"']
    return [*found, f"    set-name: {name}"] if bonded else found


def _bond(request: int, vif: str) -> List[str]:
    """Over the VF while it is there. netplan has no parameter for peer_notif_delay: as many notices at each
    look at the links last as long as five with half a second between them."""
    parameters = {
        "mode": "active-backup",
        "primary": f"vf{request}",
        "fail-over-mac-policy": "active",
        "mii-monitor-interval": LOOK_MS,
        "up-delay": 1000,
        "gratuitous-arp": NOTICES,
    }
    return [
        f"  bond{request}:",
        f"    interfaces: [vf{request}, vif{vif}]",
        "    parameters:",
        *(f"      {name}: {value}" for name, value in parameters.items()),
        *_DHCP,
    ]
