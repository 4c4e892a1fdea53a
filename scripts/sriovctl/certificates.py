"""What a person is shown of a certificate: fingerprint, subject, names, validity. It verifies nothing.

The standard library decodes only certificates that it has verified, and what has to be shown is one that it
has not; so the few fields are read from its DER (RFC 5280, section 4.1) here.
"""

import datetime
import hashlib
import ipaddress
import re
from typing import Iterator, List, NamedTuple, Tuple

from sriovlib.safetext import line

Item = Tuple[int, bytes]  # tag and contents

_SEQUENCE, _TIMES, _VERSION, _EXTENSIONS = 0x30, (0x17, 0x18), 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_ALT_NAMES = b"\x55\x1d\x11"  # 2.5.29.17
_WORDS = {b"\x55\x04\x03": "CN", b"\x55\x04\x0a": "O", b"\x55\x04\x0b": "OU", b"\x55\x04\x05": "serialNumber"}


class Certificate(NamedTuple):
    """`subject`, `names` and validity are for the eye, empty where they cannot be read: what counts is the
    fingerprint."""

    fingerprint: str
    subject: str = ""
    names: Tuple[str, ...] = ()
    begins: str = ""
    ends: str = ""


def certificate(der: bytes) -> Certificate:
    digest = hashlib.sha256(der).hexdigest().upper()
    fingerprint = ":".join(digest[place : place + 2] for place in range(0, len(digest), 2))
    try:
        return Certificate(fingerprint, *_fields(der))
    except (ValueError, IndexError):  # as strange as it may be, it is only shown
        return Certificate(fingerprint)


def _fields(der: bytes) -> Tuple[str, Tuple[str, ...], str, str]:
    ((_, whole),) = _items(der)
    fields = list(_items(next(_items(whole))[1]))
    if fields[0][0] == _VERSION:
        del fields[0]
    _serial, _algorithm, _issuer, (_, validity), (_, subject), *rest = fields
    begins, ends = [_day(content) for tag, content in _items(validity) if tag in _TIMES]
    names = tuple(name for tag, content in rest if tag == _EXTENSIONS for name in _alt_names(content))
    return _name(subject), names, begins, ends


def _items(data: bytes) -> Iterator[Item]:
    """The elements that follow each other in there. Certificates have no long tags and no open lengths."""
    while data:
        tag, length, begin = data[0], data[1], 2
        if length & 0x80:
            begin += length & 0x7F
            length = int.from_bytes(data[2:begin], "big")
        if begin + length > len(data):
            raise ValueError("cut off")
        yield tag, data[begin : begin + length]
        data = data[begin + length :]


def _day(text: bytes) -> str:
    """Of a UTCTime (two digits for the year, 50 and more are the last century) or a GeneralizedTime."""
    found = re.fullmatch("((?:[0-9]{2})?[0-9]{2})([0-9]{2})([0-9]{2})[0-9]{6}Z", text.decode("ascii"))
    if not found:
        raise ValueError(text)
    year, month, day = map(int, found.groups())
    if year < 100:
        year += 1900 if year >= 50 else 2000
    return datetime.date(year, month, day).isoformat()


def _name(data: bytes) -> str:
    parts: List[str] = []
    for _, relative in _items(data):
        for _, pair in _items(relative):
            (_, kind), (tag, value) = _items(pair)
            if kind in _WORDS:
                text = value.decode("utf-16-be" if tag == 0x1E else "utf-8", "replace")
                parts.append(f"{_WORDS[kind]}={line(text, 200)}")
    return ", ".join(parts)


def _alt_names(data: bytes) -> List[str]:
    ((_, extensions),) = _items(data)
    names = []
    for _, extension in _items(extensions):
        (_, kind), *_, (_, value) = _items(extension)
        if kind == _ALT_NAMES:
            ((_, general),) = _items(value)
            for tag, content in _items(general):
                if tag == _DNS_NAME:
                    names.append(line(content.decode("ascii", "replace"), 200))
                elif tag == _IP_ADDRESS:
                    names.append(str(ipaddress.ip_address(content)))
    return names
