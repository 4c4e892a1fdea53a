"""Questions to xenstored over its socket: all that are asked at once go in one connection, and no process.

Its messages are struct xsd_sockmsg and a body (Xen: xen/include/public/io/xs_wire.h, docs/misc/xenstore.txt).
"""

import errno
import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket
from struct import Struct
from typing import List, Optional, Sequence, Tuple

SOCKET = "/var/run/xenstored/socket"
DIRECTORY, READ = 1, 2
ERROR = 16
HEADER = Struct("=IIII")  # type, request, transaction, length

_SECONDS = 10  # it answers at once, or is gone
_AT_ONCE = 16  # questions that wait for their answers


def ask(path: str, questions: Sequence[Tuple[int, str]]) -> List[Optional[bytes]]:
    """The answer to each `(DIRECTORY or READ, key)`; None where there is no such key. Raises OSError."""
    connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        connection.settimeout(_SECONDS)
        connection.connect(path)
        found: List[Optional[bytes]] = []
        for at in range(0, len(questions), _AT_ONCE):
            together = questions[at : at + _AT_ONCE]
            connection.sendall(b"".join(message(at + n, *one) for n, one in enumerate(together)))
            found += [_answer(connection, at + n, kind) for n, (kind, _key) in enumerate(together)]
        return found
    finally:
        connection.close()


def message(number: int, kind: int, *texts: str) -> bytes:
    body = b"".join(text.encode() + b"\0" for text in texts)
    return HEADER.pack(kind, number, 0, len(body)) + body


def _answer(connection: socket, number: int, kind: int) -> Optional[bytes]:
    told, request, _transaction, length = HEADER.unpack(_exactly(connection, HEADER.size))
    body = _exactly(connection, length)
    if told == ERROR:
        name = body.rstrip(b"\0").decode("ascii", "replace")
        if name == "ENOENT":
            return None
        code = getattr(errno, name, errno.EIO)
        raise OSError(code, f"xenstored: {os.strerror(code)}")
    if (told, request) != (kind, number):
        raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
    return body


def _exactly(connection: socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise OSError(errno.EPIPE, "xenstored has closed the connection")
        found += part
    return found
