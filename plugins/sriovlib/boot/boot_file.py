"""A boot loader's file while it is changed: whatever fails, it holds the old text or the new one.

`PATH.before-sriov` is the first original, kept from the first change on. `PATH.sriov-undo` is the file as it
was before the change that is under way: a call that is cut off leaves it, and the next call, or the boot
service, puts it back.
"""

import os
from contextlib import contextmanager
from typing import Dict, Iterator, List, NamedTuple, Tuple

from ..errors import Problem, SriovError
from ..machine.host import COMMAND_SECONDS, Host

# Where xen-cmdline looks (xcp/bootloader.py: loadExisting); it changes the first that is there.
GRUB_FILES = ("/boot/efi/EFI/xenserver/grub.cfg", "/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
EXTLINUX_FILES = ("/boot/extlinux.conf", "/boot/extlinux/extlinux.conf")

BACKUP_SUFFIX = ".before-sriov"
UNDO_SUFFIX = ".sriov-undo"
# A call that was cut off wrote the file no later than this after its copy; a later change is somebody's.
_CALL_SECONDS = 4 * COMMAND_SECONDS
_TEMPORARY = "tmp"  # how the names of Python's mkstemp begin, which xen-cmdline writes its files with

Options = Dict[str, List[str]]  # label of a boot entry -> its options that are about the IOMMU


class NotPutBack(SriovError):
    """The change failed, and the old file could not be put back: the new text stands."""


def refused(message: str, hint: str) -> SriovError:
    return SriovError("SRIOV_BOOT_CONFIG", message, hint)


def unreadable(path: str, error: OSError) -> SriovError:
    return refused(f"{path} cannot be read: {error.strerror}.", "Make it readable, then call again.")


def other_file(path: str, why: str) -> Problem:
    return Problem(
        "OTHER_BOOT_CONFIG",
        f"This host may boot from another file than {path}: {why}.",
        "Before you reboot, check which file this host boots from, and that Xen's iommu option is in it.",
    )


def cut_off(host: Host, path: str) -> List[Problem]:
    """The problem that a change of the file was cut off, if it was."""
    if not host.exists((host.real_path(path) or path) + UNDO_SUFFIX):
        return []
    return [
        Problem(
            "BOOT_CHANGE_CUT_OFF",
            f"A call was killed while it changed {path}, before it had checked the new text.",
            "Before this host boots, call enable_iommu or disable_iommu again: it first puts the file back.",
        )
    ]


class File(NamedTuple):
    data: bytes
    mode: int
    owner: Tuple[int, int]


def read(host: Host, path: str) -> File:
    try:
        return _read(host, path)
    except OSError as error:
        raise unreadable(path, error) from error


def _read(host: Host, path: str) -> File:
    return File(host.read_bytes(path), host.mode(path), host.owner(path))


@contextmanager
def changed(host: Host, path: str, before: File) -> Iterator[None]:
    """What is done within changes the file, or raises and has changed nothing: the file is put back by a
    rename, which needs no room on the disk. It keeps its owner and mode in any case."""
    path = host.real_path(path) or path  # a link goes on pointing to it
    undo, folder = path + UNDO_SUFFIX, os.path.dirname(path)
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
        host.set_mode(path, before.mode)  # xen-cmdline leaves 0600
    except BaseException as error:
        _take_back(host, path, before, error)
        for name in host.names(folder):
            if name not in there and name.startswith(_TEMPORARY):  # xen-cmdline's, where the disk was full
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
        raise NotPutBack(
            "SRIOV_BOOT_CONFIG",
            f"{reason} {path} could not be put back either: {error.strerror}. It has the new text.",
            f"Before this host boots again, put {undo} in its place, or make room and call again.",
        ) from reason


def _finish(host: Host, path: str) -> None:
    """The copy becomes the first original, or goes. The change is made: what fails here does no harm."""
    undo = path + UNDO_SUFFIX
    try:
        if host.exists(path + BACKUP_SUFFIX):
            host.remove_file(undo)
        else:
            host.rename(undo, path + BACKUP_SUFFIX)
    except OSError as error:
        host.log(f"{undo} could not be removed: {error.strerror}")


def recover(host: Host) -> None:
    """Puts the old files back after a call that was cut off; the caller holds the lock `boot`. What somebody
    has written long after that call stands."""
    for path in (*GRUB_FILES, *EXTLINUX_FILES):
        _recover(host, path)


def _recover(host: Host, path: str) -> None:
    path = host.real_path(path) or path
    undo = path + UNDO_SUFFIX
    try:
        if not host.exists(undo):
            return
        if host.exists(path) and host.modified(path) > host.modified(undo) + _CALL_SECONDS:
            _finish(host, path)
        else:
            host.rename(undo, path)
            host.log(f"{path} was put back: a call that changed it was cut off")
    except OSError as error:
        raise refused(
            f"{path} could not be put back after a call that was cut off: {error.strerror}.",
            f"Before this host boots again, put {undo} in its place.",
        ) from error
