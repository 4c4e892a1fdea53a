"""How programs of a dom0 are started, and what they leave. Another machine's dom0 is further Programs.

As xapi does it (plugin.json, hooks.json): the working folder is /, both outputs are files, and a
child that a program leaves behind with them open is not waited for.
"""

import os
import signal
import subprocess
import uuid
from contextlib import contextmanager
from typing import IO, Any, Callable, ContextManager, Iterator, List, Mapping, NamedTuple, Sequence

import hurry

PATH = "/sbin:/usr/sbin:/bin:/usr/bin"

AtWork = Callable[[Any], ContextManager[None]]  # told of what runs: a Process, or what is like one


@contextmanager
def unwatched(_process: Any) -> Iterator[None]:
    """For a program that nobody ends."""
    yield


class Ended(NamedTuple):
    status: int  # negative: the signal
    stdout: bytes
    stderr: bytes


class Process:
    """A program that runs, the first of a group of processes. What it leaves behind is nobody's concern."""

    left = False

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        """kill -9 for its whole group."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> int:
        return self._process.wait()


class Programs:
    """Those of the machine that we run on."""

    def names(self, folder: str) -> List[str]:
        """What is in the folder; nothing where there is no such folder."""
        return os.listdir(folder) if os.path.isdir(folder) else []

    def run(self, command: Sequence[bytes], environment: Mapping[str, str], at_work: AtWork) -> Ended:
        """Runs a file, without a shell; OSError where it cannot be started."""
        with _output("out") as stdout, _output("err") as stderr:
            variables = {"PATH": PATH, **hurry.environment(), **environment}
            process: Any = self._start(command, variables, stdout, stderr)
            with at_work(process):
                status: int = process.wait()
            return Ended(status, _whole(stdout), _whole(stderr))

    def _start(
        self, command: Sequence[bytes], environment: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]
    ) -> Any:
        """A Process, or what is like one."""
        return Process(
            subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd="/",
                env=environment,
                start_new_session=True,
            )
        )


HERE = Programs()


@contextmanager
def _output(kind: str) -> Iterator[IO[bytes]]:
    path = f"/tmp/execute_command_get_{kind}{uuid.uuid4().hex}.log"
    with open(path, "w+b") as file:
        try:
            yield file
        finally:
            os.unlink(path)


def _whole(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
