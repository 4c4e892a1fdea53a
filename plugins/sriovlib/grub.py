"""What xen-cmdline may do to a GRUB file: change Xen's options in it, and nothing else. Pure text.

The tool (xcp.bootloader) writes the whole file anew from what it understood. It drops what stands
behind the last entry and joins entries whose titles it gives one label, such as two fallback entries:
a file with a `submenu` or an `if` around entries comes out as one that GRUB refuses.
"""

import re
from typing import Counter, List, Optional

from . import xenoption

_TITLE = re.compile(r"\s*menuentry\s+(?:'([^']*)'|\"([^\"]*)\")")
# The tool writes these in its own words; comments it may drop.
_HEADER = re.compile(r"\s*(?:#|serial\b|terminal_|set (?:default|timeout)=)")
_OWN_WORDS = {"linux16": "linux", "linuxefi": "linux", "initrd16": "initrd", "initrdefi": "initrd"}
_BOOTS_XEN = ("multiboot2", "multiboot", "xen_hypervisor")


def _titles(text: str) -> List[str]:
    return [match.group(1) or match.group(2) for match in map(_TITLE.match, text.splitlines()) if match]


def _lines(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in _BOOTS_XEN:  # an option that is set moves to the end
            words[1:] = sorted(word for word in words[1:] if not xenoption.is_iommu(word))
        elif words[:4] == ["search", "--label", "--set", "root"]:
            del words[5:]  # hints, which the tool drops and GRUB can do without
        elif words:
            words[0] = _OWN_WORDS.get(words[0], words[0])
        if words and not _HEADER.match(line) and not _TITLE.match(line):
            found[" ".join(words)] += 1
    return found


def harm(before: str, after: str) -> Optional[str]:
    """What was done to the file beside the options, in a few words; None where nothing was."""
    if _titles(before) != _titles(after):
        gone = list((Counter(_titles(before)) - Counter(_titles(after))).elements())
        return f"boot entries are not what they were: {', '.join(gone) or 'others than before'}"
    lost = list((_lines(before) - _lines(after)).elements())
    return f"the line `{lost[0]}` is lost" if lost else None
