"""Arguments of plugin calls: text in, checked values out, or `SRIOV_BAD_ARGUMENT` saying what is wrong."""

import re
from typing import List, Mapping, Optional, Sequence

from ..config.ini import FALSE, TRUE
from ..errors import SriovError, bad_argument
from ..machine import pci
from ..pool import GUEST_MOST_SECONDS, GUEST_SECONDS
from ..safetext import is_uuid

_INTERFACE = re.compile(r"[^\s/:]{1,15}")  # what the kernel allows as the name of one


def known_only(function: str, args: Mapping[str, str], names: Sequence[str]) -> None:
    """Refuses an argument that the function does not have, rather than ignoring it."""
    for name in args:
        if name not in names:
            takes = f"the arguments {', '.join(names)}" if names else "no arguments"
            raise SriovError(
                "SRIOV_BAD_ARGUMENT",
                f"{function} has no argument `{name[:80]}` (its value: `{args[name][:80]}`).",
                f"{function} takes {takes}.",
            )


def exactly_one(function: str, args: Mapping[str, str], names: Sequence[str], meaning: str) -> str:
    """Which of these arguments was given; refuses none and several."""
    given = [name for name in names if name in args]
    if len(given) != 1:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"{function} takes exactly one of {', '.join(names)}; the call has {', '.join(given) or 'none'}.",
            meaning,
        )
    return given[0]


def boolean(args: Mapping[str, str], name: str, default: bool) -> bool:
    """`true/false/yes/no/on/off/1/0`, in any case."""
    if name not in args:
        return default
    word = args[name].strip().lower()
    if word not in TRUE + FALSE:
        raise bad_argument(name, args[name], "true, yes, on, 1 or false, no, off, 0")
    return word in TRUE


def choice(args: Mapping[str, str], name: str, choices: Sequence[str]) -> Optional[str]:
    if name not in args:
        return None
    if args[name] not in choices:
        raise bad_argument(name, args[name], f"one of {', '.join(choices)}")
    return args[name]


def uuid(args: Mapping[str, str], name: str) -> Optional[str]:
    return required_uuid(args, name) if name in args else None


def required_uuid(args: Mapping[str, str], name: str) -> str:
    value = required(name, args.get(name)).lower()
    if not is_uuid(value):
        raise bad_argument(name, args[name], "a UUID such as 3f2b7a1e-58c4-4d0e-9a75-0d1c2b3a4f5e")
    return value


def device(args: Mapping[str, str], name: str) -> str:
    """Vendor and device in hexadecimal digits, as `lspci -n` shows them; lower-case."""
    value = required(name, args.get(name)).strip().lower()
    if not re.fullmatch("[0-9a-f]{4}:[0-9a-f]{4}", value):
        raise bad_argument(name, args[name], "vendor and device of a VF, such as 8086:10ed")
    return value


def address(args: Mapping[str, str], name: str) -> str:
    """A PCI address, full and lower-case; required."""
    value = required(name, args.get(name))
    found = pci.parse_address(value)
    if found is None:
        raise bad_argument(name, value, "a PCI address (0000:07:10.0 or 07:10.0)")
    return found


def addresses(args: Mapping[str, str], name: str) -> List[str]:
    """Addresses with commas between, or none; raises SRIOV_BAD_ARGUMENT."""
    return [address({name: part}, name) for part in args.get(name, "").split(",") if part]


def pf(args: Mapping[str, str], name: str = "pf") -> Optional[str]:
    """A PF by address (made full and lower-case) or by the name of its interface."""
    if name not in args:
        return None
    address, interface = pci.parse_address(args[name]), args[name].strip()
    if address is None and not _INTERFACE.fullmatch(interface):
        raise bad_argument(name, args[name], "a PCI address (0000:07:00.0 or 07:00.0) or an interface (eth2)")
    return address or interface


def required(name: str, value: Optional[str]) -> str:
    if value is None:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT", f"The argument {name} is missing.", f"Give it as args:{name}=..."
        )
    return value


def number(args: Mapping[str, str], name: str) -> int:
    """A whole number, 0 or more, in decimal digits."""
    value = required(name, args.get(name)).strip()
    if not re.fullmatch("[0-9]{1,9}", value):
        raise bad_argument(name, args[name], "a whole number, 0 or more")
    return int(value)


def guest_seconds(args: Mapping[str, str], least: int = 1) -> int:
    """`timeout`: the time that a guest has to let its VFs go; it takes a few seconds."""
    if "timeout" not in args:
        return GUEST_SECONDS
    seconds = number(args, "timeout")
    if not least <= seconds <= GUEST_MOST_SECONDS:
        raise bad_argument("timeout", args["timeout"], f"{least} to {GUEST_MOST_SECONDS} seconds")
    return seconds


def text(args: Mapping[str, str], name: str, accepted: str) -> Optional[str]:
    """Any text but an empty one."""
    if name not in args:
        return None
    if not args[name].strip():
        raise bad_argument(name, args[name], accepted)
    return args[name]
