"""What the old plugin `iovirt` kept on a VM: MAC and VLAN of the VF of an entry in other_config:pci.

Its keys `sriovmacs` and `sriovvlans` are `N/MAC` and `N/VLAN`, with the N of the entry, separated by commas
(xen-api: scripts/plugins/iovirt before commit e3055ca700).
"""

import re
from typing import Dict, List, Mapping, Tuple

from ..safetext import LONGEST
from . import pci_entries

MACS, VLANS = "sriovmacs", "sriovvlans"


def read(other_config: Mapping[str, str]) -> Tuple[Dict[int, Dict[str, str]], List[str]]:
    """Number of the entry -> its `mac` and `vlan`; and the parts of both keys that are no N/VALUE: whoever
    wrote them meant something. A VM's owner can write longer numbers than entries have: these are none."""
    found: Dict[int, Dict[str, str]] = {}
    unreadable = []
    for name, text in (("mac", other_config.get(MACS, "")), ("vlan", other_config.get(VLANS, ""))):
        if len(text) > LONGEST:
            unreadable.append(text)
            continue
        for part in filter(str.strip, text.split(",")):
            match = re.fullmatch(r"\s*0*([0-9]{1,19})\s*/\s*(\S+)\s*", part)
            if match is None:
                unreadable.append(part.strip())
            else:
                found.setdefault(int(match.group(1)), {})[name] = match.group(2)
    return found, unreadable


def are_own(other_config: Mapping[str, str], origin: Mapping[str, str]) -> bool:
    """Whether a VM has MACs or VLANs for its entries that another one does not have."""
    numbers = {entry.number for entry in pci_entries.entries(pci_entries.readable(other_config))}
    (here, _), (there, _) = read(other_config), read(origin)
    return any(
        number in numbers and there.get(number, {}).get(name) != value
        for number, values in here.items()
        for name, value in values.items()
    )
