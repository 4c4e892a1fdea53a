"""Names of devices, from the host's own pci.ids (hwdata); lspci reads the same file."""

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
    return {(vendor, device): _name(data, vendors[vendor], device) for vendor, device in wanted}


def _vendor(data: bytes, vendor_id: str) -> Optional[Tuple[str, int]]:
    """A vendor's name, and where the lines of its devices begin. After a head of comments the file has a line
    `8086  Intel Corporation` a vendor, then its devices, one tab deeper (`\\t10ed  82599 ...`), until the
    next line that begins in the first column. Sought from the end, which is nearer to Intel, by far."""
    beginning = b"\n" + vendor_id.encode() + b"  "
    return _line(data, data.rfind(beginning), beginning)


def _name(data: bytes, vendor: Optional[Tuple[str, int]], device_id: str) -> Optional[str]:
    if vendor is None:
        return None
    beginning = b"\n\t" + device_id.encode() + b"  "
    at = data.find(beginning, vendor[1])
    device = _line(data, at, beginning)
    return f"{vendor[0]} {device[0]}" if device and not _has_vendor(data[vendor[1] : at]) else None


def _has_vendor(lines: bytes) -> bool:
    """Whether one of them begins in the first column, and is no comment. Intel has thousands of devices."""
    return lines.count(b"\n") > lines.count(b"\n\t") + lines.count(b"\n#") + lines.count(b"\n\n")


def _line(data: bytes, at: int, beginning: bytes) -> Optional[Tuple[str, int]]:
    """The rest of the line that is there and begins so, and where that line ends."""
    if at < 0:
        return None
    end = data.find(b"\n", at + 1)
    if end < 0:
        end = len(data)
    return data[at + len(beginning) : end].decode("utf-8", "replace").strip(), end
