"""The Python interpreters of this machine, one of each minor version."""

import glob
import os
import subprocess
import sys
from typing import Dict, List, Tuple

Version = Tuple[int, int]


def candidates() -> List[str]:
    """Paths that may be interpreters: the one that runs us, those on PATH, and those of pyenv."""
    found = [sys.executable]
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        found += sorted(glob.glob(os.path.join(folder, "python3")))
        found += sorted(glob.glob(os.path.join(folder, "python3.[0-9]*")))
    found += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python3")))
    return [path for path in found if not path.endswith("-config")]


def version_of(interpreter: str) -> Version:
    """Asks the interpreter itself: a name on PATH may be a shim whose Python is not there."""
    command = [interpreter, "-c", "import sys; print('%d %d' % sys.version_info[:2])"]
    try:
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
        major, minor = answer.stdout.split()
        return int(major), int(minor)
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0, 0


def interpreters() -> Dict[Version, str]:
    found: Dict[Version, str] = {}
    for path in candidates():
        version = version_of(path)
        if version >= (3, 6):
            found.setdefault(version, path)
    return found
