"""What a person types for a host, VM, network, port or VF: a name, a UUID, or the unique beginning of either.

The beginning of a UUID has four characters at least, or `unassign a --all` would take the VFs of a VM that
nobody has thought of. An address has none: 192.0.2.1 is not 192.0.2.17, even where the former is gone.

Tables show a blank of a name as `_`, so `_` is taken for a blank where nothing is called so exactly. Errors,
and labels of hosts that share a name, show `NAME (UUID)`, which is taken too.
"""

import ipaddress
import re
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

from sriovlib.safetext import UUID, safe

from . import shown
from .errors import Failed, Usage
from .output import cell
from .pool import Host, Pool

One = TypeVar("One")
_MOST = 10  # candidates that are listed
_FEWEST = 4  # characters of a UUID that say which one is meant
_WITH_UUID = re.compile(rf".* \(({UUID})\)", re.DOTALL)
_ADDRESS = re.compile(r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE)


class Vm(NamedTuple):
    """`name` is for people, that of the record is xapi's."""

    ref: str
    uuid: str
    name: str
    record: Dict[str, Any]


class Network(NamedTuple):
    """`name` is for people, `name_label` is xapi's."""

    ref: str
    uuid: str
    name: str
    bridge: str
    name_label: str


class Port(NamedTuple):
    """`pf` is what the plugin takes: an interface or an address."""

    host: Host
    pf: str

    def __str__(self) -> str:
        return f"{self.host.name}/{self.pf}"


def chosen(what: str, typed: str, ones: Sequence[One], words: Callable[[One], Iterable[str]]) -> One:
    """The one that is meant by what was typed: a name as it is, or as tables show it. `words` are names and
    UUID of one, its name first."""
    as_shown = cell(typed)
    with_uuid = _WITH_UUID.fullmatch(typed)

    def begins(word: str, beginning: str) -> bool:
        if _is_address(word) or (re.fullmatch(UUID, word) and len(beginning) < _FEWEST):
            return False
        return word.lower().startswith(beginning.lower())

    ways: List[Callable[[str], bool]] = [
        lambda word: word == typed,
        lambda word: cell(word) == as_shown,
        lambda word: with_uuid is not None and word == with_uuid.group(1),
        lambda word: begins(word, typed),
        lambda word: begins(cell(word), as_shown),
    ]
    for meant in ways if typed else []:
        found = [one for one in ones if any(map(meant, words(one)))]
        if len(found) == 1:
            return found[0]
        if found:
            raise Failed(
                "AMBIGUOUS",
                f"`{safe(typed)}` may be {len(found)} {what}s.",
                f"Type more: {_listed(found, words)}.",
            )
    hint = f"There are {_listed(ones, words)}." if ones else ""
    raise Failed("NOT_FOUND", f"There is no {what} `{safe(typed)}`.", hint)


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
        return True
    except ValueError:
        return False


def _listed(ones: Sequence[One], words: Callable[[One], Iterable[str]]) -> str:
    texts = sorted(_text(*words(one)) for one in ones)
    more = [f"and {len(texts) - _MOST} more"] if len(texts) > _MOST else []
    return ", ".join(texts[:_MOST] + more)


def _text(name: str, *others: str) -> str:
    uuids = [other for other in others if re.fullmatch(UUID, other)]
    return f"{shown.sentence(name)} ({uuids[0]})" if uuids else shown.sentence(name)


# -- hosts -------------------------------------------------------------------------------------------------


def host(pool: Pool, typed: str) -> Host:
    """By name-label, UUID or address."""
    return chosen("host", typed, pool.hosts, lambda one: (one.name, one.uuid, one.address))


def word(pool: Pool, one: Host) -> str:
    """What stands for the host in a command that is shown: its name where a shell takes that as it is, and
    no other host has it."""
    if re.fullmatch(r"\w[\w.-]*", one.name):
        try:
            return one.name if host(pool, one.name) == one else one.uuid
        except Failed:
            pass
    return one.uuid


def hosts(pool: Pool, typed: Sequence[str]) -> List[Host]:
    """Those that were typed, each once; of none typed all."""
    found = [host(pool, text) for text in typed] if typed else pool.hosts
    return [one for place, one in enumerate(found) if one not in found[:place]]


# -- VMs ---------------------------------------------------------------------------------------------------


def vm(pool: Pool, typed: str) -> Vm:
    """By name-label or UUID; not a template, snapshot or control domain. An exact one is asked for by itself:
    a pool may have thousands."""
    refs = pool.call("VM.get_by_name_label", typed) if typed and safe(typed) == typed else []
    if re.fullmatch(UUID, typed):
        try:
            refs = [pool.call("VM.get_by_uuid", typed)]
        except Failed as failed:
            if failed.code != "UUID_INVALID":
                raise
    exact = [
        one for one in (vm_of(ref, pool.call("VM.get_record", ref)) for ref in refs) if _is_vm(one.record)
    ]
    if exact:
        return chosen("VM", typed, exact, vm_words)
    return chosen("VM", typed, vms(pool), vm_words)


def vm_of_uuid(pool: Pool, uuid: str) -> Optional[Vm]:
    """None: there is no such VM any more."""
    try:
        ref = pool.call("VM.get_by_uuid", uuid)
        return vm_of(ref, pool.call("VM.get_record", ref))
    except Failed as failed:
        if failed.code not in ("UUID_INVALID", "HANDLE_INVALID"):
            raise
        return None


def vms(pool: Pool) -> List[Vm]:
    """All of the pool."""
    return [vm_of(ref, record) for ref, record in pool.records("VM").items() if _is_vm(record)]


def vm_of(ref: str, record: Dict[str, Any]) -> Vm:
    return Vm(ref, record["uuid"], shown.sentence(record["name_label"]), record)


def _is_vm(record: Dict[str, Any]) -> bool:
    return not (record["is_a_template"] or record["is_a_snapshot"] or record["is_control_domain"])


def vm_words(one: Vm) -> Tuple[str, str]:
    return one.record["name_label"], one.uuid


# -- networks ------------------------------------------------------------------------------------------------


def network(pool: Pool, typed: str) -> Network:
    """By name-label, bridge or UUID."""
    return chosen("network", typed, networks(pool), network_words)


def network_words(one: Network) -> Tuple[str, str, str]:
    return one.name_label, one.bridge, one.uuid


def networks(pool: Pool) -> List[Network]:
    return [
        Network(
            ref, record["uuid"], shown.sentence(record["name_label"]), record["bridge"], record["name_label"]
        )
        for ref, record in pool.records("network").items()
    ]


# -- ports and VFs -------------------------------------------------------------------------------------------


def port(pool: Pool, typed: str) -> Port:
    """`HOST/eth1`, or `HOST/0000:07:00.0`; in a pool of one host without `HOST/`."""
    its_host, _, pf = typed.rpartition("/")
    if not pf:
        raise Usage(f"`{safe(typed)}` names no port.", "Write it as HOST/eth1, or HOST/0000:07:00.0.")
    if its_host:
        return Port(host(pool, its_host), pf)
    if len(pool.hosts) == 1:
        return Port(pool.hosts[0], pf)
    for one in pool.hosts:
        if typed in (one.name, one.uuid):
            list_them = f"`sriovctl pfs {word(pool, one)}` lists its ports."
            raise Usage(f"`{safe(typed)}` is a host, and names no port.", list_them)
    raise Usage(f"`{safe(typed)}` does not say of which host.", f"Write it as HOST/{safe(pf)}.")


def vf(pool: Pool, typed: str) -> Tuple[Host, str]:
    """The host and the address of `HOST/eth1:3` (VF 3 of that port) or `HOST/0000:07:10.0`."""
    where, _, last = typed.rpartition("/")
    if _ADDRESS.fullmatch(last):
        return port(pool, typed).host, last
    pf, colon, index = last.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,9}", index):
        raise Usage(
            f"`{safe(typed)}` names no VF.",
            "Write VF 3 of port eth1 as HOST/eth1:3, or its address: HOST/0000:07:10.0.",
        )
    of = port(pool, f"{where}/{pf}" if where else pf)
    found = [one for one in pool.plugin(of.host, "list_vfs", pf=of.pf) if one["index"] == int(index)]
    if not found:
        raise Failed(
            "NOT_FOUND", f"{of} has no VF {index}.", f"`sriovctl vfs {word(pool, of.host)}` lists its VFs."
        )
    return of.host, str(found[0]["address"])
