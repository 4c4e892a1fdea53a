"""The part of the ledger that a start needs.

To read the keys of 2,000 VMs takes longer than all else of a start, and few of them have to do with it: those
that name one of its addresses; and those that cannot be read, which may name any. So digests of keys that
could be read are kept in /run/sriov/ledger-read, one a line, and such a key is not read again where it does
not matter. A key that has changed has another digest.
"""

import os
from _blake2 import blake2b  # hashlib loads OpenSSL's too
from typing import Collection, Mapping, Set

from .. import VERSION
from ..machine.host import RUN_FOLDER, Host
from . import ledger
from .ledger import Key, Ledger, LedgerError

PATH = f"{RUN_FOLDER}/ledger-read"


def read(
    host: Host, other_config: Mapping[str, str], vm: str, others: Collection[str], addresses: Collection[str]
) -> Ledger:
    """As ledger.read, for a start of the VM with these addresses. `entries` may lack VMs that are not among
    the `others`, and whose entries name none of them. Where the addresses are not all its own, by a lease now
    or before, whose they are depends on all entries, and all are read."""
    keys = ledger.keys(other_config)
    try:
        own = ledger.entry(vm, keys[vm])
    except (KeyError, LedgerError):
        return ledger.read(other_config)
    if not own.requests or not addresses or not set(addresses).issubset(own.ever_leased):
        return ledger.read(other_config)
    known, readable = _load(host), set()
    found = Ledger({}, {}, keys)
    for uuid, those in keys.items():
        digest = _digest(those[-1])
        if digest not in known or uuid == vm or uuid in others or _names(those[-1].text, addresses):
            try:
                found.entries[uuid] = ledger.entry(uuid, those)
            except LedgerError as error:
                found.unreadable[uuid] = str(error)
                continue
        readable.add(digest)
    if not readable.issubset(known):
        _store(host, readable)
    return found


def _names(text: str, addresses: Collection[str]) -> bool:
    """Whether it may: JSON can write each character as an escape, too."""
    return "\\" in text or any(address in text for address in addresses)


def _digest(key: Key) -> str:
    return blake2b(f"{key.name} {key.text}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _build() -> str:
    """What could be read, another build may not read."""
    found = os.stat(ledger.__file__)
    return f"{VERSION} {found.st_mtime_ns} {found.st_size}"


def _load(host: Host) -> Set[str]:
    build, *digests = (host.text(PATH) or "").split("\n")
    return set(digests) if build == _build() else set()


def _store(host: Host, readable: Set[str]) -> None:
    """Takes no lock: of two that write at once one fails, and what the other has begun is no digest."""
    try:
        host.replace_file(PATH, "\n".join([_build(), *sorted(readable)]).encode(), 0o600)
    except OSError as error:
        host.log(f"{PATH} was not written: {error.strerror}")
