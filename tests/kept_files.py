"""What becomes of files in which something is kept, in stories of them. `paths`: those that are there."""

import os
from typing import Dict, Sequence


def contents(paths: Sequence[str]) -> Dict[str, bytes]:
    """By path."""
    found = {}
    for path in paths:
        with open(path, "rb") as file:
            found[path] = file.read()
    return found


def tear(paths: Sequence[str], eighths: int) -> None:
    """So much is left of each."""
    for path in paths:
        os.truncate(path, os.path.getsize(path) * eighths // 8)


def exchange(paths: Sequence[str]) -> None:
    """Each has the name of another."""
    for path, other in zip(paths, paths[1:]):
        os.rename(path, f"{path}-kept")
        os.rename(other, path)
        os.rename(f"{path}-kept", other)
