"""The ledger: which VFs each VM asked for and is leased, as text in the pool and as values. Reads strictly;
touches nothing.

A VM's key in `pool.other_config` is `sriov-vm-UUID.SERIAL`, of compact JSON:

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

Each change adds a key with the next serial, and takes the one before out when all is written: xapi can only
add a key and remove one, each in one step (xen-api: ocaml/database/db_cache_impl.ml,
process_structured_field). So the key with the highest serial counts, and two mean that a call was cut off.
A VM without a key gets one without requests first, for the same reason.
"""

import json
import re
from typing import (
    Any,
    Dict,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Pattern,
    Sequence,
    Set,
    Tuple,
    Type,
    TypeVar,
)

from ..config import vf_settings
from ..safetext import LONGEST, UUID

PREFIX = "sriov-vm-"
MARK = "sriov-vm"  # in VM.other_config of a VM with requests: its own UUID, see copies
VERSION = 1
LARGEST = 2**53  # what every JSON reader keeps exact

_UUID = re.compile(UUID)
# 0.1.0's first builds wrote keys without a serial, the new text as `sriov-next-UUID` before `sriov-vm-UUID`.
_KEY = re.compile(f"sriov-(vm|next)-({UUID})(.*)", re.DOTALL)
_SERIAL = re.compile("[.]([1-9][0-9]{0,15})")
_WAITING, _NO_SERIAL, _ODD = -1, 0, 10**16  # in the place of a serial: the first two are of those builds
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
_T = TypeVar("_T")
_KINDS: Dict[type, str] = {dict: "JSON object", list: "list", str: "text", bool: "true or false"}
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
    """The VFs of one host that are this VM's alone, whether it runs or not."""

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
    past: Tuple[str, ...] = ()  # all addresses that were ever leased to it: a revert may bring entries back

    @property
    def ever_leased(self) -> List[str]:
        """The addresses of its VFs, now and before."""
        return sorted({*self.past, *(self.lease.vfs.values() if self.lease else ())})


NO_ENTRY = Entry((), None, 1, False, "")  # of a VM without a key


class Key(NamedTuple):
    """A key of pool.other_config that holds a VM's entry, or held it before."""

    name: str
    serial: int
    text: str


class Ledger(NamedTuple):
    """By UUID of the VM; of a key whose name has none, by what stands in its place."""

    entries: Dict[str, Entry]
    unreadable: Dict[str, str]  # why the key that counts cannot be read
    keys: Dict[str, List[Key]]  # by serial; the last one counts


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
    version = _typed(dict, document, "the whole").get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version != VERSION:
        raise LedgerError(f"its version is {json.dumps(version)}, and only version {VERSION} is understood")
    names = {"version", "requests", "next", "nomigrate", "pci", "past"}
    values = _members(document, "the whole", names, {"lease"})
    next_number = _integer(values["next"], "next")
    requests = tuple(_request(one) for one in _typed(list, values["requests"], "requests"))
    for before, after in zip(requests, requests[1:]):
        if before.number >= after.number:
            raise LedgerError(f"request {after.number} stands after request {before.number}")
    if requests and requests[-1].number >= next_number:
        raise LedgerError(f"the next request is {next_number}, and there is a request {requests[-1].number}")
    lease = _lease(values["lease"], requests) if "lease" in values else None
    nomigrate, pci = _typed(bool, values["nomigrate"], "nomigrate"), _typed(str, values["pci"], "pci")
    return Entry(
        requests, lease, next_number, nomigrate, pci, tuple(_matching_all(values["past"], "vf", "past"))
    )


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


def read(other_config: Mapping[str, str]) -> Ledger:
    """All entries in a pool's other_config."""
    found = Ledger({}, {}, keys(other_config))
    for uuid, those in found.keys.items():
        try:
            if not is_uuid(uuid) or those[-1].serial == _ODD:
                raise LedgerError(f"its name is not {PREFIX}UUID.SERIAL")
            found.entries[uuid] = parse(those[-1].text)
        except LedgerError as error:
            found.unreadable[uuid] = str(error)
    return found


def keys(other_config: Mapping[str, str]) -> Dict[str, List[Key]]:
    """UUID of a VM -> its keys in a pool's other_config by serial, without a look at what they hold."""
    found: Dict[str, List[Key]] = {}
    for name, text in other_config.items():
        match = _KEY.fullmatch(name)
        if match is not None:
            form, uuid, rest = match.groups()
            serial = _SERIAL.fullmatch(rest)
            if serial is not None and form == "vm":
                number = int(serial.group(1))
            else:
                number = _ODD if rest else _NO_SERIAL if form == "vm" else _WAITING
            found.setdefault(uuid, []).append(Key(name, number, text))
        elif name.startswith(PREFIX):
            found.setdefault(name[len(PREFIX) :], []).append(Key(name, _ODD, text))
    for those in found.values():
        those.sort(key=lambda key: (key.serial, key.name))
    return found


def was_cut_off(those: Sequence[Key]) -> bool:
    """Whether a call came to no end after it had written the VM's key: the VM may not be as that says."""
    return len(those) > 1 or (bool(those) and those[0].serial == _WAITING)


def next_name(uuid: str, those: Sequence[Key]) -> str:
    """The key for the VM's next entry; LedgerError where no serial is left."""
    serial = max(those[-1].serial if those else 0, 0) + 1
    if serial >= _ODD:
        raise LedgerError(f"no serial is left after {those[-1].name}")
    return f"{PREFIX}{uuid}.{serial}"


def is_uuid(text: str) -> bool:
    return bool(_UUID.fullmatch(text))


def _request(document: Any) -> Request:
    values = _members(document, "a request", {"number", "by", "value", "settings"}, {"device"})
    number = _integer(values["number"], "the number of a request")
    where = f"request {number}"
    kind = _typed(str, values["by"], f"by of {where}")
    if kind not in _VALUES:
        raise LedgerError(f"{where} is by {_shown(kind)}, which is none of {', '.join(_VALUES)}")
    value = _matching(values["value"], kind, where)
    if ("device" in values) != (kind in _NAMES_DEVICE):
        raise LedgerError(f"{where} is by {kind} and names {'a' if 'device' in values else 'no'} device")
    device = None
    if "device" in values:
        device = _matching(values["device"], "device", f"device of {where}")
    settings = _members(values["settings"], f"settings of {where}", set(), set(vf_settings.NAMES))
    for name, text in settings.items():
        _check_setting(name, _typed(str, text, f"{name} of {where}"), where)
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
    vfs: Dict[int, str] = {}
    for number, address in _by_request(values["vfs"], "vfs", {one.number for one in requests}).items():
        vfs[number] = _matching(address, "vf", f"the VF leased for request {number}")
    taken = sorted(vfs.values())
    for address, following in zip(taken, taken[1:]):
        if address == following:
            raise LedgerError(f"the lease has {address} for two requests")
    replaced = _typed(dict, values.get("replaced", {}), "replaced of the lease")
    for to, at in replaced.items():
        _matching(to, "host", "replaced of the lease")
        _integer(at, "the time in replaced of the lease")
    networks = {
        number: _matching_all(those, "network", f"networks of request {number}")
        for number, those in _by_request(values.get("networks", {}), "networks", set(vfs)).items()
    }
    host = _matching(values["host"], "host", "host of the lease")
    return Lease(host, vfs, _integer(values["serial"], "serial of the lease"), replaced, networks)


def _by_request(document: Any, what: str, numbers: Set[int]) -> Dict[int, Any]:
    values = _typed(dict, document, f"{what} of the lease")
    for key in values:
        if not _NUMBER.fullmatch(key) or int(key) not in numbers:
            raise LedgerError(f"the lease has {what} for request {_shown(key)}, which is not there")
    return {int(key): value for key, value in values.items()}


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
    members: Dict[str, Any] = _typed(dict, value, where)
    for name in sorted(required.difference(members)):
        raise LedgerError(f"{where} has no {name}")
    for name in sorted(set(members) - required - optional):
        raise LedgerError(f"{where} has a {_shown(name)}, which is not known")
    return members


def _typed(kind: Type[_T], value: Any, where: str) -> _T:
    if not isinstance(value, kind):
        raise LedgerError(f"{where} is no {_KINDS[kind]}")
    return value


def _integer(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise LedgerError(f"{where} is no whole number from 0 on")
    return value


def _matching(value: Any, kind: str, where: str) -> str:
    pattern, what = _VALUES.get(kind, (_UUID, "the UUID of a host"))
    text = _typed(str, value, where)
    if not pattern.fullmatch(text):
        raise LedgerError(f"{where} is {_shown(text)}, which is not {what}")
    return text


def _matching_all(value: Any, kind: str, where: str) -> List[str]:
    return [_matching(one, kind, where) for one in _typed(list, value, where)]


def _shown(text: str) -> str:
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"
