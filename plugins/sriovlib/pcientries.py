"""The text of a VM's other_config:pci: what xapi makes of it, and how it changes when VFs come and go.

It is a list of `N/DDDD:BB:DD.F` with commas between. xapi reads each entry with the pattern
`%d/%04x:%02x:%02x.%01x` of OCaml's scanf and drops one that does not fit without a word; what follows the
function it ignores. Entries are plugged by ascending N, those of one N in the reverse order of the text
(xen-api: ocaml/xapi/pciops.ml; tests/pool/transcripts/passthrough.json).
"""

import itertools
import re
from typing import Collection, Iterator, List, NamedTuple, Optional, Sequence, Set

from .errors import SriovError
from .safetext import LONGEST, shortened

# scanf passes over `_` after a first digit, and counts it as one of the digits that a field may have.
_ENTRY = re.compile(
    "([+-]?)([0-9][0-9_]*)/"
    "([0-9a-fA-F][0-9a-fA-F_]{0,3}):([0-9a-fA-F][0-9a-fA-F_]?):([0-9a-fA-F][0-9a-fA-F_]?)[.]([0-9a-fA-F])"
)
_PLAIN = re.compile("[0-9a-fA-F:./,]*")  # what a shell takes as it stands
_LONG = 320  # characters: about twenty entries; a longer text is not written anew in a hint
LEAST, LARGEST = -(2**62), 2**62 - 1  # OCaml's int


class PciEntry(NamedTuple):
    text: str  # as it stands there
    number: Optional[int]  # both None: xapi drops the entry
    address: Optional[str]  # what xapi will plug, `dddd:bb:dd.f`: there need not be such a device


def entries(text: str) -> List[PciEntry]:
    """The entries in the order of the text; a place between commas with nothing or blanks in it is none."""
    return [_entry(part) for part in text.split(",") if part.strip()]


def _entry(text: str) -> PciEntry:
    dropped = PciEntry(text, None, None)
    match = _ENTRY.match(text)
    if match is None:
        return dropped
    sign, digits, *fields = (part.replace("_", "") for part in match.groups())
    digits = digits.lstrip("0") or "0"
    if len(digits) > len(str(LARGEST)):  # int would take ever longer, and refuses thousands of digits
        return dropped
    number = int(sign + digits)
    if not LEAST <= number <= LARGEST:
        return dropped
    domain, bus, device, function = (int(field, 16) for field in fields)
    return PciEntry(text, number, f"{domain:04x}:{bus:02x}:{device:02x}.{function:x}")


def plugging_order(text: str) -> List[str]:
    """The addresses as xapi plugs them, each once."""
    plugged = [(entry.number, entry.address) for entry in reversed(entries(text)) if entry.address]
    in_order = sorted(plugged, key=lambda pair: pair[0] or 0)  # a stable sort
    return list(dict.fromkeys(address for _, address in in_order))


def derive(before: str, old: Collection[str], new: Sequence[str]) -> str:
    """The text with our addresses `new` in the place of our addresses `old`; "" where nothing is left.

    The entries of others stay as they are, where they are. Ours that stay keep place and number, written
    in full, unless something else has that number too; the others of `new` follow at the end, in the order
    of `new`, with numbers above all that there are.
    """
    ours = {*old, *new}
    there = entries(before)
    numbers = {entry.number for entry in there if entry.address not in ours}
    kept: List[PciEntry] = []
    placed: Set[str] = set()
    for entry in there:
        if entry.address is None or entry.address not in ours:
            kept.append(entry)
        elif entry.address in new and entry.address not in placed and entry.number not in numbers:
            kept.append(entry._replace(text=f"{entry.number}/{entry.address}"))
            placed.add(entry.address)
            numbers.add(entry.number)
    missing = [address for address in dict.fromkeys(new) if address not in placed]
    used = [entry.number for entry in kept if entry.number is not None]
    added = [f"{number}/{address}" for number, address in zip(_numbers(used, len(missing)), missing)]
    return ",".join([entry.text for entry in kept] + added)


def _numbers(used: Collection[int], count: int) -> Iterator[int]:
    """Numbers for new entries: those that follow the used ones; should xapi know none above them any more,
    the first that are not used."""
    first = max(used, default=-1) + 1
    if first + count <= LARGEST:
        return itertools.count(max(first, 0))
    taken = set(used)
    return (number for number in itertools.count() if number not in taken)


def must_be_readable(vm: str, name: str, text: str) -> None:
    """Refuses a VM with entries of more than `LONGEST` characters, whoever wrote them."""
    if len(text) > LONGEST:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"other_config:pci of {shortened(name, 60)} ({vm}) has {len(text)} characters, and more than "
            f"{LONGEST} are not read.",
            f"Take it out: `{removal(vm)}`.",
        )


def without(vm: str, text: str, address: str) -> str:
    """What to do, as a sentence, so that the VM's entries do not name the address any more."""
    by_hand = "Take the entry out of the VM's other_config:pci."
    if len(text) > _LONG:
        return by_hand
    rest = ",".join(entry.text for entry in entries(text) if entry.address != address)
    if not rest:
        return f"Take the entry out: `{removal(vm)}`."
    if not _PLAIN.fullmatch(rest):
        return by_hand
    return f"Take the entry out: `xe vm-param-set uuid={vm} other-config:pci={rest}`."


def removal(vm: str) -> str:
    """The command that takes all entries of a VM out."""
    return f"xe vm-param-remove uuid={vm} param-name=other-config param-key=pci"
