"""The pixels of a PNG file as Chromium writes it: 8 bits a channel, not interlaced (RFC 2083)."""

import struct
import zlib
from collections import Counter
from typing import Counter as Counted
from typing import Iterator, Tuple

Colour = Tuple[int, int, int]
_CHANNELS = {2: 3, 6: 4}  # by colour type: RGB, and RGB with alpha


def colours(data: bytes) -> "Counted[Colour]":
    """How many pixels have which colour."""
    header = b"".join(_chunks(data, b"IHDR"))
    width, height, depth, kind, _compression, _filter, interlaced = struct.unpack(">IIBBBBB", header)
    assert (depth, interlaced) == (8, 0), header
    size = _CHANNELS[kind]
    raw = zlib.decompress(b"".join(_chunks(data, b"IDAT")))
    stride = width * size
    above = bytearray(stride)
    found: Counted[Colour] = Counter()
    for start in range(0, height * (stride + 1), stride + 1):
        row = _unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + stride]), above, size)
        found.update(zip(row[0::size], row[1::size], row[2::size]))
        above = row
    return found


def _chunks(data: bytes, wanted: bytes) -> Iterator[bytes]:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place = 8
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == wanted:
            yield data[place + 8 : place + 8 + length]
        place += length + 12


def _unfiltered(kind: int, row: bytearray, above: bytearray, size: int) -> bytearray:
    for place in range(len(row)):
        left = row[place - size] if place >= size else 0
        up, corner = above[place], above[place - size] if place >= size else 0
        if kind == 1:
            row[place] = (row[place] + left) & 255
        elif kind == 2:
            row[place] = (row[place] + up) & 255
        elif kind == 3:
            row[place] = (row[place] + (left + up) // 2) & 255
        elif kind == 4:
            row[place] = (row[place] + _paeth(left, up, corner)) & 255
    return row


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))
