"""The terminal, where there is one: its width, colours, questions, and what is being waited for."""

import codecs
import os
import sys
import time
from contextlib import contextmanager
from typing import IO, Any, Iterator, Optional

from . import shown
from .errors import Failed

_CODES = {"good": "32", "warn": "33", "bad": "31", "dim": "2", "head": "1"}
_REDRAW_SECONDS = 1.0


def width(stream: IO[str]) -> Optional[int]:
    """In columns; None where the stream is no terminal, so nothing is cut for a pipe or a file."""
    if not stream.isatty():
        return None
    return os.get_terminal_size(stream.fileno()).columns or 80  # one that does not tell says 0


def has_colour(stream: IO[str]) -> bool:
    """As no-color.org asks: NO_COLOR with any value turns colours off."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str) -> str:
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style in _CODES else text


def plain(text: str, _style: str) -> str:
    return text


def asked(question: str) -> bool:
    """The person's yes; Failed where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise Failed(
            "NO_INPUT", f"{question} Nobody can be asked here.", "Add --yes if that is what you want."
        )
    sys.stderr.write(f"{shown.lines(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def tell(stream: IO[str], text: str) -> None:
    """A message, where somebody still reads it: a terminal that was closed, or a full disk, is no reason to
    leave off what is being done."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        to_nowhere(stream)


def to_nowhere(stream: IO[str]) -> None:
    """What is left of it, and whatever else Python would complain of when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def reopened() -> None:
    """Standard streams that the caller has closed are nothing to read, and nowhere to write: otherwise the
    first file or connection that is opened would be taken for them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, _nothing(mode))


def _nothing(mode: str) -> IO[str]:
    return open(os.devnull, mode, encoding="utf-8")


class Progress:
    """What is waited for, and for how long: one line that is written again on a terminal, a line for each new
    text elsewhere."""

    def __init__(self, stream: IO[str], title: str) -> None:
        self._stream = stream
        self._title = title
        self._begun = time.monotonic()
        self._shown = ""
        self._drawn = 0.0

    def say(self, text: str) -> None:
        """What is waited for now; may be called as often as one likes."""
        text = shown.sentence(text)
        now = time.monotonic()
        if self._stream.isatty():
            if text != self._shown or now - self._drawn >= _REDRAW_SECONDS:
                line = f"{self._title}: {text} ({now - self._begun:.0f} s)"
                columns = width(self._stream) or 80
                tell(self._stream, f"\r\x1b[K{line[: columns - 1]}")
                self._drawn = now
        elif text != self._shown:
            tell(self._stream, f"{self._title}: {text}\n")
        self._shown = text

    def clear(self) -> None:
        if self._stream.isatty() and self._shown:
            tell(self._stream, "\r\x1b[K")


@contextmanager
def progress(stream: IO[str], title: str) -> Iterator[Progress]:
    shown = Progress(stream, title)
    try:
        yield shown
    finally:
        shown.clear()


def in_utf8(stream: Any) -> Any:
    """The stream, in UTF-8 whatever the locale says. Where there is none (cron, a plain ssh) Python 3.6 would
    end at the first letter of a name that is not in ASCII."""
    if codecs.lookup(stream.encoding).name == "utf-8":
        return stream
    lines = 1 if stream.isatty() else -1
    return open(stream.fileno(), "w", lines, encoding="utf-8", errors="replace", closefd=False)
