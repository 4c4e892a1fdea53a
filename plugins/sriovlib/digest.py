"""Digests, by which what was kept is known again; without OpenSSL, which takes longer to load than most calls
take."""

import os
from _blake2 import blake2b
from typing import Any, Iterable, Iterator

from . import VERSION

_LIBRARY = os.path.dirname(os.path.abspath(__file__))


def of(data: bytes) -> str:
    """32 hexadecimal digits."""
    return blake2b(data, digest_size=16).hexdigest()


def is_digest(value: Any) -> bool:
    """Whether `of` may have returned it."""
    return isinstance(value, str) and len(value) == 32 and not value.strip("0123456789abcdef")


def sha256(data: bytes) -> bytes:
    """32 bytes. Python's own form of it is `_sha2` from 3.12 on, before that `_sha256`; builds may leave it
    out (configure: --with-builtin-hashlib-hashes, as Fedora's do)."""
    for name in ("_sha2", "_sha256"):
        try:
            return bytes(__import__(name).sha256(data).digest())
        except ImportError:
            pass
    import hashlib

    return hashlib.sha256(data).digest()


def of_build(*modules: str) -> str:
    """Of the package's version and these modules as they are here, named by their paths in the library
    (`pool/ledger.py`): what one build has read and written, another may not."""
    return _of_files(f"{_LIBRARY}/{path}" for path in modules)


def of_library() -> str:
    """As of_build, of all modules: what one build says of the same, another may say otherwise."""
    return of(_of_files(sorted(_modules(_LIBRARY))).encode())


def _of_files(paths: Iterable[str]) -> str:
    found = [os.stat(path) for path in paths]
    return " ".join([VERSION, *(f"{one.st_mtime_ns} {one.st_size}" for one in found)])


def _modules(folder: str) -> Iterator[str]:
    for name in os.listdir(folder):
        path = f"{folder}/{name}"
        if name.endswith(".py"):
            yield path
        elif "." not in name and name != "__pycache__":
            yield from _modules(path)
