"""The settings of network VFs (MAC, VLAN, rates ...): their names, and the values that they take."""

from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Tuple

from . import ini


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


def values(settings: VfSettings) -> Dict[str, Any]:
    """Those that are known."""
    return {name: value for name, value in settings._asdict().items() if value is not None}


UNKNOWN = VfSettings()
NAMES = VfSettings._fields
NO_MAC = "00:00:00:00:00:00"
DEFAULT = "default"  # in the place of a value: what the driver gives a fresh VF, and nothing in a file
# What every driver gives a fresh VF; where drivers differ: driver_defaults.py.
UNSET = VfSettings(NO_MAC, 0, 0, "802.1q", 0, 0, trust=False)


def is_mac(text: str) -> bool:
    is_long = len(text) == len(NO_MAC) and text[2::3] == ":::::"
    return is_long and not (text[0::3] + text[1::3]).strip("0123456789abcdefABCDEF")


def _mac(text: str) -> Optional[str]:
    unicast = is_mac(text) and int(text[:2], 16) & 1 == 0 and text != NO_MAC
    return text.lower() if unicast else None


def _up_to(largest: int) -> Callable[[str], Optional[int]]:
    def value(text: str) -> Optional[int]:
        number = ini.number(text)
        return number if number is not None and number <= largest else None

    return value


def _one_of(*words: str) -> Callable[[str], Optional[str]]:
    return lambda text: text.lower() if text.lower() in words else None


_SWITCH = "true, yes, on, 1 or false, no, off, 0"
_ACCEPTED: Dict[str, Tuple[Callable[[str], Any], str]] = {
    "mac": (_mac, "a unicast MAC such as 02:1b:21:00:00:05"),
    "vlan": (_up_to(4094), "a number from 0 (untagged) to 4094"),
    "qos": (_up_to(7), "a number from 0 to 7"),
    "vlan_protocol": (_one_of("802.1q", "802.1ad"), "802.1q or 802.1ad"),
    "min_tx_rate": (_up_to(10**7), "a rate in Mbit/s, 0 for none"),
    "max_tx_rate": (_up_to(10**7), "a rate in Mbit/s, 0 for no limit"),
    "spoof_check": (ini.boolean, _SWITCH),
    "trust": (ini.boolean, _SWITCH),
    "link_state": (_one_of("auto", "enable", "disable"), "auto, enable or disable"),
}


def parse_value(name: str, text: str) -> Any:
    """The value of a setting; ValueError with what is accepted, KeyError where there is no such setting."""
    parse, accepted = _ACCEPTED[name]
    value = parse(text.strip())
    if value is None:
        raise ValueError(accepted)
    return value


def is_understood(name: str, text: Any) -> bool:
    """Whether this is a setting, and a value of it or `default`."""
    if name not in _ACCEPTED or not isinstance(text, str):
        return False
    return text == DEFAULT or _ACCEPTED[name][0](text.strip()) is not None


def differing(wanted: Mapping[str, str], now: VfSettings) -> Dict[str, str]:
    """Those of these settings, in the ledger's words, of which `now` is known to have another value."""
    found = {}
    for name, text in wanted.items():
        is_now = getattr(now, name)
        if text != DEFAULT and is_now is not None and is_now != parse_value(name, text):
            found[name] = text
    return found


def as_text(value: Any) -> str:
    """A value as `parse_value` reads it."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def contradiction(settings: Mapping[str, Any], speed: Optional[int]) -> Optional[Tuple[str, str]]:
    """The first setting that contradicts the others or the link, and what it takes. `speed` of the link in
    Mbit/s."""
    for name in ("qos", "vlan_protocol"):
        if settings.get(name) not in (None, getattr(UNSET, name)) and not settings.get("vlan"):
            return name, "a VLAN beside it (vlan 1 to 4094)"
    low, high = settings.get("min_tx_rate") or 0, settings.get("max_tx_rate") or 0
    if high and low > high:
        return "min_tx_rate", f"at most max_tx_rate, which is {high}"
    for name, rate in (("max_tx_rate", high), ("min_tx_rate", low)):
        if speed and rate > speed:
            return name, f"at most the speed of the link, {speed} Mbit/s"
    return None


def derived_mac(vm_uuid: str, number: int, attempt: int = 0) -> str:
    """The MAC of a request to which none was given: the same for ever.

    The first six bytes of the SHA-256 of `sriov <vm uuid> <number> <attempt>`, in the first of which the
    upper bit is set and the lower four are 2: 82, 92, ... f2. That is locally administered and unicast, in
    the quarter that IEEE 802c leaves to administrators, and out of the way of prefixes in wide use: 02:42
    (containers), 52:54:00 (QEMU), fe:ff:ff (dom0's side of a VIF), 00:16:3e (Xen). xapi makes the MACs of
    VIFs out of all locally administered ones, so a caller compares with those, and goes on to the next
    attempt.
    """
    from .. import digest  # most calls derive none

    octets = bytearray(digest.sha256(f"sriov {vm_uuid.lower()} {number} {attempt}".encode())[:6])
    octets[0] = octets[0] & 0x70 | 0x82
    return ":".join(f"{octet:02x}" for octet in octets)
