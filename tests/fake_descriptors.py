"""What pyfakefs leaves out: it hands it to the real os, with the number of a descriptor of its own. So the
fchmod of a test would change a file that this process has open under the same number, /dev/null for one.
"""

from typing import Any

try:
    from pyfakefs.fake_os import FakeOsModule
except ImportError:  # before pyfakefs 5
    from pyfakefs.fake_filesystem import FakeOsModule


def _file(module: Any, descriptor: int) -> Any:
    return module.filesystem.get_open_file(descriptor).get_object()


def fchmod(self: Any, fd: int, mode: int) -> None:
    file = _file(self, fd)
    file.st_mode = file.st_mode & ~0o7777 | mode


def fchown(self: Any, fd: int, uid: int, gid: int) -> None:
    file = _file(self, fd)
    file.st_uid, file.st_gid = uid, gid


def pread(self: Any, fd: int, length: int, offset: int) -> bytes:
    """Moves the descriptor, which the real one does not."""
    self.filesystem.get_open_file(fd).seek(offset)
    return bytes(self.read(fd, length))


def pwrite(self: Any, fd: int, data: bytes, offset: int) -> int:
    self.filesystem.get_open_file(fd).seek(offset)
    return int(self.write(fd, data))


def imitate() -> None:
    """All that it does not imitate itself."""
    for function in (fchmod, fchown, pread, pwrite):
        if function.__name__ not in vars(FakeOsModule):
            setattr(FakeOsModule, function.__name__, function)
