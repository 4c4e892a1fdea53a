"""Programs of the Python that runs us are started by fork_server.py: half of their time is Python's start.

Where that start itself matters (how long a call takes, what a #! line says), `programs.HERE` is to be used.
"""

import array
import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import IO, Any, Mapping, Optional, Sequence

from programs import PATH, Programs

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fork_server.py")
ARGUMENT = 128 << 10  # bytes that the kernel takes at most


class Program:
    """A running one, with the part of subprocess.Popen that is needed."""

    def __init__(self, answer: socket.socket) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self._pid = int(answer.recv(100))

    def kill(self) -> None:
        with self._lock:
            if self._answer.fileno() != -1:  # else the number may be another's by now
                os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> int:
        status = int(self._answer.recv(100))
        with self._lock:
            self._answer.close()
        return status


class ForkedPrograms(Programs):
    """The server is started with the first program, and ends with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: Optional[socket.socket] = None

    def _start(
        self, command: Sequence[bytes], environment: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]
    ) -> Any:
        is_python = command[0] == os.fsencode(sys.executable) and os.path.isfile(command[1])
        if not is_python or max(map(len, command)) >= ARGUMENT:
            return super()._start(command, environment, stdout, stderr)
        words = [word.decode("latin-1") for word in command[1:]]  # as bytes: the server reads them its way
        request = json.dumps({"argv": words, "environment": environment}).encode()
        answer, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with told:
            passed = array.array("i", [stdout.fileno(), stderr.fileno(), told.fileno()])
            self._server().sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
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
