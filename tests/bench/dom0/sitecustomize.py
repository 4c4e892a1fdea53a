"""Gives a plugin the machine in the folder of the variable BENCH_MACHINE: its files there, and its commands
real processes. (The sitecustomize of the pool in a box gives one that answers commands in the process.)

Nothing is imported here that a Python does not have at its start: this is measured too.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _install(folder: str) -> None:
    def change(module: "Any") -> None:
        module.this_machine = lambda: module.Host(folder)

    # The pool's module of the same name, next on the path, does the rest, and it has the tool for this.
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    del sys.modules[__name__]
    of_pool: Any = __import__(__name__)
    sys.meta_path.insert(0, of_pool.Changes({"sriovlib.machine.host": change, "sriovlib.host": change}))


_install(os.environ.pop("BENCH_MACHINE"))
