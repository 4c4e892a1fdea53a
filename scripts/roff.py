"""What both man pages need: text that roff takes as it is, and the release that they are of."""

import os
import re
import sys
from typing import Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def plain(text: str) -> str:
    """A dot or an apostrophe at the head of a line would be a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def newest_release() -> Tuple[str, str]:
    """Its version and date, by the change log."""
    with open(os.path.join(ROOT, "CHANGELOG.md"), encoding="utf-8") as file:
        newest = re.search(r"^## \[(.+?)\] - (\S+)$", file.read(), re.MULTILINE)
    if newest is None:
        sys.exit("CHANGELOG.md has no release with a date")
    version, date = newest.groups()
    return version, date
