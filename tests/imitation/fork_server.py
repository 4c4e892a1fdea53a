"""Starts programs quickly, and ends them with all that they have started.

A program of its own: `fork_server.py FD`, where FD is a SOCK_SEQPACKET. Each message is JSON, `{"argv": [],
"environment": {}, "python": bool}`, the words of argv with a character for each byte, and brings three
descriptors: stdout, stderr, and a socket to the program's keeper. `python`: argv begins with a script, which
goes on in a fork of this Python, which has the standard library in memory; else argv is executed.

The keeper says 0, or the errno for which there is no program; at the program's end its exit status, or the
signal as a negative number, and 0, or 1 where it has left children. It is told `kill`, for the program, or
`end`, for all that comes from it; with a descriptor, which it closes when it has done so. It ends when
nothing is left, and where the other end of its socket is gone it ends everything. The server ends when the
other end of FD is closed.

What a program finds is what its own start would give it: its argv, environment and search path, no module but
the standard library's, a sitecustomize from PYTHONPATH, a session of its own, / as its folder. An entry point
of this tree has the library and the imitated machine in memory too: to load them takes most of its time.
"""

import array
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import threading
import types
from contextlib import suppress
from typing import Any, Dict, Iterator, List, Optional, Tuple

MESSAGE = 256 << 10  # bytes: more than a program can be given as an argument
IN_MEMORY = (
    "argparse array base64 codecs collections concurrent.futures.thread configparser contextlib copy "
    "datetime decimal errno fcntl functools gc gzip hashlib html http.client io itertools json logging "
    "operator re select selectors shlex shutil signal socket ssl stat string struct subprocess syslog "
    "tempfile threading time traceback types typing urllib.parse uuid weakref xmlrpc.client"
).split()
HERE = os.path.dirname(os.path.realpath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
ENTRY_POINTS = (f"{TREE}/plugins/", f"{TREE}/hooks/")
OURS = (f"{TREE}/plugins", *(f"{HERE}/{folder}" for folder in ("machine", "kernel", "commands")))
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h: orphans below us become our children, not init's


def load() -> List[str]:
    """Loads what programs find in memory; the modules of it that are not the standard library's."""
    for name in IN_MEMORY:
        importlib.import_module(name)
    path = list(sys.path)
    sys.path[:0] = OURS
    ours = [found.name for found in pkgutil.walk_packages(OURS)]
    for name in ours:
        with suppress(Exception):  # the program that needs it shows why it cannot be loaded
            importlib.import_module(name)
    sys.path[:] = path
    # a program that ends in good order then looks through its own objects only; Python 3.6 has none
    getattr(gc, "freeze", lambda: None)()
    return ours


def serve(control: socket.socket) -> Dict[str, Any]:
    """Returns in each program that goes on here, ready to be run; at the end of all it does not return."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a keeper
    while True:
        request, descriptors = _receive(control, 3)
        if not request:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            program: Dict[str, Any] = json.loads(request)
            program["argv"] = [word.encode("latin-1") for word in program["argv"]]
            _keep(program, *descriptors)
            return program
        for descriptor in descriptors:
            os.close(descriptor)


def _receive(control: socket.socket, count: int) -> Tuple[str, List[int]]:
    """A message with so many descriptors; without a text where the other end is closed."""
    size = count * array.array("i").itemsize
    data, ancillary, _flags, _address = control.recvmsg(MESSAGE, socket.CMSG_SPACE(size))
    descriptors = array.array("i")
    for _level, _kind, content in ancillary:
        descriptors.frombytes(content)
    return data.decode(), list(descriptors)


# -- the keeper ----------------------------------------------------------------------------------


def _keep(program: Dict[str, Any], stdout: int, stderr: int, answer: int) -> None:
    """Returns in the program, where that is to go on in this Python."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    refused, refusal = os.pipe()
    pid = os.fork()
    if pid != 0:
        for descriptor in (stdout, stderr, refusal):
            os.close(descriptor)
        with socket.socket(fileno=answer) as box, os.fdopen(refused) as errors:
            _Keeper(box, pid).keep(errors.read() or "0")
            os._exit(0)  # while the socket is open: a thread may be about to listen to it
    for descriptor in (answer, refused):
        os.close(descriptor)
    os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, stdout, stderr)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if not program["python"]:
        _execute(program["argv"], program["environment"], refusal)
    os.close(refusal)


def _execute(argv: List[bytes], environment: Dict[str, str], refusal: int) -> None:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(argv[0], argv, environment)
    except OSError as error:
        os.write(refusal, str(error.errno).encode())
    finally:
        os._exit(127)


class _Keeper:
    """The parent of a program, and of the orphans that it leaves. Their numbers are theirs while the lock is
    held: nothing is reaped then."""

    def __init__(self, box: socket.socket, program: int) -> None:
        self._box = box
        self._program: Optional[int] = program  # until it is reaped
        self._lock = threading.Lock()
        self._ending = False

    def keep(self, refused: str) -> None:
        """Returns when nothing is left."""
        self._say(refused)
        threading.Thread(target=self._obey, daemon=True).start()
        with suppress(ChildProcessError):
            while True:
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # until one has ended
                with self._lock:
                    self._reap()
                    if self._ending:  # orphans of those that have just been killed
                        self._kill_all()

    def _reap(self) -> None:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == self._program:
            self._program = None
            told = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            self._say(f"{told} {_any_child():d}")

    def _obey(self) -> None:
        wish = "kill"
        while wish == "kill":
            try:
                wish, descriptors = _receive(self._box, 1)
            except ConnectionResetError:  # the box is gone, with words of ours unread
                wish, descriptors = "", []
            with self._lock:
                if wish != "kill":
                    self._ending = True
                    self._kill_all()
                elif self._program is not None:
                    os.kill(self._program, signal.SIGKILL)
            for descriptor in descriptors:
                os.close(descriptor)

    def _kill_all(self) -> None:
        for child in _children():
            os.kill(child, signal.SIGKILL)

    def _say(self, words: str) -> None:
        with suppress(OSError):  # the box is gone
            self._box.send(words.encode())


def _any_child() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _children() -> Iterator[int]:
    """Those that have ended and were not reaped as well. /proc/PID/stat: `PID (NAME) STATE PARENT ...`."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    yield int(name)


# -- the program ---------------------------------------------------------------------------------


def _become(program: Dict[str, Any], ours: List[str]) -> None:
    """As Python makes itself ready before it runs a script."""
    environment = program["environment"]
    os.environ.update(environment)
    sys.argv[:] = map(os.fsdecode, program["argv"])
    script = os.path.realpath(sys.argv[0])
    if not script.startswith(ENTRY_POINTS):
        for name in ours:
            sys.modules.pop(name, None)
    del sys.path[0]  # this file's
    if "PYTHONPATH" in environment:
        sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
    sys.path.insert(0, os.path.dirname(script))


if __name__ == "__main__":
    modules = load()
    _become(serve(socket.socket(fileno=int(sys.argv[1]))), modules)
    with open(sys.argv[0], "rb") as script:
        code = compile(script.read(), sys.argv[0], "exec")
    main = types.ModuleType("__main__")
    main.__file__ = sys.argv[0]
    sys.modules["__main__"] = main
    exec(code, main.__dict__)
