"""The text of a VM's other_config:pci: what xapi makes of it, and how it changes when VFs come and go.

It is a list of `N/DDDD:BB:DD.F` with commas between. xapi reads each entry with the pattern
`%d/%04x:%02x:%02x.%01x` of OCaml's scanf and drops one that does not fit without a word; what follows the
function it ignores. Entries are plugged by ascending N, those of one N in the reverse order of the text
(xen-api: ocaml/xapi/pciops.ml; tests/imitation/transcripts/passthrough.json). An address that stands twice
has the later place: xenopsd keeps one record an address, which each entry overwrites with its position
(ocaml/xapi/xapi_xenops.ml, pcis_of_vm; ocaml/xenopsd/lib/xenops_server.ml, import_metadata).

A guest sees its devices in the order of plugging, so the VFs of a VM's requests are plugged by the numbers
of the requests. Entries of others keep their numbers, and by them their places before, between and behind.
"""

import itertools
import re
from typing import Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import SriovError
from ..machine import pci
from ..safetext import LONGEST, is_number, shortened

# scanf passes over `_` after a first digit, and counts it as one of the digits that a field may have; it
# takes a sign before %d only, and no blanks (ocaml: stdlib/scanf.ml, scan_int_conversion).
_ENTRY = re.compile(
    "([+-]?)([0-9][0-9_]*)/"
    "([0-9a-fA-F][0-9a-fA-F_]{0,3}):([0-9a-fA-F][0-9a-fA-F_]?):([0-9a-fA-F][0-9a-fA-F_]?)[.]([0-9a-fA-F])"
)
_PLAIN = re.compile("[0-9a-fA-F:./,]*")  # what a shell takes as it stands
_LONG = 320  # characters: about twenty entries; no hint repeats a longer text
MACS, VLANS = "sriovmacs", "sriovvlans"  # keys that the old plugin `iovirt` wrote beside it, see adopted
LEAST, LARGEST = -(2**62), 2**62 - 1  # OCaml's int


class PciEntry(NamedTuple):
    text: str  # as it stands there
    number: Optional[int]  # both None: xapi drops the entry
    address: Optional[str]  # what xapi will plug, `dddd:bb:dd.f`: there need not be such a device
    ignored: str = ""  # what stands behind the address, without the blanks around it


# Each of a pool's VMs is looked at several times, and many name the same.
_ENTRIES: Dict[str, List[PciEntry]] = {}
_ORDERS: Dict[str, List[str]] = {}


def entries(text: str) -> List[PciEntry]:
    """The entries in the order of the text; a place between commas with nothing or blanks in it is none."""
    if text not in _ENTRIES:
        _ENTRIES[text] = [_entry(part) for part in text.split(",") if part.strip()]
    return list(_ENTRIES[text])


def _entry(text: str) -> PciEntry:
    dropped = PciEntry(text, None, None)
    digits, _, place = text.partition("/")
    if is_number(digits) and len(digits) < 10 and len(place) == len("0000:00:00.0") and pci.is_address(place):
        return PciEntry(text, int(digits), place)  # as nearly all are written
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
    address = f"{domain:04x}:{bus:02x}:{device:02x}.{function:x}"
    return PciEntry(text, number, address, text[match.end() :].strip())


def plugged(text: str) -> List[PciEntry]:
    """The entries that xapi takes, in the order in which their devices are plugged, each address once."""
    taken = [entry for entry in reversed(entries(text)) if entry.address]
    taken.sort(key=lambda entry: entry.number or 0)  # a stable sort
    last = {entry.address: place for place, entry in enumerate(taken)}
    return [taken[place] for place in sorted(last.values())]


def plugging_order(text: str) -> List[str]:
    """The addresses as xapi plugs them, each once."""
    if text not in _ORDERS:
        _ORDERS[text] = [entry.address for entry in plugged(text) if entry.address]
    return list(_ORDERS[text])


def in_another_order(named: Sequence[str], wanted: Sequence[str]) -> List[str]:
    """Those of `wanted` that are `named`, as these are plugged; empty where that is their order there too."""
    there = [address for address in named if address in wanted]
    return [] if there == [address for address in wanted if address in there] else there


def derive(before: str, old: Collection[str], new: Sequence[str]) -> str:
    """The text with our addresses `new` in the place of our addresses `old`; "" where nothing is left.

    The entries of others stay as they are, where they are. Ours are plugged in the order of `new`: they take
    the numbers and places in the text that ours have, those of what stays before those of what goes, except
    a number that something else has too; and then numbers above all that there are, at the end.
    """
    ours, new = {*old, *new}, list(dict.fromkeys(new))
    there = entries(before)
    foreign = {entry.number for entry in there if entry.address not in ours and entry.number is not None}
    numbers = _own_numbers([entry for entry in there if entry.address in ours], foreign, new)
    used = {*foreign, *numbers}
    above = range(max([-1, *used]) + 1, LARGEST + 1)
    free = (number for number in itertools.chain(above, itertools.count()) if number not in used)
    fresh = itertools.islice(free, len(new) - len(numbers))
    written = {number: f"{number}/{address}" for number, address in zip(sorted([*numbers, *fresh]), new)}
    kept = [
        entry.text if entry.address not in ours else written.pop(entry.number or 0, "") for entry in there
    ]
    return ",".join([text for text in kept if text] + list(written.values()))


def _own_numbers(own: Sequence[PciEntry], foreign: Collection[int], new: Sequence[str]) -> List[int]:
    """The numbers of our entries that entries for `new` can have, no more than these need."""
    stay: Dict[Optional[str], int] = {}
    go: Dict[int, None] = {}
    taken = set(foreign)
    for entry in own:
        number = entry.number or 0
        if number not in taken and entry.address not in stay:
            taken.add(number)
            if entry.address in new:
                stay[entry.address] = number
            else:
                go[number] = None
    return [*stay.values(), *go][: len(new)]


def readable(other_config: Mapping[str, str]) -> str:
    """The text of a VM's entries; "" for one that is too long, with which no start goes on
    (`must_be_readable`)."""
    text = other_config.get("pci", "")
    return text if len(text) <= LONGEST else ""


def must_be_readable(vm: str, name: str, other_config: Mapping[str, str]) -> None:
    """Refuses a VM with entries of more than `LONGEST` characters, whoever wrote them."""
    length = len(other_config.get("pci", ""))
    if length > LONGEST:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"other_config:pci of {shortened(name, 60)} ({vm}) has {length} characters, and more than "
            f"{LONGEST} are not read.",
            f"Take it out: `{removal(vm)}`.",
        )


def without(vm: str, text: str, *addresses: str) -> str:
    """A sentence that says how to take these addresses out of the VM's entries."""
    take = f"Take the {'entry' if len(addresses) == 1 else 'entries'} out"
    if len(text) > _LONG:  # of thousands of entries each may get a hint
        return f"{take} of the VM's other_config:pci."
    rest = ",".join(entry.text for entry in entries(text) if entry.address not in addresses)
    if not rest:
        return f"{take}: `{removal(vm)}`."
    if not _PLAIN.fullmatch(rest):
        return f"{take} of the VM's other_config:pci."
    return f"{take}: `xe vm-param-set uuid={vm} other-config:pci={rest}`."


def removal(vm: str) -> str:
    """The command that takes all entries of a VM out."""
    return f"xe vm-param-remove uuid={vm} param-name=other-config param-key=pci"
