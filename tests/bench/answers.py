"""A machine's commands as programs that take as long as real ones: each prints what the imitated machine
answered when it was first asked the same.

While the machine is learnt, every command asks it, over a Unix socket (dom0/ask). What it then answered is
printed by a script each; a command that was asked the same more than once, and answered otherwise, goes
through its answers in that order.
"""

import glob
import json
import os
import shlex
import socketserver
import sys
import threading
from contextlib import suppress
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple, cast

import commands
import machine

ASK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dom0", "ask")
SOCKET, AT = ".socket", ".at-"  # the second, and a number: which answer of several comes next
NAMES = sorted({os.path.basename(path) for path in commands.PLACES})


class Answer(NamedTuple):
    status: int
    stdout: str
    stderr: str


class Answers:
    """Programs in `folder`, a PATH. Their machine is asked in threads of ours."""

    def __init__(self, of: machine.Machine, folder: str) -> None:
        self._machine = of
        self._folder = folder
        self._lock = threading.Lock()
        self._heard: Dict[Tuple[str, ...], List[Answer]] = {}
        self.asked = 0
        os.mkdir(folder)
        self._server = _Server(os.path.join(folder, SOCKET), _Handler)
        self._server.answers = self
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.learn()

    def learn(self) -> None:
        """From now on the machine is asked."""
        self._heard.clear()
        for path in glob.glob(os.path.join(self._folder, ".kept-*")):
            os.unlink(path)
        self.asked = 0
        self._write()

    def keep(self) -> int:
        """From now on what it answered is printed; how many commands that were."""
        self._write()
        return self.asked

    def ask(self, argv: Sequence[str], text: str) -> Answer:
        with self._lock:
            done = self._machine.start(argv, text or None).finish()
            answer = Answer(done.status, done.stdout, done.stderr)
            self._heard.setdefault(tuple(argv), []).append(answer)
            self.asked += 1
        return answer

    def _write(self) -> None:
        cases: Dict[str, List[str]] = {name: [] for name in NAMES}
        for number, (argv, answers) in enumerate(self._heard.items()):
            different = answers if len(set(answers)) > 1 else answers[:1]
            prints = [self._printing(f"{number}-{at}", answer) for at, answer in enumerate(different)]
            if len(prints) > 1:
                at = os.path.join(self._folder, f"{AT}{number}")
                choice = "".join(f"{which}) {text} ;; " for which, text in enumerate(prints))
                prints = [
                    f"n=0; [ ! -e {at} ] || read -r n <{at}; echo $((n + 1)) >{at}; "
                    f"case $n in {choice}*) {prints[-1]} ;; esac"
                ]
            cases.setdefault(argv[0], []).append(f"{shlex.quote(' '.join(argv[1:]))}) {prints[0]} ;;\n")
        for name, lines in cases.items():
            path = os.path.join(self._folder, name)
            asks = f'exec {sys.executable} -IS {ASK} {self._folder}/{SOCKET} {name} "$@"'
            with open(path + ".new", "w", encoding="utf-8") as file:
                file.write(f'#!/bin/sh\ncase "$*" in\n{"".join(lines)}*) {asks} ;;\nesac\n')
            os.chmod(path + ".new", 0o755)
            os.rename(path + ".new", path)

    def _printing(self, name: str, answer: Answer) -> str:
        paths = [os.path.join(self._folder, f".{name}.{stream}") for stream in ("stdout", "stderr")]
        for path, text in zip(paths, (answer.stdout, answer.stderr)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        if answer.status or answer.stderr:
            return f"/bin/cat {paths[0]}; /bin/cat {paths[1]} >&2; exit {answer.status}"
        return f"exec /bin/cat {paths[0]}"


def rewind(folder: str) -> None:
    """Commands with several answers begin with the first one again."""
    for path in glob.glob(os.path.join(folder, f"{AT}*")):
        os.unlink(path)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    answers: Answers


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        request: Any = json.loads(self.rfile.read().decode())
        answer = cast(_Server, self.server).answers.ask(request["argv"], request["input"])
        with suppress(BrokenPipeError):  # it was ended for taking too long; the next one is not
            self.wfile.write(json.dumps(answer).encode())
