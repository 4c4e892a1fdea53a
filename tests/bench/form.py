"""The two forms of a bench: the whole one measures; the short one only shows that it still can, before a
change goes in. It does all that the whole one does and looks at the same answers, with few rounds and small
sizes."""

import argparse
from contextlib import contextmanager
from typing import Iterator, Optional

SAID = "THE SHORT FORM: it shows that this bench works. Its figures are no measurement."


def parser(description: Optional[str]) -> argparse.ArgumentParser:
    """The arguments of every bench."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    made.add_argument("--short", action="store_true", help="few rounds and small sizes: no measurement")
    return made


def is_short(description: Optional[str]) -> bool:
    """Of a bench that has no other argument."""
    return bool(parser(description).parse_args().short)


@contextmanager
def told(short: bool) -> Iterator[None]:
    """Says before and after the figures what they are worth."""
    if short:
        print(SAID, flush=True)
    yield
    if short:
        print(SAID, flush=True)
