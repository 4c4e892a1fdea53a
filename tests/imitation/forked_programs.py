"""Programs that are started by fork_server.py, and end with all that they have started.

Those for the Python that runs us go on in a fork of it: half of their time is Python's start. Where that
start itself matters (how long a call takes), `programs.HERE` is to be used.
"""

import array
import atexit
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, Any, Mapping, Optional, Sequence, Tuple

from programs import PATH, Programs

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fork_server.py")
ARGUMENT = 128 << 10  # bytes that the kernel takes at most


class Program:
    """A running one, known by the socket to its keeper."""

    def __init__(self, answer: socket.socket) -> None:
        """OSError where it could not be started."""
        self._answer = answer
        self.left = False  # whether it has ended and left children behind
        refused = int(self._hear())
        if refused:
            answer.close()
            raise OSError(refused, os.strerror(refused))

    def kill(self) -> None:
        self._tell(b"kill")

    def end(self) -> None:
        """kill -9 for it and for all that comes from it."""
        self._tell(b"end")

    def _tell(self, wish: bytes) -> None:
        """Returns when it is done, or nothing is left: `told` is closed then, wherever it is."""
        done, told = socket.socketpair()
        with done:
            with told, suppress(OSError):
                self._answer.sendmsg([wish], [_passed(told.fileno())])
            done.recv(1)

    def _hear(self) -> bytes:
        try:
            return self._answer.recv(100)
        except ConnectionResetError:  # it has gone with a wish unread; what it said before is still there
            return self._answer.recv(100)

    def wait(self) -> int:
        status, left = self._hear().split()
        self.left = left == b"1"
        if not self.left:
            self._answer.close()
        return int(status)

    def wait_for_the_rest(self) -> None:
        """Where it has left children: until they are gone, and theirs."""
        with self._answer:
            self._hear()


def _passed(*descriptors: int) -> Tuple[int, int, Any]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors)


class ForkedPrograms(Programs):
    """The server is started with the first program, and ends with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: Optional[socket.socket] = None

    def _start(
        self, command: Sequence[bytes], environment: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]
    ) -> Any:
        if max(map(len, command)) >= ARGUMENT:
            return super()._start(command, environment, stdout, stderr)  # so that the kernel says no
        python = command[0] == os.fsencode(sys.executable) and os.path.isfile(command[1])
        # as bytes: the server reads them its way
        words = [word.decode("latin-1") for word in (command[1:] if python else command)]
        request = json.dumps({"argv": words, "environment": environment, "python": python}).encode()
        answer, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with told:
            self._server().sendmsg([request], [_passed(stdout.fileno(), stderr.fileno(), told.fileno())])
        return Program(answer)

    def _server(self) -> socket.socket:
        with self._lock:
            if self._control is None:
                self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs:
                    process = subprocess.Popen(
                        [sys.executable, SERVER, str(theirs.fileno())],
                        stdin=subprocess.DEVNULL,
                        env={"PATH": PATH},
                        pass_fds=[theirs.fileno()],
                    )
                atexit.register(process.wait)
                atexit.register(self._control.close)
            return self._control


FORKED = ForkedPrograms()
