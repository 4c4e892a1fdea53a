"""Text that xapi can carry: what XML 1.0 allows, without control characters; and as much as one can read."""

import re
from typing import Sequence

# Characters that are read of what somebody below root can write (a key of some other_config). Longer ones
# are refused: what reads them all is a start, or a call that holds the pool's lock.
LONGEST = 64 * 1024

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # a pattern, as xapi writes them

# One of these in a result or an error, and the caller gets INTERNAL_ERROR and nothing else. (Written as
# what is refused: a class of all that is allowed takes milliseconds to compile. Compiled when there is
# something to look at: most answers are plain.)
_UNSAFE = "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"


def safe(text: str) -> str:
    """The text with U+FFFD in the place of every character that would lose the whole answer."""
    return re.sub(_UNSAFE, "\ufffd", text)


def line(text: str, longest: int = 2000) -> str:
    """The text as one line, as logs want. Who names a VM may put line breaks into the name, to forge a line,
    or bytes that a terminal obeys; syslog(3) takes neither a NUL nor a lone surrogate."""
    if len(text) <= longest and text.isprintable():
        return text  # most are: no pattern is compiled for them
    return shortened(safe(" ".join(shortened(text, longest).splitlines())), longest)


def is_uuid(text: str) -> bool:
    """Whether it is a UUID as xapi writes them."""
    return (
        len(text) == 36
        and text[8] == text[13] == text[18] == text[23] == "-"
        and text.count("-") == 4
        and not text.strip("-0123456789abcdef")
    )


def is_number(text: str) -> bool:
    """Whether it is digits only, and at least one."""
    return text != "" and not text.strip("0123456789")


def is_plain_number(text: str, digits: int) -> bool:
    """Whether it is a number of at most so many digits, with no zero before it."""
    return is_number(text) and len(text) <= digits and (text == "0" or text[0] != "0")


def shortened(text: str, longest: int = 200) -> str:
    """The text for a sentence: what a VM's owner writes may be megabytes."""
    return text if len(text) <= longest else text[: longest - 3] + "..."


def plural(number: int, one: str, many: str = "") -> str:
    """`1 VF`, `2 VFs`; words that differ by more than an s are told both: `plural(n, "VM is", "VMs are")`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def listed(parts: Sequence[str], most: int = 20) -> str:
    """In a sentence: `a, b and c`; of more than `most` the first, and how many there are besides."""
    shown = [*parts[:most], f"{len(parts) - most} more"] if len(parts) > most else parts
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))
