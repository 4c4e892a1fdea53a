"""Texts of others, as people are shown them. Who names a VM may put line breaks into the name, bytes that a
terminal obeys, or marks that make what stands behind it run backwards."""

import re

from sriovlib.safetext import line, safe

# Marks that turn the direction of what follows, beyond the end of a name: for a class of a pattern.
TURNS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"


def sentence(text: str) -> str:
    """A name, or a message that has names in it, on one line."""
    return _straight(line(text))


def lines(text: str) -> str:
    """A message or a value with its line breaks."""
    return _straight(safe(text))


def _straight(text: str) -> str:
    return text if text.isprintable() else re.sub(f"[{TURNS}]", "\ufffd", text)
