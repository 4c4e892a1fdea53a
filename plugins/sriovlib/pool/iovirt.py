"""What the old plugin `iovirt` kept on a VM: MAC and VLAN of the VF of an entry in other_config:pci.

Its keys `sriovmacs` and `sriovvlans` are `N/MAC` and `N/VLAN`, with the N of the entry, separated by commas
(xen-api: scripts/plugins/iovirt before commit e3055ca700).
"""

import re
from typing import Dict, List, Mapping, Optional

from ..safetext import LONGEST
from . import pci_entries

MACS, VLANS = "sriovmacs", "sriovvlans"


def macs(other_config: Mapping[str, str]) -> Dict[int, str]:
    """Number of the entry -> MAC."""
    return _numbered(other_config.get(MACS, ""))


def vlans(other_config: Mapping[str, str]) -> Dict[int, str]:
    """Number of the entry -> VLAN."""
    return _numbered(other_config.get(VLANS, ""))


def _numbered(text: str) -> Dict[int, str]:
    """A VM's owner can write longer numbers than entries have (pci_entries.LARGEST): `_match` takes none."""
    matches = map(_match, text.split(",")) if len(text) <= LONGEST else ()
    return {int(match.group(1)): match.group(2) for match in matches if match}


def unreadable(other_config: Mapping[str, str]) -> List[str]:
    """The parts of both keys that are no N/VALUE: whoever wrote them meant something, so none is ignored."""
    texts = [other_config.get(key, "") for key in (MACS, VLANS)]
    parts = [part for text in texts for part in (text.split(",") if len(text) <= LONGEST else [text])]
    return [part.strip() for part in parts if part.strip() and (len(part) > LONGEST or not _match(part))]


def _match(part: str) -> "Optional[re.Match[str]]":
    return re.fullmatch(r"\s*0*([0-9]{1,19})\s*/\s*(\S+)\s*", part)


def are_own(other_config: Mapping[str, str], origin: Mapping[str, str]) -> bool:
    """Whether a VM has MACs or VLANs for its entries that another one does not have."""
    numbers = {entry.number for entry in pci_entries.entries(pci_entries.readable(other_config))}
    return any(
        number in numbers and there.get(number) != value
        for here, there in ((macs(other_config), macs(origin)), (vlans(other_config), vlans(origin)))
        for number, value in here.items()
    )
