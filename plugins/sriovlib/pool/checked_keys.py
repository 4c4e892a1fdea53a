"""Keys of the ledger that could be read before, and need no look again at whether they can: it is most of
what reading 2,000 keys takes.

Their digests are kept in /run/sriov/ledger-read, one a line. A key that has changed has another digest.
"""

from typing import Mapping, Sequence, Set

from .. import digest
from ..machine.host import RUN_FOLDER, Host
from . import ledger
from .ledger import Entry, Key, Ledger

PATH = f"{RUN_FOLDER}/ledger-read"


class CheckedKeys:
    def __init__(self, host: Host) -> None:
        self._host = host
        self._known = _load(host)
        self._met: Set[str] = set()  # of these, those that were met, and the new ones

    def entry(self, uuid: str, those: Sequence[Key]) -> Entry:
        """As ledger.entry."""
        mark = _digest(those[-1])
        found = ledger.again(those) if mark in self._known else ledger.entry(uuid, those)
        self._met.add(mark)
        return found

    def has(self, those: Sequence[Key]) -> bool:
        """Whether it could be read before, which is so still."""
        mark = _digest(those[-1])
        if mark not in self._known:
            return False
        self._met.add(mark)
        return True

    def keep(self) -> None:
        """Those that were met, if some are new."""
        if not self._met.issubset(self._known):
            _store(self._host, self._met)


def read(host: Host, other_config: Mapping[str, str]) -> Ledger:
    """As ledger.read."""
    checked = CheckedKeys(host)
    found = ledger.of_keys(ledger.keys(other_config), checked.entry)
    checked.keep()
    return found


def _digest(key: Key) -> str:
    """Its name may have blanks, where somebody has written it by hand."""
    return digest.of(f"{len(key.name)} {key.name} {key.text}".encode("utf-8", "surrogatepass"))


def _build() -> str:
    """All that says what can be read."""
    shapes = ("pool/ledger.py", "pool/ledger_shape.py", "config/vf_settings.py")
    return digest.of_build(*shapes, "machine/pci.py", "safetext.py")


def _load(host: Host) -> Set[str]:
    build, *digests = (host.text(PATH) or "").split("\n")
    return set(digests) if build == _build() else set()


def _store(host: Host, readable: Set[str]) -> None:
    """Takes no lock: of two that write at once one fails, and what the other has begun is no digest."""
    try:
        host.replace_file(PATH, "\n".join([_build(), *readable]).encode(), 0o600)
    except OSError as error:
        host.log(f"{PATH} was not written: {error.strerror}")
