"""The ledger: which VFs each VM asked for and is leased, as text in the pool and as values. Reads strictly;
touches nothing.

A VM's key in `pool.other_config` is `sriov-vm-UUID.SERIAL`, of compact JSON:

{"version": 1,
 "requests": [{"number": 1, "by": "network", "value": "<uuid>", "settings": {"mac": "b2:...", "vlan": "12"}},
              {"number": 3, "by": "pf", "value": "0000:07:00.0", "device": "8086:10fb", "settings": {}}],
 "next": 4,
 "lease": {"host": "<uuid>", "vfs": {"1": "0000:07:10.0"}, "serial": 17, "replaced": {"<uuid>": 1700000000}},
 "move": {"state": "prepared", "since": 1700000000, "host": "<uuid>", "vfs": {"1": "0000:07:10.2"}},
 "pci": "0/0000:07:10.0",
 "past": ["0000:07:10.0"]}

A VM that is parked has requests, and a lease without VFs. `lease`, in it `replaced` and `networks` (`{"3":
["<uuid>"]}`), `device` of a request by network or device, and `move`, in it `host` with `vfs`, are left out
where there is none. Keys of earlier builds have `nomigrate` as well.

Each change adds a key with the next serial, and takes the one before out when all is written: xapi can only
add a key and remove one, each in one step (xen-api: ocaml/database/db_cache_impl.ml,
process_structured_field). So the key with the highest serial counts, and two mean that a call was cut off.
A VM without a key gets one without requests first, for the same reason.
"""

import json
from typing import Any, Callable, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..config.vf_settings import DEFAULT
from ..safetext import is_plain_number, is_uuid
from . import MARK as MARK
from . import ledger_shape
from .ledger_shape import ARRIVED as ARRIVED
from .ledger_shape import DETACHED as DETACHED
from .ledger_shape import LARGEST as LARGEST
from .ledger_shape import MOVING as MOVING
from .ledger_shape import PREPARED as PREPARED
from .ledger_shape import LedgerError as LedgerError

PREFIX = "sriov-vm-"

# 0.1.0's first builds wrote keys without a serial, the new text as `sriov-next-UUID` before `sriov-vm-UUID`.
_WAITING_PREFIX = "sriov-next-"
NAMES = (PREFIX, _WAITING_PREFIX)  # what the names of all keys begin with
_WAITING, _NO_SERIAL, _ODD = -1, 0, 10**16  # in the place of a serial: the first two are of those builds


class Choice(NamedTuple):
    """Which VFs would do."""

    kind: str  # network, pf, vf or device
    value: str  # UUID of the network; address of the PF or VF; vendor:device of the VF
    device: Optional[str] = None  # vendor:device of the PF or VF at that address; else None


class Request(NamedTuple):
    number: int  # unique in its VM and never used again: the MAC derives from it
    choice: Choice
    settings: Dict[str, str]  # name -> value as `configure_vf` takes it; a MAC is lower-case

    @property
    def vlan(self) -> int:
        """The tag that its VF puts on and takes off; 0: it wants none."""
        text = self.settings.get("vlan", DEFAULT)
        return 0 if text == DEFAULT else int(text)


class Lease(NamedTuple):
    """The VFs of one host that are this VM's alone, whether it runs or not."""

    host: str
    vfs: Dict[int, str]  # number of the request -> address
    serial: int  # the greater one was written later, pool-wide
    # Host -> when a start was last re-placed to it, in seconds by the master's clock.
    replaced: Dict[str, int]
    networks: Dict[int, List[str]]  # request in a VLAN that names no network -> those of its port


class Move(NamedTuple):
    """A running VM is on its way: without its VFs, or about to be (see moves). It has gone as far as `state`,
    one of ledger_shape.STATES; VFs of the host that it goes to are kept for it."""

    state: str
    since: int  # seconds by the master's clock: when its VFs were first asked back
    host: Optional[str] = None  # None: it is to go nowhere, its VFs are only off
    vfs: Mapping[int, str] = {}


class Entry(NamedTuple):
    """What the pool keeps of one VM."""

    requests: Tuple[Request, ...]  # by number
    lease: Optional[Lease]
    next_number: int  # for the next request
    nomigrate: bool  # an earlier build set platform:nomigrate=true on the VM: its next change takes that out
    pci: str  # the VM's other_config:pci as we last wrote it, with the entries of others
    past: Tuple[str, ...] = ()  # all addresses that were ever leased to it: a revert may bring entries back
    move: Optional[Move] = None

    @property
    def is_parked(self) -> bool:
        """Whether its requests wait without VFs until somebody calls for them; the lease keeps the host."""
        return bool(self.requests and self.lease and not self.lease.vfs)

    @property
    def ever_leased(self) -> List[str]:
        """The addresses of its VFs, now and before, and where it is going."""
        held = [one.vfs.values() for one in (self.lease, self.move) if one is not None]
        return sorted(set(self.past).union(*held))

    @property
    def held(self) -> List[Tuple[str, str]]:
        """Host and address of each VF that nobody else may have: of its lease, and where it is going."""
        return [
            (one.host, address)
            for one in (self.lease, self.move)
            if one is not None and one.host is not None
            for address in one.vfs.values()
        ]


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
    """The entry; LedgerError where it is not just what `render` writes (but for blanks and order of keys)."""
    document = ledger_shape.document(text)
    found = _entry_of(document)
    numbers = [one.number for one in found.requests]
    for before, after in zip(numbers, numbers[1:]):
        if before >= after:
            raise LedgerError(f"request {after} stands after request {before}")
    if numbers and numbers[-1] >= found.next_number:
        raise LedgerError(f"the next request is {found.next_number}, and there is a request {numbers[-1]}")
    if found.lease is not None:
        _check_lease(found.lease, numbers)
    if found.move is not None:
        _check_move(document["move"], found.move, numbers)
    return found


def _entry_of(document: Mapping[str, Any]) -> Entry:
    """The values of a document of the shape of an entry."""
    requests = [
        Request(one["number"], Choice(one["by"], one["value"], one.get("device")), one["settings"])
        for one in document["requests"]
    ]
    lease, move = document.get("lease"), document.get("move")
    return Entry(
        tuple(requests),
        None if lease is None else _lease(lease),
        document["next"],
        document.get("nomigrate", False),
        document["pci"],
        tuple(document["past"]),
        None
        if move is None
        else Move(move["state"], move["since"], move.get("host"), _by_number(move, "vfs")),
    )


def _lease(document: Mapping[str, Any]) -> Lease:
    return Lease(
        document["host"],
        _by_number(document, "vfs"),
        document["serial"],
        document.get("replaced", {}),
        _by_number(document, "networks"),
    )


def _by_number(document: Mapping[str, Any], name: str) -> Dict[int, Any]:
    """By numbers of requests, which are names of members in JSON."""
    return {int(number): value for number, value in document[name].items()} if name in document else {}


def render(entry: Entry) -> str:
    """The text of an entry, in ASCII; LedgerError for one that `parse` would not take."""
    document: Dict[str, Any] = {"version": ledger_shape.VERSION, "requests": [], "next": entry.next_number}
    for number, (kind, value, device), settings in entry.requests:
        named = {} if device is None else {"device": device}
        one = {"number": number, "by": kind, "value": value, **named, "settings": _sorted(settings)}
        document["requests"].append(one)
    if entry.lease is not None:
        host, vfs, serial, replaced, networks = entry.lease
        more = {"replaced": _sorted(replaced), "networks": _sorted(networks)}
        document["lease"] = {"host": host, "vfs": _sorted(vfs), "serial": serial}
        document["lease"].update({name: value for name, value in more.items() if value})
    if entry.nomigrate:
        document["nomigrate"] = True
    if entry.move is not None:
        state, since, to, reserved = entry.move
        document["move"] = {"state": state, "since": since}
        document["move"].update({} if to is None else {"host": to, "vfs": _sorted(reserved)})
    document.update(pci=entry.pci, past=entry.past)
    text = json.dumps(document, separators=(",", ":"))
    if parse(text) != entry:
        raise LedgerError("the entry has values of other types than a ledger's")
    return text


def _sorted(values: Mapping[Any, Any]) -> Dict[Any, Any]:
    return {key: values[key] for key in sorted(values)}


def read(other_config: Mapping[str, str]) -> Ledger:
    """All entries in a pool's other_config."""
    return of_keys(keys(other_config), entry)


def of_keys(those: Dict[str, List[Key]], read_one: Callable[[str, Sequence[Key]], Entry]) -> Ledger:
    """The entries of these keys, each by `read_one`, which does as `entry`."""
    found = Ledger({}, {}, those)
    for uuid, own in those.items():
        try:
            found.entries[uuid] = read_one(uuid, own)
        except LedgerError as error:
            found.unreadable[uuid] = str(error)
    return found


def entry(uuid: str, those: Sequence[Key]) -> Entry:
    """What the VM's keys say; LedgerError where that cannot be read."""
    if not is_uuid(uuid) or those[-1].serial == _ODD:
        raise LedgerError(f"its name is not {PREFIX}UUID.SERIAL")
    return parse(those[-1].text)


def again(those: Sequence[Key]) -> Entry:
    """As `entry`, of keys of which it returned an entry before."""
    return _entry_of(_CHECKED_DECODER.decode(those[-1].text))


def keys(other_config: Mapping[str, str]) -> Dict[str, List[Key]]:
    """UUID of a VM -> its keys in a pool's other_config by serial, without a look at what they hold."""
    found: Dict[str, List[Key]] = {}
    for name, text in other_config.items():
        if name.startswith(NAMES):
            uuid, serial = _of_name(name)
            if uuid:
                found.setdefault(uuid, []).append(Key(name, serial, text))
    for those in found.values():
        if len(those) > 1:
            those.sort(key=lambda key: (key.serial, key.name))
    return found


def _of_name(name: str) -> Tuple[str, int]:
    """What stands in the place of the UUID in the name of a key, and of the serial. Nothing in the place of
    the UUID: the name is none of ours."""
    has_serial = name.startswith(PREFIX)
    rest = name[len(PREFIX if has_serial else _WAITING_PREFIX) :]
    uuid, serial = rest[:36], rest[36:]
    if not is_uuid(uuid):
        return (rest if has_serial else ""), _ODD
    if has_serial and serial[:1] == "." and is_plain_number(serial[1:], 16) and serial != ".0":
        return uuid, int(serial[1:])
    return uuid, _ODD if serial else _NO_SERIAL if has_serial else _WAITING


def was_cut_off(those: Sequence[Key]) -> bool:
    """Whether a call came to no end after it had written the VM's key: the VM may not be as that says."""
    return len(those) > 1 or (bool(those) and those[0].serial == _WAITING)


def next_name(uuid: str, those: Sequence[Key]) -> Optional[str]:
    """The key for the VM's next entry; None where no serial is left."""
    serial = max(those[-1].serial if those else 0, 0) + 1
    return f"{PREFIX}{uuid}.{serial}" if serial < _ODD else None


_CHECKED_DECODER = json.JSONDecoder()


def _check_lease(lease: Lease, numbers: Collection[int]) -> None:
    _check_vfs("lease", lease.vfs, numbers)
    for number in sorted(set(lease.networks).difference(lease.vfs)):
        raise LedgerError(f"lease.networks has request {number}, which is not there")


def _check_move(document: Mapping[str, Any], move: Move, numbers: Collection[int]) -> None:
    if ("host" in document) != ("vfs" in document):
        raise LedgerError(f"move has a {'host' if 'host' in document else 'vfs'} alone")
    _check_vfs("move", move.vfs, numbers)


def _check_vfs(name: str, vfs: Mapping[int, str], numbers: Collection[int]) -> None:
    for number in sorted(set(vfs).difference(numbers)):
        raise LedgerError(f"{name}.vfs has request {number}, which is not there")
    if len(set(vfs.values())) < len(vfs):
        raise LedgerError(f"{name}.vfs has an address for two requests")
