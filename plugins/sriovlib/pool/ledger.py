"""The ledger: which VFs a VM asked for and was lent, as text in the pool and as values; what else is kept
of a VM's VFs is derived from it. Reads strictly and touches nothing.

`pool.other_config` has one key a VM, `sriov-vm-<vm uuid>`, of compact JSON:

{"version": 1,
 "requests": [{"number": 1, "by": "network", "value": "<uuid>", "settings": {"mac": "b2:...", "vlan": "12"}},
              {"number": 3, "by": "pf", "value": "0000:07:00.0", "device": "8086:10fb", "settings": {}}],
 "next": 4,
 "lease": {"host": "<uuid>", "vfs": {"1": "0000:07:10.0"}, "serial": 17, "replaced": {"<uuid>": 1700000000}},
 "nomigrate": true,
 "pci": "0/0000:07:10.0",
 "past": ["0000:07:10.0"]}

`lease`, in it `replaced` and `networks` (`{"3": ["<uuid>"]}`), and `device` of a request by network or device
are left out where there is none.
"""

import json
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Pattern, Set, Tuple

from ..config import vf_settings
from ..safetext import LONGEST

PREFIX = "sriov-vm-"
# Beside a VM's key while that is written anew: xapi changes a key by taking it out and putting it in.
NEXT_PREFIX = "sriov-next-"
VERSION = 1
LARGEST = 2**53  # what every JSON reader keeps exact

_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What a VM can be given: xapi's entries hold no domain of more than four digits.
_ADDRESS = re.compile("[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f][.][0-7]")
_DEVICE = re.compile("[0-9a-f]{4}:[0-9a-f]{4}")
_NUMBER = re.compile("0|[1-9][0-9]{0,15}")
_VALUES: Dict[str, Tuple[Pattern[str], str]] = {
    "network": (_UUID, "the UUID of a network"),
    "pf": (_ADDRESS, "the address of a PF"),
    "vf": (_ADDRESS, "the address of a VF"),
    "device": (_DEVICE, "vendor and device such as 8086:10ed"),
}
_NAMES_DEVICE = ("pf", "vf")  # an address means the same thing only where the same device is behind it


class LedgerError(ValueError):
    """The text says nothing that can be relied on; its sentence says why."""


class Choice(NamedTuple):
    """Which VFs would do."""

    kind: str  # network, pf, vf or device
    value: str  # UUID of the network; address of the PF or VF; vendor:device of the VF
    device: Optional[str] = None  # vendor:device of the PF or VF at that address; else None


class Request(NamedTuple):
    number: int  # unique in its VM and never used again: the MAC derives from it
    choice: Choice
    settings: Dict[str, str]  # name -> value as `configure_vf` takes it; a MAC is lower-case


class Lease(NamedTuple):
    """A host's VFs that are this VM's and nobody else's, whether it runs or not."""

    host: str
    vfs: Dict[int, str]  # number of the request -> address
    serial: int  # the greater one was written later, pool-wide
    replaced: Dict[
        str, int
    ]  # host -> when a start was last re-placed to it, in seconds by the master's clock
    networks: Dict[int, List[str]]  # request in a VLAN that names no network -> those of its port


class Entry(NamedTuple):
    """What the pool keeps of one VM."""

    requests: Tuple[Request, ...]  # by number
    lease: Optional[Lease]
    next_number: int  # for the next request
    nomigrate: bool  # platform:nomigrate was set by us, when the VM last had requests
    pci: str  # the VM's other_config:pci as we last wrote it, with the entries of others
    past: Tuple[str, ...] = ()  # the addresses that it was ever lent: what a revert or a clone brings back


def parse(text: str) -> Entry:
    """The entry; LedgerError where it is not just what `render` writes (but for blanks and order of keys).
    Takes time in proportion to the text, whatever stands in it."""
    if len(text) > LONGEST:
        raise LedgerError(f"it has {len(text)} characters, more than {LONGEST}")
    try:
        document = json.loads(text, object_pairs_hook=_without_doubles, parse_int=_short_integer)
    except LedgerError:
        raise
    except (ValueError, RecursionError) as error:
        raise LedgerError(f"it is no JSON ({error})") from error
    version = _object(document, "the whole").get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version != VERSION:
        raise LedgerError(f"its version is {json.dumps(version)}, and only version {VERSION} is understood")
    names = {"version", "requests", "next", "nomigrate", "pci", "past"}
    values = _members(document, "the whole", names, {"lease"})
    next_number = _integer(values["next"], "next")
    requests = tuple(_request(one) for one in _list(values["requests"], "requests"))
    for before, after in zip(requests, requests[1:]):
        if before.number >= after.number:
            raise LedgerError(f"request {after.number} stands after request {before.number}")
    if requests and requests[-1].number >= next_number:
        raise LedgerError(f"the next request is {next_number}, and there is a request {requests[-1].number}")
    if not isinstance(values["nomigrate"], bool):
        raise LedgerError("nomigrate is neither true nor false")
    lease = _lease(values["lease"], requests) if "lease" in values else None
    past = tuple(_matching(one, *_VALUES["vf"], where="past") for one in _list(values["past"], "past"))
    return Entry(requests, lease, next_number, values["nomigrate"], _text(values["pci"], "pci"), past)


def render(entry: Entry) -> str:
    """The text of an entry, in ASCII; LedgerError for one that `parse` would not take."""
    document: Dict[str, Any] = {
        "version": VERSION,
        "requests": [_request_members(request) for request in entry.requests],
        "next": entry.next_number,
    }
    if entry.lease is not None:
        document["lease"] = _lease_members(entry.lease)
    document.update(nomigrate=entry.nomigrate, pci=entry.pci, past=entry.past)
    text = json.dumps(document, separators=(",", ":"))
    if parse(text) != entry:
        raise LedgerError("the entry has values of other types than a ledger's")
    return text


def read_all(other_config: Mapping[str, str]) -> Tuple[Dict[str, Entry], Dict[str, str]]:
    """VM uuid -> entry, and VM uuid -> why its key cannot be read, of all keys of a pool's other_config."""
    entries: Dict[str, Entry] = {}
    unreadable: Dict[str, str] = {}
    for key, text in other_config.items():
        if not key.startswith(PREFIX):
            continue
        uuid = key[len(PREFIX) :]
        try:
            if not _UUID.fullmatch(uuid):
                raise LedgerError("the key does not end with the UUID of a VM")
            entries[uuid] = parse(text)
        except LedgerError as error:
            unreadable[uuid] = str(error)
    return entries, unreadable


def settled(other_config: Mapping[str, str]) -> Dict[str, str]:
    """The pool's other_config with what a call that was cut off was about to write: a VM's key that is out
    is the one waiting beside it."""
    found = dict(other_config)
    for key, text in other_config.items():
        if key.startswith(NEXT_PREFIX):
            found.setdefault(PREFIX + key[len(NEXT_PREFIX) :], text)
    return found


def key(other_config: Mapping[str, str], uuid: str) -> str:
    """The key that `settled` has a VM's text of."""
    return PREFIX + uuid if PREFIX + uuid in other_config else NEXT_PREFIX + uuid


def is_uuid(text: str) -> bool:
    return bool(_UUID.fullmatch(text))


def _request(document: Any) -> Request:
    values = _members(document, "a request", {"number", "by", "value", "settings"}, {"device"})
    number = _integer(values["number"], "the number of a request")
    where = f"request {number}"
    kind = _text(values["by"], f"by of {where}")
    if kind not in _VALUES:
        raise LedgerError(f"{where} is by {_shown(kind)}, which is none of {', '.join(_VALUES)}")
    value = _matching(values["value"], *_VALUES[kind], where=where)
    if ("device" in values) != (kind in _NAMES_DEVICE):
        raise LedgerError(f"{where} is by {kind} and names {'a' if 'device' in values else 'no'} device")
    device = None
    if "device" in values:
        device = _matching(values["device"], *_VALUES["device"], where=f"device of {where}")
    settings = _members(values["settings"], f"settings of {where}", set(), set(vf_settings.NAMES))
    for name, text in settings.items():
        _check_setting(name, _text(text, f"{name} of {where}"), where)
    return Request(number, Choice(kind, value, device), settings)


def _check_setting(name: str, text: str, where: str) -> None:
    if text == vf_settings.DEFAULT and name != "mac":
        return
    try:
        value = vf_settings.parse_value(name, text)
    except ValueError as accepted:
        raise LedgerError(f"{name} of {where} is {_shown(text)}, it takes {accepted}") from None
    if name == "mac" and text != value:
        raise LedgerError(f"mac of {where} is {_shown(text)}, it takes lower case without blanks")


def _lease(document: Any, requests: Tuple[Request, ...]) -> Lease:
    values = _members(document, "lease", {"host", "vfs", "serial"}, {"replaced", "networks"})
    host = _matching(values["host"], _UUID, "the UUID of a host", where="host of the lease")
    vfs: Dict[int, str] = {}
    taken: Set[str] = set()
    numbers = {request.number for request in requests}
    for key, value in _object(values["vfs"], "vfs of the lease").items():
        if not _NUMBER.fullmatch(key) or int(key) not in numbers:
            raise LedgerError(f"the lease has a VF for request {_shown(key)}, and there is no such request")
        address = _matching(value, *_VALUES["vf"], where=f"the VF leased for request {key}")
        if address in taken:
            raise LedgerError(f"the lease has {address} for two requests")
        taken.add(address)
        vfs[int(key)] = address
    serial = _integer(values["serial"], "serial of the lease")
    replaced = _object(values.get("replaced", {}), "replaced of the lease")
    for to, at in replaced.items():
        _matching(to, _UUID, "the UUID of a host", where="replaced of the lease")
        _integer(at, "the time in replaced of the lease")
    return Lease(host, vfs, serial, replaced, _networks(values.get("networks", {}), vfs))


def _networks(document: Any, vfs: Dict[int, str]) -> Dict[int, List[str]]:
    found: Dict[int, List[str]] = {}
    for key, value in _object(document, "networks of the lease").items():
        if not _NUMBER.fullmatch(key) or int(key) not in vfs:
            raise LedgerError(f"the lease has networks for request {_shown(key)}, and no VF")
        where = f"networks of request {key}"
        found[int(key)] = [_matching(one, *_VALUES["network"], where=where) for one in _list(value, where)]
    return found


def _request_members(request: Request) -> Dict[str, Any]:
    kind, value, device = request.choice
    members: Dict[str, Any] = {"number": request.number, "by": kind, "value": value}
    if device is not None:
        members["device"] = device
    members["settings"] = {name: request.settings[name] for name in sorted(request.settings)}
    return members


def _lease_members(lease: Lease) -> Dict[str, Any]:
    vfs = {str(number): lease.vfs[number] for number in sorted(lease.vfs)}
    members: Dict[str, Any] = {"host": lease.host, "vfs": vfs, "serial": lease.serial}
    if lease.replaced:
        members["replaced"] = {host: lease.replaced[host] for host in sorted(lease.replaced)}
    if lease.networks:
        members["networks"] = {str(number): lease.networks[number] for number in sorted(lease.networks)}
    return members


def _without_doubles(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    members: Dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise LedgerError(f"{_shown(name)} stands twice in it")
        members[name] = value
    return members


def _short_integer(digits: str) -> int:
    """`int` takes the square of the number of digits for it, before Python 3.12."""
    if len(digits) > len(str(LARGEST)) + 1:
        raise LedgerError(f"{_shown(digits)} is too large a number")
    return int(digits)


def _members(value: Any, where: str, required: Set[str], optional: Set[str]) -> Dict[str, Any]:
    members = _object(value, where)
    for name in sorted(required.difference(members)):
        raise LedgerError(f"{where} has no {name}")
    for name in sorted(set(members) - required - optional):
        raise LedgerError(f"{where} has a {_shown(name)}, which is not known")
    return members


def _object(value: Any, where: str) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise LedgerError(f"{where} is no JSON object")
    return value


def _list(value: Any, where: str) -> List[Any]:
    if not isinstance(value, list):
        raise LedgerError(f"{where} is no list")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise LedgerError(f"{where} is no text")
    return value


def _integer(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise LedgerError(f"{where} is no whole number from 0 on")
    return value


def _matching(value: Any, pattern: Pattern[str], what: str, where: str) -> str:
    text = _text(value, where)
    if not pattern.fullmatch(text):
        raise LedgerError(f"{where} is {_shown(text)}, which is not {what}")
    return text


def _shown(text: str) -> str:
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"
