"""Names that commands have read of a pool, for completion: it must answer at once, and asks no host.

A file a pool in the cache folder. Kinds: host, VM, network, port (HOST/eth1) and vf (HOST/eth1:3). What VMs
are called their owners decide, and a shell would obey some of it: such a name is kept as its UUID.
"""

import json
import os
import re
import time
from typing import Any, Dict, List, Mapping

from . import files, settings
from .pool import Pool

DOM0 = "dom0"  # the pool of this host, for which there are no settings
OLDEST = 7 * 86400.0  # seconds; a name that is older is not offered
_HARMLESS = re.compile(r"[\w.@%+,/:-]+")


def names(key: str, kind: str) -> List[str]:
    """Those of the pool; none where none were read of late."""
    kept = _read(key).get(kind)
    if kept is None or not 0 <= time.time() - kept["at"] <= OLDEST:
        return []
    return list(kept["names"])


def keep(key: str, pool: Pool) -> None:
    """What was read of it until now. Where that cannot be written completion knows less, and that is all."""
    found = read_of(pool)
    if not found:
        return
    kept = _read(key)
    try:
        _write(key, {**kept, **{kind: _with(kept.get(kind), kind, new) for kind, new in found.items()}})
    except OSError:
        pass


def read_of(pool: Pool) -> Dict[str, List[str]]:
    """By kind; a kind of which nothing was read is not there."""
    found = {
        kind: [word(record["name_label"], record["uuid"]) for record in records.values() if _counts(record)]
        for kind, records in pool.read.items()
        if kind in ("host", "VM", "network")
    }
    status, pfs, vfs = (pool.answers.get(one, {}) for one in ("status", "list_pfs", "list_vfs"))
    ports = [(host, pf.get("interface")) for host, its in pfs.items() for pf in its]
    ports += [(host, pf.get("interface")) for host, its in status.items() for pf in its.get("pfs") or []]
    if pfs or status:
        found["port"] = [f"{word(host, host)}/{name}" for host, name in ports if name]
    if vfs:
        named = [
            (host, f"{vf.get('interface')}:{vf.get('index')}") for host, its in vfs.items() for vf in its
        ]
        found["vf"] = [f"{word(host, host)}/{name}" for host, name in named]
    return {kind: [name for name in there if _HARMLESS.fullmatch(name)] for kind, there in found.items()}


def word(name: str, uuid: str) -> str:
    """The name as tables show it, with `_` for blanks, which commands take; or the UUID."""
    name = name.replace(" ", "_")
    return name if _HARMLESS.fullmatch(name) and not name.startswith("-") else uuid


def _counts(record: Mapping[str, Any]) -> bool:
    return not any(record.get(f"is_{what}") for what in ("a_template", "a_snapshot", "control_domain"))


def _with(kept: Any, kind: str, new: List[str]) -> Dict[str, Any]:
    """Of ports and VFs those of the hosts that have not been asked this time stay."""
    asked = {name.partition("/")[0] for name in new}
    old = kept["names"] if kept is not None and kind in ("port", "vf") else []
    stay = [name for name in old if name.partition("/")[0] not in asked]
    return {"at": time.time(), "names": sorted({*stay, *new})}


def _path(key: str) -> str:
    return os.path.join(settings.folder("cache"), re.sub(r"[^\w.-]", "_", key) + ".json")


def _read(key: str) -> Dict[str, Any]:
    try:
        with open(_path(key), encoding="utf-8") as file:
            kept = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return {kind: one for kind, one in kept.items() if _is_kept(one)} if isinstance(kept, dict) else {}


def _is_kept(one: Any) -> bool:
    """Whether we have written it."""
    return (
        isinstance(one, dict)
        and isinstance(one.get("at"), (int, float))
        and isinstance(one.get("names"), list)
        and all(isinstance(name, str) for name in one["names"])
    )


def _write(key: str, kept: Dict[str, Any]) -> None:
    """Whole: completion may read at the same time."""
    path = _path(key)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    files.write(path, json.dumps(kept), 0o600, lasting=False)
