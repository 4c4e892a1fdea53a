"""sriovctl at a real pseudo-terminal: what it shows, and what a person types."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from types import TracebackType
from typing import List, Optional, Type

from as_program import PROGRAM

PATIENCE = 120.0  # seconds without a new character: it hangs


class Terminal:
    """`with Terminal(["vms"], NO_COLOR="1") as terminal:`"""

    def __init__(self, words: List[str], columns: int = 80, **environment: str) -> None:
        self.shown = ""
        self._end, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        # setsid makes it the terminal that controls the program, so there is a /dev/tty
        self._process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", sys.executable, PROGRAM, *words],
            env={**os.environ, "TERM": "xterm", **environment},
            stdin=inside,
            stdout=inside,
            stderr=inside,
        )
        os.close(inside)

    def until(self, text: str, again: bool = False) -> str:
        """All that was shown until this text; `again`: until it comes once more."""
        times = self.shown.count(text) + 1 if again else 1
        while self.shown.count(text) < times:
            assert self._read(), f"it ended, and has shown only {self.shown!r}"
        return self.shown

    def _read(self) -> bool:
        assert select.select([self._end], [], [], PATIENCE)[0], f"it hangs, and has shown {self.shown!r}"
        try:
            data = os.read(self._end, 65536)
        except OSError:  # so Linux says that nobody has the terminal any more
            return False
        self.shown += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def end(self) -> int:
        """Its exit status."""
        while self._read():
            pass
        return self._process.wait(PATIENCE)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        os.close(self._end)
        self._process.kill()
        self._process.wait()
