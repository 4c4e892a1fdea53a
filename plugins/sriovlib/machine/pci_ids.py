"""Names of devices, from the host's own pci.ids (hwdata); lspci reads the same file."""

import re
from typing import Dict, Iterable, Optional, Tuple

from .host import Host

FILES = ("/usr/share/hwdata/pci.ids", "/usr/share/misc/pci.ids")


def descriptions(host: Host, ids: Iterable[Tuple[str, str]]) -> Dict[Tuple[str, str], Optional[str]]:
    """`Vendor Device` for each (vendor id, device id), as lspci prints them; None where the file
    does not know the device, or the host has no such file."""
    data = b""
    for path in FILES:
        try:
            data = host.read_bytes(path)
            break
        except OSError:
            continue
    wanted = set(ids)
    vendors = {vendor_id: _vendor(data, vendor_id) for vendor_id in {vendor_id for vendor_id, _ in wanted}}
    return {(vendor_id, device_id): _name(vendors[vendor_id], device_id) for vendor_id, device_id in wanted}


def _vendor(data: bytes, vendor_id: str) -> Optional[Tuple[str, bytes]]:
    """A vendor's name, and the lines of its devices. After a head of comments the file has a line
    `8086  Intel Corporation` a vendor, then its devices, one tab deeper (`\\t10ed  82599 ...`), until the
    next line that begins in the first column."""
    line = _line_after(data, b"\n" + vendor_id.encode() + b"  ")
    if line is None:
        return None
    name, start = line
    following = re.compile(rb"\n[^\t#\n]").search(data, start)
    return name, data[start : following.start() if following else len(data)]


def _name(vendor: Optional[Tuple[str, bytes]], device_id: str) -> Optional[str]:
    device = _line_after(vendor[1], b"\n\t" + device_id.encode() + b"  ") if vendor else None
    return f"{vendor[0]} {device[0]}" if vendor and device else None


def _line_after(data: bytes, beginning: bytes) -> Optional[Tuple[str, int]]:
    """The rest of the line that begins so, and where that line ends."""
    found = data.find(beginning)
    if found < 0:
        return None
    line_end = data.find(b"\n", found + 1)
    if line_end < 0:
        line_end = len(data)
    return data[found + len(beginning) : line_end].decode("utf-8", "replace").strip(), line_end
