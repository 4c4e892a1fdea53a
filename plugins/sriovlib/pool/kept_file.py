"""A file of /run/sriov with what was told before, or was made of it: it saves the next call time, no more.

It is for root alone and is written whole. The first line is a digest of its name, of the build that wrote it
and of the second line, which has what has to be known before the rest is read, and a digest of the rest. A
file that this build did not write so under this name is none, whatever it looks like. One that cannot be
written costs the next call its time.
"""

import json
from typing import Any, NamedTuple, Optional

from .. import digest
from ..errors import SriovError
from ..machine.host import Host

_MODE = 0o600


class Text(NamedTuple):
    content: bytes
    identity: str  # its digest, which no other has

    @staticmethod
    def of(content: bytes) -> "Text":
        return Text(content, digest.of(content))


class Kept(NamedTuple):
    head: Any  # JSON
    text: Text


def load(host: Host, path: str, build: str) -> Optional[Kept]:
    try:
        if host.mode(path) != _MODE:
            host.remove_file(path)  # none of ours: a new one gets that mode
            return None
        written, _, rest = host.read_bytes(path).partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        host.log(f"{path} cannot be read: {error.strerror}")
        return None
    line, _, content = rest.partition(b"\n")
    if written == _mark(path, build, line):
        identity, head = json.loads(line.decode())
        text = Text.of(content)
        if identity == text.identity:
            return Kept(head, text)
    host.log(f"{path} is not what this version of xapi-sriov wrote there")
    return None


def store(host: Host, path: str, build: str, kept: Kept, lock: str, doing: str) -> None:
    """Where another process does the same just now, its file is as good. `doing`: for who meets the lock."""
    line = json.dumps([kept.text.identity, kept.head], separators=(",", ":")).encode()
    lines = (_mark(path, build, line), line, kept.text.content)
    try:
        with host.lock(lock, doing, 0):
            host.replace_file(path, b"\n".join(lines), _MODE)
    except SriovError as error:
        if error.code != "SRIOV_BUSY":
            host.log(f"{path} was not written: {error.message}")
    except OSError as error:
        host.log(f"{path} was not written: {error.strerror}")


def _mark(path: str, build: str, line: bytes) -> bytes:
    return digest.of(f"{path} {build}\n".encode() + line).encode()
