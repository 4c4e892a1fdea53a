"""The file by which a plugin tells xcp-rrdd, xapi's statistics daemon, what it knows.

rrdd maps the file once, when it is told of it or sees it appear, and never looks at its size again (xen-api:
ocaml/xcp-rrdd/bin/rrdd/xcp_rrdd.ml, Discover; lib/transport/file/rrd_file_reader.ml). So a file never shrinks
and never grows: its pages are there from the start, since rrdd would die of a page that /dev/shm has no room
for, and a larger one takes its place under the same name.
"""

import errno
import os
from typing import Optional

from .host import Host

FOLDER = "/dev/shm/metrics"  # rrdd_server.ml, base_path; made at boot (scripts/xcp-rrdd-tmp)
SMALLEST = 1 << 16


class MetricsFile:
    """The methods raise OSError; who makes it removes it in the end."""

    def __init__(self, host: Host, uid: str) -> None:
        self._host = host
        self.path = f"{FOLDER}/{uid}"
        self._file: Optional[int] = None
        self._size = 0

    def write(self, data: bytes) -> bool:
        """What the next reading gets. rrdd may read at any moment: checksums tell it what is half-written.
        Answers whether it is in another file than before."""
        file = self._file
        if file is None or len(data) > self._size or not self._is_in_place(file):
            self._renew(data)
            return True
        if os.pwrite(file, data, 0) != len(data):
            raise OSError(errno.EIO, "written in part")
        return False

    def remove(self) -> None:
        """rrdd sees the file go, and reads it no more. What a process left that was killed goes too."""
        self._close()
        for path in (self.path, self._temporary):
            self._host.try_to_remove(path)

    @property
    def _temporary(self) -> str:
        return f"{self.path}.tmp"  # rrdd passes over what ends so

    def _is_in_place(self, file: int) -> bool:
        """Whether rrdd finds our file there, with all its pages."""
        try:
            there = os.stat(self._host.path(self.path))
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(file)) and there.st_size == self._size

    def _renew(self, data: bytes) -> None:
        size = SMALLEST
        while size < 2 * len(data):
            size *= 2
        self.remove()  # a rename onto it is no removal, and rrdd would go on with the old file
        path = self._host.path(self._temporary)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(descriptor, 0, size)
            os.pwrite(descriptor, data, 0)
            os.rename(path, self._host.path(self.path))
        except BaseException:
            os.close(descriptor)
            self._host.try_to_remove(self._temporary)
            raise
        self._file, self._size = descriptor, size

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None
