"""A file of the boot loader that is being changed: its copies, and how it gets back what it held.

Beside the file stands `.before-sriov`, the first original, once a call has changed something; and while
xen-cmdline is at work `.sriov-undo`, the file as it was. If the call is cut off then, the next one finds the
copy and puts it back.
"""

import os
from contextlib import contextmanager
from typing import Dict, Iterator, List, NamedTuple, Tuple

from ..errors import Problem, SriovError
from ..machine.host import COMMAND_SECONDS, Host

BACKUP_SUFFIX = ".before-sriov"
UNDO_SUFFIX = ".sriov-undo"
# A call that was cut off wrote the file no later than this after its copy; a later change is somebody's.
_CALL_SECONDS = 4 * COMMAND_SECONDS
_TEMPORARY = "tmp"  # how the names of Python's mkstemp begin, which xen-cmdline writes its files with


Options = Dict[str, List[str]]  # label of a boot entry -> its options that are about the IOMMU


class NotPutBack(SriovError):
    """The change failed, and what was there could not be put back: the new text stands."""


def refused(message: str, hint: str) -> SriovError:
    return SriovError("SRIOV_BOOT_CONFIG", message, hint)


def other_file(path: str, why: str) -> Problem:
    return Problem(
        "OTHER_BOOT_CONFIG",
        f"This host may boot by another file than {path}: {why}.",
        "See which file this host boots with, and that Xen's iommu option is in it, before you reboot.",
    )


def cut_off(path: str) -> Problem:
    return Problem(
        "BOOT_CHANGE_CUT_OFF",
        f"A call that changed {path} was cut off before it had looked at the new text.",
        "Call enable_iommu or disable_iommu again before this host boots: it first puts the file back.",
    )


class File(NamedTuple):
    data: bytes
    mode: int
    owner: Tuple[int, int]


def read(host: Host, path: str) -> File:
    try:
        return _read(host, path)
    except OSError as error:
        raise refused(f"{path} cannot be read: {error.strerror}.", "Mend that, then call again.") from error


def _read(host: Host, path: str) -> File:
    return File(host.read_bytes(path), host.mode(path), host.owner(path))


def keep_first(host: Host, path: str, file: File) -> bool:
    """Keeps the first original of the file beside it; whether it was not there yet."""
    if host.exists(path + BACKUP_SUFFIX):
        return False
    host.replace_file(path + BACKUP_SUFFIX, file.data, file.mode)
    return True


def put_back(host: Host, path: str, file: File, reason: BaseException) -> None:
    """Writes what the file held, where it holds something else now; raises NotPutBack."""
    try:
        if host.read_bytes(path) != file.data:
            host.replace_file(path, file.data)
    except OSError as error:
        raise _not_put_back(path, error, reason, path + BACKUP_SUFFIX) from reason


def _not_put_back(path: str, error: OSError, reason: BaseException, copy: str) -> NotPutBack:
    return NotPutBack(
        "SRIOV_BOOT_CONFIG",
        f"{reason} Then {path} could not be put back: {error.strerror}. The new text stands.",
        f"Before this host boots again, put {copy} in its place, or make room and call again.",
    )


@contextmanager
def changed_by_tool(host: Host, path: str, before: File) -> Iterator[None]:
    """What is done within changes the file, or raises and has changed nothing: the file is put back, by a
    rename, which needs no room on the disk. Its owner and mode are what they were in any case."""
    undo = path + UNDO_SUFFIX
    folder = os.path.dirname(path)
    there = host.names(folder)
    try:
        host.replace_file(undo, before.data, before.mode)
        host.set_owner(undo, before.owner)
    except OSError as error:
        host.try_to_remove(undo)
        raise _unwritable(path, error) from error
    try:
        yield
        host.set_owner(path, before.owner)
        host.set_mode(path, before.mode)  # the tool leaves 0600
    except BaseException as error:
        _take_back(host, path, before, error)
        for name in host.names(folder):
            if name not in there and name.startswith(_TEMPORARY):  # the tool's, where it ran out of room
                host.try_to_remove(f"{folder}/{name}")
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise
    _finish(host, path)


def _unwritable(path: str, error: OSError) -> SriovError:
    return refused(
        f"{path} cannot be changed: {error.strerror}.",
        f"Nothing was changed. Make room in {os.path.dirname(path)}, or make it writable, then call again.",
    )


def _take_back(host: Host, path: str, before: File, reason: BaseException) -> None:
    undo = path + UNDO_SUFFIX
    try:
        if host.exists(path) and _read(host, path) == before:
            host.try_to_remove(undo)
        else:
            host.rename(undo, path)
    except OSError as error:
        raise _not_put_back(path, error, reason, undo) from reason


def _finish(host: Host, path: str) -> None:
    """The copy becomes the first original, or goes. The change is made: what fails here does no harm."""
    undo = path + UNDO_SUFFIX
    try:
        if host.exists(path + BACKUP_SUFFIX):
            host.remove_file(undo)
        else:
            host.rename(undo, path + BACKUP_SUFFIX)
    except OSError as error:
        host.log(f"{undo} could not be taken away: {error.strerror}")


def recover(host: Host, path: str) -> None:
    """After a call that was cut off while the tool was at work: puts back what the file held. What somebody
    has written long after that call stands. Raises OSError."""
    undo = path + UNDO_SUFFIX
    if not host.exists(undo):
        return
    is_later = host.exists(path) and host.modified(path) > host.modified(undo) + _CALL_SECONDS
    if is_later:
        _finish(host, path)
    else:
        host.rename(undo, path)
        host.log(f"{path} is as it was: a call that changed it was cut off")
