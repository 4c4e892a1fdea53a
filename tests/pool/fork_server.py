"""Starts Python programs quickly: by a fork of a Python that has the standard library in memory.

A program of its own: `fork_server.py FD`, where FD is a SOCK_SEQPACKET. Each message is JSON, `{"argv":
[script, ...], "environment": {}}`, the words of argv with a character for each byte, and brings three
descriptors: stdout, stderr, and a socket for the answer: the process ID, then, at its end, its exit status,
or the signal as a negative number; the ID stays its own until that socket is closed. The server ends when
the other end of FD is closed.

What a program finds is what a Python started for it would give it: its argv, environment and search path, no
module but the standard library's, a sitecustomize from PYTHONPATH, a session of its own, / as its folder.
"""

import array
import importlib
import json
import os
import signal
import socket
import sys
import types
from typing import Any, Dict, List, Tuple

MESSAGE = 256 << 10  # bytes: more than a program can be given as an argument
IN_MEMORY = (
    "argparse array base64 codecs collections configparser contextlib copy datetime decimal errno fcntl "
    "functools gzip hashlib html http.client io itertools json logging operator re select selectors shlex "
    "shutil signal socket ssl stat string struct subprocess syslog tempfile threading time traceback types "
    "typing urllib.parse uuid weakref xmlrpc.client"
).split()


def serve(control: socket.socket) -> None:
    """Returns in each program, ready to be run, and at the end of all."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a keeper
    for name in IN_MEMORY:
        importlib.import_module(name)
    while True:
        request, descriptors = _receive(control)
        if not request:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _keep(descriptors)
            break
        for descriptor in descriptors:
            os.close(descriptor)
    _become(json.loads(request))


def _receive(control: socket.socket) -> Tuple[str, List[int]]:
    size = 3 * array.array("i").itemsize
    data, ancillary, _flags, _address = control.recvmsg(MESSAGE, socket.CMSG_SPACE(size))
    descriptors = array.array("i")
    for _level, _kind, content in ancillary:
        descriptors.frombytes(content)
    return data.decode(), list(descriptors)


def _keep(descriptors: List[int]) -> None:
    """Returns in the program; its keeper tells how it ends."""
    stdout, stderr, answer = descriptors
    with socket.socket(fileno=answer) as told:
        program = os.fork()
        if program != 0:
            told.send(str(program).encode())
            ended = os.waitid(os.P_PID, program, os.WEXITED | os.WNOWAIT)
            assert ended is not None
            status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            told.send(str(status).encode())
            told.recv(1)
            os._exit(0)
    os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, stdout, stderr)):
        os.dup2(descriptor, number)
        os.close(descriptor)


def _become(program: Dict[str, Any]) -> None:
    """As Python makes itself ready before it runs a script."""
    environment = program["environment"]
    os.environ.update(environment)
    sys.argv[:] = [os.fsdecode(word.encode("latin-1")) for word in program["argv"]]
    del sys.path[0]  # this file's
    if "PYTHONPATH" in environment:
        sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
    sys.path.insert(0, os.path.dirname(os.path.realpath(sys.argv[0])))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
    with open(sys.argv[0], "rb") as script:
        code = compile(script.read(), sys.argv[0], "exec")
    main = types.ModuleType("__main__")
    main.__file__ = sys.argv[0]
    sys.modules["__main__"] = main
    exec(code, main.__dict__)
