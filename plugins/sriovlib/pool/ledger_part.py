"""The part of the ledger that a start needs.

To read the keys of 2,000 VMs takes longer than all else of a start, and few of them have to do with it: those
that name one of its addresses; and those that cannot be read, which may name any. So a key that could be read
before is not read again where it does not matter (checked_keys).
"""

from typing import Collection, Mapping

from ..machine.host import Host
from . import ledger
from .checked_keys import CheckedKeys
from .ledger import Ledger, LedgerError


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
    checked, wanted = CheckedKeys(host), {}
    for uuid, those in keys.items():
        matters = uuid == vm or uuid in others or _names(those[-1].text, addresses)
        if matters or not checked.has(those):
            wanted[uuid] = those
    found = ledger.of_keys(wanted, checked.entry)
    checked.keep()
    return found._replace(keys=keys)


def _names(text: str, addresses: Collection[str]) -> bool:
    """Whether it may: JSON can write each character as an escape, too."""
    return "\\" in text or any(address in text for address in addresses)
