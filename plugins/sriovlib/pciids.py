"""Names of devices, from the host's own pci.ids (hwdata); lspci reads the same file."""

import re
from typing import Dict, Iterable, Optional, Tuple

from .host import Host

_FIRST_COLUMN = re.compile(rb"\n[^\t#\n]")
FILES = ("/usr/share/hwdata/pci.ids", "/usr/share/misc/pci.ids")


def descriptions(host: Host, ids: Iterable[Tuple[str, str]]) -> Dict[Tuple[str, str], Optional[str]]:
    """`Vendor Device` for each (vendor id, device id), as lspci prints them; None where the file
    does not know the device, or the host has no such file."""
    data = b""
    for path in FILES:
        try:
            data = b"\n" + host.read_bytes(path)
            break
        except OSError:
            continue
    return {pair: _description(data, *pair) for pair in set(ids)}


def _description(data: bytes, vendor_id: str, device_id: str) -> Optional[str]:
    """The file has a line `8086  Intel Corporation` a vendor, then its devices, one tab deeper
    (`\\t10ed  82599 ...`), until the next line that begins in the first column."""
    vendor = _line_after(data, b"\n" + vendor_id.encode() + b"  ", 0, len(data))
    if vendor is None:
        return None
    name, start = vendor
    following = _FIRST_COLUMN.search(data, start)
    end = following.start() if following else len(data)
    device = _line_after(data, b"\n\t" + device_id.encode() + b"  ", start, end)
    return None if device is None else f"{name} {device[0]}"


def _line_after(data: bytes, beginning: bytes, start: int, end: int) -> Optional[Tuple[str, int]]:
    """The rest of the line that begins so, and where that line ends."""
    found = data.find(beginning, start, end)
    if found < 0:
        return None
    line_end = data.find(b"\n", found + 1)
    if line_end < 0:
        line_end = len(data)
    return data[found + len(beginning) : line_end].decode("utf-8", "replace").strip(), line_end
