"""sriovctl as a program of its own, for what a kill or a signal does to it."""

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from managed_pool import Pool

PROGRAM = os.path.abspath(f"{__file__}/../../../scripts/sriovctl")


def begun(pool: "Pool", *words: str) -> "subprocess.Popen[str]":
    """On a workstation of the pool; what it says is on `stderr`, one line after the other."""
    return subprocess.Popen(
        [sys.executable, PROGRAM, *words],
        env={**os.environ, "SRIOVCTL_HOST": pool.box.url, "SRIOVCTL_PASSWORD": pool.box.xapi.password},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
