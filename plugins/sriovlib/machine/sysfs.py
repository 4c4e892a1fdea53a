"""Where sysfs shows PCI devices and network interfaces, and what it says of an interface."""

from typing import Optional

from .host import Host

DEVICES = "/sys/bus/pci/devices"
INTERFACES = "/sys/class/net"


def device(address: str, attribute: str = "") -> str:
    """The path of a PCI device, or of something in its folder."""
    return f"{DEVICES}/{address}/{attribute}" if attribute else f"{DEVICES}/{address}"


def interface(name: str, attribute: str = "") -> str:
    """The path of a network interface, or of something in its folder."""
    return f"{INTERFACES}/{name}/{attribute}" if attribute else f"{INTERFACES}/{name}"


def link_up(host: Host, name: Optional[str]) -> Optional[bool]:
    """Whether the port has a link; None without an interface. A port that is down reads EINVAL."""
    return host.text(interface(name, "carrier")) == "1" if name else None


def speed(host: Host, name: Optional[str]) -> Optional[int]:
    """Of the link, in Mbit/s; None without an interface or a link (then it reads EINVAL, or -1)."""
    found = host.number(interface(name, "speed")) if name else None
    return found if found and found > 0 else None


def is_up(host: Host, name: Optional[str]) -> Optional[bool]:
    """Whether the interface is administratively up (IFF_UP in its flags); None where there is none, or it
    has just been renamed."""
    flags = host.text(interface(name, "flags")) if name else None
    digits = flags[2:] if flags and flags.startswith("0x") else ""
    is_one = 0 < len(digits) < 9 and not digits.strip("0123456789abcdefABCDEF")
    return bool(int(digits, 16) & 1) if is_one else None


def mac_of(host: Host, name: Optional[str]) -> Optional[str]:
    """The interface's present MAC; None without one, as for InfiniBand, whose addresses have 20 bytes."""
    found = host.text(interface(name, "address")) if name else None
    return found if found is None or len(found) == len("00:00:00:00:00:00") else None
