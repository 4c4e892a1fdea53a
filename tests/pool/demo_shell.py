#!/usr/bin/env python3
"""`make demo-shell`: a shell beside the pool of the documents, with `sriovctl` and `xe`.

usage: tests/pool/demo_shell.py [COMMAND [ARGUMENT...]]
A command is run there instead of the shell.
"""

import os
import subprocess
import sys
from importlib import import_module
from typing import Dict, List

sys.path.append(os.path.abspath(f"{__file__}/../.."))
sys.path.extend(import_module("python_path").FOLDERS)

from box import PoolInABox
from documented_pool import documented_pool, networks, variables

ROOT = os.path.abspath(f"{__file__}/../../..")
PROGRAMS = {"sriovctl": "scripts/sriovctl", "xe": "tests/imitation/xe.py"}
WELCOME = """
A simulated pool: host1 (bare), host2 (with four VFs), and the VMs web, db, old and nic. $HOST1, $WEB,
$XENBR1 and so on are UUIDs. Type what README.md and docs/ show behind a `$`, `sriovctl status` to begin with,
and whatever you like. `exit` ends it, and nothing is left.
"""
RC = """\
[ ! -r ~/.bashrc ] || . ~/.bashrc
PATH={folder}:$PATH PS1='pool$ '
. {root}/scripts/sriovctl.bash
cd {root}/docs
"""


def shell(box: PoolInABox, command: List[str]) -> int:
    """Nothing of it touches the pools and passwords of whoever tries it."""
    folder = os.path.join(box.folder, "bin")
    os.makedirs(folder)
    for name, program in PROGRAMS.items():
        path = os.path.join(folder, name)
        with open(path, "w") as file:
            file.write(f'#!/bin/sh\nexec {sys.executable} {os.path.join(ROOT, program)} "$@"\n')
        os.chmod(path, 0o755)
    rc = os.path.join(folder, "rc")
    with open(rc, "w") as file:
        file.write(RC.format(folder=folder, root=ROOT))
    own = {f"SRIOVCTL_{name}_DIR": os.path.join(box.folder, name) for name in ("CONFIG", "DATA", "CACHE")}
    environment: Dict[str, str] = {
        **os.environ,
        **own,
        **variables(box),
        **networks(box),
        "SRIOVCTL_HOST": box.url,
        "SRIOVCTL_PASSWORD": box.xapi.password,
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    if not command:
        print(WELCOME, flush=True)
    status = subprocess.call(
        command or ["bash", "--rcfile", rc], env=environment, cwd=os.path.join(ROOT, "docs")
    )
    return status if command else 0  # that a shell's last command failed is no failure of `make`


def main(command: List[str]) -> int:
    with documented_pool() as box:
        return shell(box, command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
