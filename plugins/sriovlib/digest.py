"""Digests, by which what was kept is known again."""

import os
from _blake2 import blake2b  # hashlib loads OpenSSL's too
from typing import Any

from . import VERSION


def of(data: bytes) -> str:
    """32 hexadecimal digits."""
    return blake2b(data, digest_size=16).hexdigest()


def of_build(*modules: Any) -> str:
    """Of the package's version and these modules as they are here: what one build has read and written,
    another may not."""
    found = [os.stat(module.__file__) for module in modules]
    return " ".join([VERSION, *(f"{one.st_mtime_ns} {one.st_size}" for one in found)])
