"""Text that xapi can carry: what XML 1.0 allows, without control characters."""

import re

# One of these in a result or an error, and the caller gets INTERNAL_ERROR and nothing else. (Written as
# what is refused: a class of all that is allowed takes milliseconds to compile. Compiled when there is
# something to look at: most answers are plain.)
_UNSAFE = "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"


def safe(text: str) -> str:
    """The text with U+FFFD in the place of every character that would lose the whole answer."""
    return re.sub(_UNSAFE, "\ufffd", text)
