"""Runs the modules of stories, side by side where the machine has the cores, and tells what became of them.

Each module has hosts of its own, with names that no other has, and a host keeps one core busy.
"""

import glob
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import List

from lab import image

TOLD = os.path.join(image.LAB, "told")  # a line a story, by the modules that have ended
MEMORY = 4 << 30  # of a module: two hosts
NO_TESTS = 5  # pytest's exit status


def run(choice: List[str]) -> int:
    """All modules with these options of pytest; an exit status."""
    # the longest first, or the last one would run alone for long
    modules = sorted(glob.glob(f"{image.HERE}/test_*.py"), key=os.path.getsize, reverse=True)
    open(TOLD, "w").close()
    began = time.monotonic()
    with ThreadPoolExecutor(_at_once()) as pool:
        statuses = set(pool.map(lambda path: _module(path, choice), modules)) - {NO_TESTS}
    print(f"\n{' all stories ':=^100}")
    with open(TOLD) as file:
        print(file.read(), end="")
    print(f"in all {time.monotonic() - began:5.0f} s", flush=True)
    return 0 if statuses == {0} else 1


def _at_once() -> int:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(os.cpu_count() or 1, memory // MEMORY))


def _module(path: str, choice: List[str]) -> int:
    """One module, in a process of its own; its lines as they come, each with the module's name."""
    name = os.path.basename(path)[len("test_") : -len(".py")]
    options = ["--capture=no", "--no-header", "--quiet", "-p", "no:cacheprovider", *choice]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pytest", *options, path],
        cwd=image.REPOSITORY,
        env=dict(os.environ, TOLD=TOLD),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip():
            print(f"{name:10} {line.rstrip()}", flush=True)
    return process.wait()
