"""Gives a plugin the machine in the folder of the variable BENCH_MACHINE: its files there, and its commands
real processes. (The sitecustomize of the pool in a box gives one that answers commands in the process.) What
its kernel answers over netlink is read from files, which the first program of a kind writes (bench/answers.py
takes them away).

Nothing is imported here that a Python does not have at its start: this is measured too.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List


def _split(data: bytes) -> "List[bytes]":
    """Messages, each of which begins with its size."""
    found = []
    while data:
        size = int.from_bytes(data[:4], sys.byteorder)
        found.append(data[:size])
        data = data[size:]
    return found


def _install(folder: str) -> None:
    def change(module: "Any") -> None:
        class Measured(module.Host):  # type: ignore[misc]
            asked = 0

            def netlink(self, request: bytes) -> "List[bytes]":
                Measured.asked += 1
                path = f"{folder}/commands/.netlink-{Measured.asked}-{request.hex()}"
                try:
                    return _split(self.read_bytes(path[len(folder) :]))
                except FileNotFoundError:
                    of_pool._is(folder)(module)
                    messages: List[bytes] = module.this_machine().netlink(request)
                    with open(path, "wb") as file:
                        file.write(b"".join(messages))
                    return messages

        module.this_machine = lambda: Measured(folder)

    # The pool's module of the same name, next on the path, does the rest, and it has the tool for this.
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    del sys.modules[__name__]
    of_pool: Any = __import__(__name__)
    sys.meta_path.insert(0, of_pool.Changes({"sriovlib.machine.host": change, "sriovlib.host": change}))


_install(os.environ.pop("BENCH_MACHINE"))
