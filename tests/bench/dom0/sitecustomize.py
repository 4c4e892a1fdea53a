"""Gives a plugin the machine in the folder of the variable BENCH_MACHINE: its files there, and its commands
real processes. (The sitecustomize of the pool in a box gives one that answers commands in the process.) What
its kernel and xenstored answer is read from files, which the first program of a kind writes
(bench/answers.py takes them away).

Nothing is imported here that a Python does not have at its start: this is measured too.
"""

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List


def _install(folder: str) -> None:
    def change(module: "Any") -> None:
        class Measured(module.Host):  # type: ignore[misc] # of a module that comes later
            asked = 0

            def _kept(self, question: "Any", ask: "Callable[[Any], Any]") -> "Any":
                Measured.asked += 1
                mark = int.from_bytes(marshal.dumps(question, 2), "little") % 1_000_000_007
                path = f"{folder}/commands/.kept-{Measured.asked}-{mark}"
                try:
                    return marshal.loads(self.read_bytes(path[len(folder) :]))
                except FileNotFoundError:
                    of_pool._is(folder)(module)
                    answer = ask(module.this_machine())
                    own = f"{path}.{os.getpid()}"  # others ask the same at the same time
                    with open(own, "wb") as file:
                        file.write(marshal.dumps(answer, 2))
                    os.rename(own, path)
                    return answer

            def netlink(self, request: bytes) -> "Any":
                return self._kept(request, lambda machine: machine.netlink(request))

            def xenstore(self, questions: "List[Any]") -> "Any":
                return self._kept(questions, lambda machine: machine.xenstore(questions)) if questions else []

            def kernel_log(self) -> "Any":
                records = self._kept("kernel log", lambda machine: machine.kernel_log())
                for _ in records:  # each is a call of the kernel
                    os.stat(folder)
                return records

        module.this_machine = lambda: Measured(folder)

    # The pool's module of the same name, next on the path, does the rest, and it has the tool for this.
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    del sys.modules[__name__]
    of_pool: Any = __import__(__name__)
    sys.meta_path.insert(0, of_pool.Changes({"sriovlib.machine.host": change, "sriovlib.host": change}))


_install(os.environ.pop("BENCH_MACHINE"))
