"""Watches what xapi would find in its plugin and hook folders, at every moment of a transaction.

Two ways, since each sees what the other may miss: the kernel's own list of what happened in the folders
that were there, and a thread that looks at all entries over and over, as often as it can.
"""

import os
import threading
from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional, Set, Tuple

from inotify_simple import INotify, flags
from scratch import XAPI_D, Dom0

_EVENTS = (
    flags.ATTRIB
    | flags.CREATE
    | flags.DELETE
    | flags.MODIFY
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.DELETE_SELF
    | flags.MOVE_SELF
)

Library = Dict[str, bytes]  # module -> text


class Watched:
    """What was seen: events as `folder/entry WHAT`, and what xapi would have stumbled over."""

    def __init__(self) -> None:
        self.events: List[str] = []
        self.stumbled: Set[str] = set()
        self.looked = 0


@contextmanager
def watching(dom0: Dom0, libraries: List[Library]) -> Iterator[Watched]:
    """While the block runs, every entry has to be a whole executable, and one that leads to the plugin has
    to find beside it one of `libraries`, whole."""
    watched = Watched()
    inotify = INotify()
    folders = {}
    for name in os.listdir(dom0.path(XAPI_D)) if os.path.isdir(dom0.path(XAPI_D)) else []:
        folders[inotify.add_watch(dom0.path(f"{XAPI_D}/{name}"), _EVENTS)] = name
    ended = threading.Event()

    def look() -> None:
        while True:
            last = ended.is_set()
            watched.stumbled.update(_look(dom0, libraries))
            watched.looked += 1
            if last:
                return

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield watched
    finally:
        ended.set()
        looking.join()
        for event in inotify.read(timeout=0):
            if not event.name:
                continue  # of the folder itself, which rpm gives its mode anew
            what = "+".join(flag.name for flag in flags.from_mask(event.mask) if flag.name)
            watched.events.append(f"{folders[event.wd]}/{event.name} {what}")
        inotify.close()


def library(folder: str) -> Library:
    """The modules of a library folder, by path in it; one that goes meanwhile is none."""
    found = {}
    for package, _folders, names in os.walk(folder):
        for path in (os.path.join(package, name) for name in names if name.endswith(".py")):
            try:
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = file.read()
            except FileNotFoundError:
                pass
    return found


def _look(dom0: Dom0, libraries: List[Library]) -> Iterator[str]:
    """What is wrong with the entries of all folders, at this moment."""
    top = dom0.path(XAPI_D)
    for folder in os.listdir(top) if os.path.isdir(top) else []:
        try:
            entries = os.listdir(os.path.join(top, folder))
        except FileNotFoundError:  # the folder went meanwhile, as an empty one may
            continue
        for entry in entries:
            path = f"{XAPI_D}/{folder}/{entry}"
            before = None
            wrong = None
            # what was replaced while we looked at it is looked at again; what was removed does not count
            while _identity(dom0, path) not in (None, before):
                before = _identity(dom0, path)
                wrong = _wrong(dom0, path, libraries)
            if wrong is not None and _identity(dom0, path) is not None:
                yield f"{folder}/{entry}: {wrong}"


def _identity(dom0: Dom0, path: str) -> Optional[Tuple[int, int]]:
    try:
        entry = os.lstat(dom0.path(path))
        return entry.st_ino, entry.st_ctime_ns
    except FileNotFoundError:
        return None


def _wrong(dom0: Dom0, path: str, libraries: List[Library]) -> Optional[str]:
    try:
        link = os.readlink(dom0.path(path)) if os.path.islink(dom0.path(path)) else None
        real = dom0.path(path) if link is None else dom0.resolve(path)
        if not os.path.isfile(real):
            return "no file"
        if not os.access(real, os.X_OK):
            return "not executable"
        with open(real, "rb") as file:
            if file.read(2) != b"#!":
                return "not whole"
        if link is not None and link.endswith("/plugins/sriov"):
            found = library(os.path.join(os.path.dirname(real), "sriovlib")).items()
            if not any(found >= whole.items() for whole in libraries):
                return "its library is not whole"
    except OSError as error:
        return str(error)
    return None
