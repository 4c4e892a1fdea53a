"""Trees of files as the recordings hold them: reading a recording, moving part of one to another
place, writing one to disk. What the files mean is no concern of this module."""

import errno
import json
import os
import shutil
from functools import lru_cache
from typing import Any, Dict, Iterable, NamedTuple, Optional, Tuple

from machine import FAILS

RECORDINGS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recordings")

# path -> text, or as recordings/README.md says: link, folder, binary, unreadable
Tree = Dict[str, Any]


class Recording(NamedTuple):
    tree: Tree
    meta: Dict[str, Any]


@lru_cache(maxsize=None)
def recording(name: str) -> Recording:
    with open(os.path.join(RECORDINGS, name + ".json"), encoding="utf-8") as file:
        loaded = json.load(file)
    return Recording(loaded["tree"], loaded["meta"])


def link_to(target: str, at: str) -> Dict[str, str]:
    """The entry of a symbolic link at `at` that points to `target`, as sysfs writes links: it always
    names its target, up to an ancestor too (fs/kernfs/symlink.c)."""
    folder, name = os.path.split(target)
    return {"l": os.path.relpath(folder, os.path.dirname(at)) + "/" + name}


def moved(tree: Tree, moves: Iterable[Tuple[str, str]]) -> Tree:
    """The part of the tree below the first of the old places, at the new ones; links between
    those places move along, and all others still reach what they did."""
    moves = tuple(moves)

    def place(path: str) -> str:
        for old, new in moves:
            if path == old or path.startswith(old + "/"):
                return new + path[len(old) :]
        return path

    top = moves[0][0]
    result = {}
    for path, entry in tree.items():
        if path == top or path.startswith(top + "/"):
            if isinstance(entry, dict) and "l" in entry:
                target = os.path.normpath(os.path.join(os.path.dirname(path), entry["l"]))
                entry = link_to(place(target), place(path))
            result[place(path)] = entry
    return result


def without(tree: Tree, top: str, names: Iterable[str]) -> Tree:
    """The tree less those names in the folder `top`, and all that is below them."""
    gone = tuple(f"{top}/{name}" for name in names)
    below = tuple(name + "/" for name in gone)
    return {path: entry for path, entry in tree.items() if path not in gone and not path.startswith(below)}


def plant(root: str, tree: Tree) -> None:
    """Writes the tree below `root`, over what is there."""
    for path in sorted(tree):
        write_entry(root + path, tree[path])


def write_entry(real: str, entry: Any) -> None:
    if isinstance(entry, str):
        _write(real, entry.encode("utf-8", "surrogateescape"))
    elif not entry:
        os.makedirs(real, exist_ok=True)
    elif "l" in entry:
        if os.path.islink(real):
            os.unlink(real)
        else:
            os.makedirs(os.path.dirname(real), exist_ok=True)
        os.symlink(entry["l"], real)
    elif "hex" in entry:
        _write(real, bytes.fromhex(entry["hex"]).ljust(entry["len"], b"\0"))
    elif "w" in entry:
        # The kernel lets root open a write-only attribute for reading no more than anyone else;
        # a window into a card's memory (it has a size) is not for read(2).
        reason = errno.EIO if "size" in entry else errno.EACCES
        _write(real, FAILS + errno.errorcode[reason].encode(), int(entry["w"], 8) | 0o400)
    else:
        _write(real, FAILS + entry["err"].encode(), 0o444)


def read(real: str) -> str:
    """The text of a file, as `open` reads it with half of its system calls: a test reads thousands."""
    descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def unshared(real: str) -> str:
    """The file, made one of its own where it shares its contents with that of another machine
    (machine_copy.py): at once, for somebody may read it meanwhile."""
    if os.lstat(real).st_nlink > 1:
        own = real + ".own"
        shutil.copy(real, own)
        os.rename(own, real)
    return real


def _write(real: str, data: bytes, mode: int = 0o644) -> None:
    descriptor = _new(real, mode)
    if descriptor is None:
        descriptor = os.open(unshared(real), os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _new(real: str, mode: int) -> Optional[int]:
    """A descriptor of the file, its folder made where there is none; None where there is the file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(real, flags, mode)
    except FileExistsError:
        return None
    except FileNotFoundError:
        os.makedirs(os.path.dirname(real), exist_ok=True)
        return os.open(real, flags, mode)
