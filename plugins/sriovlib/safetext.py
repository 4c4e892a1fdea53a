"""Text that xapi can carry: XML 1.0's characters without the control characters."""

import re

# One character that is not among these, in a result or an error, and the caller gets INTERNAL_ERROR
# and nothing else.
_UNSAFE = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def safe(text: str) -> str:
    """The text with U+FFFD in the place of every character that would lose the whole answer."""
    return _UNSAFE.sub("\ufffd", text)
