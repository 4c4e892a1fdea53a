"""xapi's records of the pool, as far as they concern us: kept in /run/sriov, and brought up to date by what
has changed whenever they are asked for.

`event.from` tells what was written since a token, each object whole, and how many objects there are
(xen-api: ocaml/xapi/xapi_event.ml). What is kept is only where to go on from: what this returns is what xapi
had when it was asked. All is read anew where that cannot be sure:

- A token is a count of the writes to the database, and a xapi that was killed, or another master, may count
  again from before it (ocaml/database/db_connections.ml, redo_log.ml). So what is kept names the process that
  told it: by the master, and by when its xapi started, which it writes before it serves anybody but its own
  host (xapi.ml, start_database_engine; dbsync_slave.ml, agent_start_time), and by our socket, which is made
  before (listen_unix_socket). A session ends with that process, so all calls in one go to the same.
- Of destroyed objects xapi knows the last 256 to 512 of a class (db_cache_types.ml, Table.remove): where
  there are more objects here than it counts, we were not told of one. An object that goes while xapi answers
  is counted, and not in the answer: a new one is asked for once more, and one that was known is as it was
  known, until the next time. So is one of which we were not told, where just then a new one goes: there are
  as many as xapi counts.
- The file is none: see kept_file.

Most calls find that nothing of what is kept has changed, and then it need not be read: it has an identity,
which is a digest of it.
"""

import json
import os
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from .. import digest
from ..machine.host import RUN_FOLDER, Host
from ..xapi.session import SOCKET, Xapi, XapiFailure
from . import FIELD, FIELD_DEFINITIONS, FIELD_WISH, kept_file, pci_entries, pinning
from .ledger import MARK, NAMES
from .networks import NULL, Record

TRIES = 3  # answers that do not tell all objects that they count, before they are read without events

ByClass = Dict[str, Dict[str, Optional[Record]]]  # class, as events name it -> reference -> what is kept
Told = Dict[str, Dict[str, Record]]  # class -> reference -> record


class Part(NamedTuple):
    """Classes that are kept, and brought up to date, together."""

    name: str  # of its file
    classes: Sequence[str]  # as events name them


LEDGER = Part("ledger", ("pool",))
HOSTS = Part("hosts", ("host", "host_metrics", "pif", "network"))
VMS = Part("vms", ("vm",))

# Of each class the fields that are kept, with the value that a field mostly has, which is left out.
_ALWAYS = object()  # there is none
_FIELDS: Dict[str, Dict[str, Any]] = {
    "pool": {"master": _ALWAYS, "ha_enabled": False},
    "host": dict.fromkeys(("uuid", "name_label", "metrics", "enabled"), _ALWAYS),
    "host_metrics": {"live": _ALWAYS},
    "network": dict.fromkeys(("uuid", "name_label", "bridge"), _ALWAYS),
    "pif": {
        **dict.fromkeys(("device", "MAC", "VLAN", "network", "host", "physical"), _ALWAYS),
        "currently_attached": True,
        "bond_slave_of": NULL,
        "bond_master_of": [],
        "tunnel_access_PIF_of": [],
        "sriov_physical_PIF_of": [],
        "sriov_logical_PIF_of": [],
    },
    "vm": {
        **dict.fromkeys(("uuid", "name_label", "metrics", "VCPUs_max"), _ALWAYS),
        "power_state": "Halted",
        "resident_on": NULL,
        "affinity": NULL,
        "scheduled_to_be_resident_on": NULL,
        "current_operations": {},
        "ha_restart_priority": "",
        "is_a_template": False,
    },
}
# And of these maps the keys that this is true of.
_KEYS: Dict[str, Dict[str, Callable[[str], object]]] = {
    "pool": {
        "other_config": lambda name: name.startswith(NAMES) or name == FIELD_WISH,
        "gui_config": {FIELD_DEFINITIONS}.__contains__,
    },
    "host": {
        "guest_VCPUs_params": {"mask"}.__contains__,
        "software_version": {"xapi_build", "product_brand", "product_version"}.__contains__,
    },
    "vm": {
        "other_config": {"pci", MARK, FIELD, pci_entries.MACS, pci_entries.VLANS}.__contains__,
        "platform": {"nomigrate"}.__contains__,
        "blocked_operations": set(pinning.OPERATIONS).__contains__,
        "VCPUs_params": {"mask"}.__contains__,
    },
}
_USUAL: Dict[str, Record] = {
    name: {
        **{field: value for field, value in fields.items() if value is not _ALWAYS},
        **{field: {} for field in _KEYS.get(name, ())},
    }
    for name, fields in _FIELDS.items()
}
_API_NAMES = {"pif": "PIF", "vm": "VM"}  # of classes that events name otherwise
_NO_VM = ("is_a_template", "is_a_snapshot", "is_control_domain")
_FEW = 8  # objects: to be told of these again takes less time than to write 2,000
_WITH_FIELD: Record = {"field": True}  # of one of those that has the custom field of the VM that it is of


class Objects:
    """What is kept of the objects of a part, and the same as text: either is made of the other when it is
    first asked for. `counts`: how many there are of each class."""

    def __init__(
        self, by_class: Optional[ByClass] = None, text: Optional[kept_file.Text] = None, counts: Any = None
    ) -> None:
        self._by_class = by_class
        self._text = text
        self._told: Optional[Told] = None
        self.counts: Dict[str, int] = counts or {name: len(known) for name, known in self.by_class.items()}

    @property
    def by_class(self) -> ByClass:
        if self._by_class is None:
            self._by_class = json.loads(self.text.content.decode())
        return self._by_class

    @property
    def text(self) -> kept_file.Text:
        if self._text is None:
            text = json.dumps(self._by_class, separators=(",", ":"))
            self._text = kept_file.Text.of(text.encode())
        return self._text

    @property
    def told(self) -> Told:
        """With the fields that concern us. Of VMs the real ones: no templates, snapshots, control domains."""
        if self._told is None:
            self._told = {
                name: {
                    ref: {**_USUAL[name], **record}
                    for ref, record in known.items()
                    if record is not None and record != _WITH_FIELD
                }
                for name, known in self.by_class.items()
            }
        return self._told


class Known(NamedTuple):
    """What xapi has of a part."""

    source: List[str]  # the process that told it
    token: str  # empty: nothing was told yet, or not by events
    objects: Objects
    ahead: int = 0  # objects that were told since it was last written

    @property
    def identity(self) -> Optional[str]:
        """What else is told has another one; None where it was not told in the usual way."""
        return self.objects.text.identity if self.source and self.token else None


class Records:
    """The pool's records in the session of `xapi`. `writes`: the caller is about to change some; what is told
    of few is not kept then, since the next caller is told of these changes in any case."""

    def __init__(self, host: Host, xapi: Xapi, writes: bool = False) -> None:
        self.host = host
        self.xapi = xapi
        self._most_ahead = _FEW if writes else 0
        self._source: Optional[List[str]] = None
        self._kept: Dict[str, Known] = {}

    def by(self, xapi: Xapi) -> "Records":
        """The same, with what is known, asked for by `xapi` from now on, which is of the same session."""
        self.xapi = xapi
        return self

    def of(self, part: Part) -> Told:
        """As Objects.told, as xapi has them now: the same object where nothing has changed since this was
        asked for last. Raises what `Xapi.call` raises."""
        return self.ask(part).objects.told

    def ask(self, part: Part) -> Known:
        """As xapi has it now. Raises what `Xapi.call` raises."""
        if self._source is None:
            self._source = _source(self.host, self.xapi)
        nothing = _nothing(self._source, part)
        before = self._kept.get(part.name) or _load(self.host, part, self._source) or nothing
        now = _up_to_date(self.xapi, before if before.token else nothing, nothing)
        if now.token and self._source and now.ahead > self._most_ahead:
            _store(self.host, part, now)
            now = now._replace(ahead=0)
        self._kept[part.name] = now
        return now

    def with_field(self) -> List[str]:
        """The templates and snapshots that had the custom field when `of` was asked for VMs: references."""
        return [
            ref
            for ref, record in self._kept[VMS.name].objects.by_class["vm"].items()
            if record == _WITH_FIELD
        ]

    def tell(self, part: Part, class_name: str, ref: str, record: Record) -> bool:
        """Whether what was returned last is so too in this record, which xapi was asked for since."""
        known = self._kept[part.name].objects.by_class[class_name]
        return ref in known and known[ref] == _kept_of(class_name, record)

    def forget(self, part: Part) -> None:
        """All of this part is read the next time."""
        self._kept[part.name] = _nothing(self._source or [], part)


def _source(host: Host, xapi: Xapi) -> List[str]:
    """What another process of xapi's would have another of; nothing where it does not say when it began."""
    (pool,) = xapi.call("pool.get_all")
    master = xapi.call("pool.get_master", pool)
    started = xapi.call("host.get_other_config", master).get("agent_start_time", "")
    try:
        found = os.stat(host.path(SOCKET))
    except OSError:
        return []
    return [master, started, f"{found.st_ino} {found.st_mtime_ns}"] if started else []


def _nothing(source: List[str], part: Part) -> Known:
    return Known(source, "", Objects({name: {} for name in part.classes}))


def _up_to_date(xapi: Xapi, kept: Known, nothing: Known) -> Known:
    """What is kept with what has changed since; `nothing` to begin anew with."""
    now = kept
    for _ in range(TRIES):
        try:
            now, is_all = _next(xapi, now)
        except XapiFailure as failure:
            if failure.details[0] != "EVENT_FROM_TOKEN_PARSE_FAILURE" or now is nothing:
                raise
            now, is_all = kept, False
        if is_all:
            return now
        if now is kept or kept is not nothing:
            kept = now = nothing
    return _all(xapi, nothing)


def _all(xapi: Xapi, nothing: Known) -> Known:
    """Read without events, and not kept: xapi has objects that event.from does not tell of, as it cannot of
    one without a stamp (ocaml/database/db_xml.ml, get_int64, takes 0 for a stamp that the file has not)."""
    objects: ByClass = {}
    for name in nothing.objects.counts:
        found = xapi.call(f"{_API_NAMES.get(name, name)}.get_all_records")
        objects[name] = {ref: _kept_of(name, record) for ref, record in found.items()}
    return nothing._replace(objects=Objects(objects))


def _next(xapi: Xapi, kept: Known) -> Tuple[Known, bool]:
    """With what has changed since; and whether there are as many objects as xapi counts. A token since which
    nothing was written tells what the new one would."""
    changes = _Changes(kept.objects)
    question = ("event.from", list(kept.objects.counts), kept.token, 0.0)
    if "vm" in kept.objects.counts:  # 7 KB each, of which little is kept
        rest = xapi.call_for_each("events", changes.take, *question)
    else:
        rest = xapi.call(*question)
        for event in rest["events"]:
            changes.take(event)
    counts = {name: int(rest["valid_ref_counts"][name]) for name in kept.objects.counts}
    objects = changes.objects(counts)
    is_all = objects.counts == counts
    if kept.token and not changes.count:
        return kept, is_all
    return Known(kept.source, rest["token"], objects, kept.ahead + changes.count), is_all


class _Changes:
    """What events say of objects that were known before."""

    def __init__(self, before: Objects) -> None:
        self._before = before
        self._there: ByClass = {name: {} for name in before.counts}
        self._gone: Set[Tuple[str, str]] = set()

    @property
    def count(self) -> int:
        return sum(map(len, self._there.values())) + len(self._gone)

    def take(self, event: Record) -> None:
        class_name, ref = event["class"], event["ref"]
        if event["operation"] == "del":
            self._there[class_name].pop(ref, None)
            self._gone.add((class_name, ref))
        else:
            self._there[class_name][ref] = _kept_of(class_name, event["snapshot"])
            self._gone.discard((class_name, ref))

    def objects(self, counts: Mapping[str, int]) -> Objects:
        """Those of before where nothing that is kept has changed. `counts`: how many there are by now of each
        class: where so many were told, those of before are not read."""
        if not self.count:
            return self._before
        if {name: len(there) for name, there in self._there.items()} == counts:
            return Objects(self._there)
        now = {name: {**known, **self._there[name]} for name, known in self._before.by_class.items()}
        for class_name, ref in self._gone:
            now[class_name].pop(ref, None)
        return Objects(now) if now != self._before.by_class else self._before


def _kept_of(class_name: str, record: Record) -> Optional[Record]:
    """Of a VM that is none of ours (a template, a snapshot, a control domain) only that it is there, and
    whether it has our custom field."""
    if class_name == "vm" and any(record[field] for field in _NO_VM):
        return _WITH_FIELD if FIELD in record["other_config"] else None
    usual = _FIELDS[class_name]
    kept = {
        field: record[field] for field, value in usual.items() if field in record and record[field] != value
    }
    for field, is_wanted in _KEYS.get(class_name, {}).items():
        found = {key: value for key, value in record[field].items() if is_wanted(key)}
        if found:
            kept[field] = found
    return kept


def _build() -> str:
    """All that says which fields and keys are kept."""
    names = ("records", "__init__", "ledger", "pci_entries", "pinning", "networks")
    return digest.of_build(*(f"pool/{name}.py" for name in names))


def _path(part: Part) -> str:
    return f"{RUN_FOLDER}/xapi-{part.name}"


def _load(host: Host, part: Part, source: List[str]) -> Optional[Known]:
    """What that process told; where none is known, nothing."""
    found = kept_file.load(host, _path(part), _build()) if source else None
    if found is None:
        return None
    told_by, token, counts = found.head
    return Known(source, token, Objects(None, found.text, counts)) if told_by == source else None


def _store(host: Host, part: Part, known: Known) -> None:
    kept = kept_file.Kept([known.source, known.token, known.objects.counts], known.objects.text)
    kept_file.store(host, _path(part), _build(), kept, "records", "keeping what xapi told")
