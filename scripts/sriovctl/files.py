"""Files that are written whole or not at all: beside, and renamed."""

import errno
import os
from contextlib import suppress
from typing import Optional

from sriovlib.safetext import safe

from .errors import Failed

_REMEDIES = {errno.ENOENT: ", or make its folder", errno.ENOSPC: ", or make room for it"}


def write(path: str, text: str, mode: int = 0o666, lasting: bool = True, kept: Optional[int] = None) -> None:
    """A kill or a full disk leaves the old file. `mode` is what a new one may have, less the umask; `kept`:
    the mode that it gets whatever the umask is. `lasting`: it is on the disk when this returns. Raises
    OSError."""
    beside = f"{path}.{os.getpid()}.new"
    with suppress(FileNotFoundError):
        os.unlink(beside)  # of a program that was killed, and had our number
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            if kept is not None:
                os.fchmod(file.fileno(), kept)
            file.write(text.encode())
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def write_output(path: str, text: str) -> None:
    """The file that an option names, with the mode that it has; a link stays one, and a device: `-o` as root
    is not to put a file in the place of /dev/null. Raises Failed."""
    path = os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise Failed(
            "NOT_WRITTEN",
            f"{safe(path)} is not a file, and stays what it is.",
            "Name a file, or a path where nothing is yet.",
        )
    try:
        write(path, text, kept=_mode(path))
    except OSError as error:
        raise Failed(
            "NOT_WRITTEN",
            f"{safe(path)} cannot be written: {error.strerror}.",
            f"Name another file{_REMEDIES.get(error.errno or 0, '')}.",
        ) from error


def _mode(path: str) -> Optional[int]:
    """Of a file that is there: who may read it was decided, and a later umask does not decide it anew."""
    try:
        return os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        return None
