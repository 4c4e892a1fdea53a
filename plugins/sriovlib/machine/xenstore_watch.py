"""Which domains get or lose PCI devices, as xenstore tells it, without a process: one watch on all back ends.

An event of xenstored's (see there) names the key that was written or removed.
"""

import errno
import os
import re
import select
import socket
from typing import Optional, Set

from .host import Host
from .xenstore import BACKENDS
from .xenstored import ERROR, HEADER, SOCKET, message

SECONDS = 10
LARGEST = 4096  # of a message (XENSTORE_PAYLOAD_MAX)

_WATCH, _WATCH_EVENT = 4, 15
_DOMID = re.compile(re.escape(BACKENDS) + r"/(\d+)(?:/|$)")
ALL = -1  # in the place of a domain's number: any may have changed


class Watch:
    """Raises OSError where xenstored does not answer or has gone: what happened since is unknown then."""

    def __init__(self, host: Host) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._read = b""
        try:
            self._socket.settimeout(SECONDS)
            self._socket.connect(host.path(SOCKET))
            self._socket.sendall(message(1, _WATCH, BACKENDS, "pci"))
            while self._message() is None:  # xenstored tells of a new watch by an event of its own
                self._receive()
            self._socket.setblocking(False)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def wait(self, seconds: float) -> None:
        """Until something has happened, or for that long."""
        select.select([self._socket], [], [], max(0.0, seconds))

    def changed(self) -> Set[int]:
        """The numbers of the domains that may have got or lost a device since the last call; ALL among them:
        any."""
        found: Set[int] = set()
        while True:
            try:
                self._receive()
            except BlockingIOError:
                break
        while True:
            body = self._message()
            if body is None:
                return found
            match = _DOMID.match(body.decode("utf-8", "replace"))
            found.add(int(match.group(1)) if match else ALL)

    def _receive(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise OSError(errno.EPIPE, "xenstored has closed the connection")
        self._read += data

    def _message(self) -> Optional[bytes]:
        """The key that the next event names; None where there is none yet."""
        while len(self._read) >= HEADER.size:
            kind, _request, _transaction, length = HEADER.unpack_from(self._read)
            if length > LARGEST:
                raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
            end = HEADER.size + length
            if len(self._read) < end:
                break
            body, self._read = self._read[HEADER.size : end], self._read[end:]
            if kind == ERROR:
                raise OSError(errno.EIO, f"xenstored: {body.rstrip(bytes(1)).decode('utf-8', 'replace')}")
            if kind == _WATCH_EVENT:
                return body.partition(b"\0")[0]
        return None
