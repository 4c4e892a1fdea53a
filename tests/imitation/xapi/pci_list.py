"""VM.other_config:pci, as xapi reads it. Imitates passthrough.json, entry by entry.

xapi scans each entry with `%d/%04x:%02x:%02x.%01x` (xen-api: ocaml/xapi/pciops.ml): what does not match
from the entry's beginning is dropped without a word, what follows a match is not looked at.
"""

import re
from typing import Dict, List, Tuple

_ENTRY = re.compile(
    r"([+-]?[0-9]+)/([0-9a-f]{1,4}):([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-9a-f])", re.IGNORECASE
)
_LARGEST = 2**62  # of OCaml's int


def addresses(text: str) -> List[str]:
    """The addresses in the order in which they are plugged: by number, equal numbers in the reverse order
    of the text. An address that is there twice has the later place: xenopsd keeps one record an address,
    and writes it again with the later position (xen-api: xenops_server.ml, import_metadata)."""
    entries: List[Tuple[int, str]] = []
    for entry in text.split(","):
        match = _ENTRY.match(entry)
        if match and -_LARGEST <= int(match.group(1)) < _LARGEST:
            domain, bus, device, function = (int(part, 16) for part in match.groups()[1:])
            entries.append((int(match.group(1)), f"{domain:04x}:{bus:02x}:{device:02x}.{function:x}"))
    entries.reverse()
    entries.sort(key=lambda entry: entry[0])
    last: Dict[str, None] = {}
    for _, address in entries:
        last.pop(address, None)
        last[address] = None
    return list(last)
