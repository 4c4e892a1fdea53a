"""The two forms of a bench: the whole one measures; the short one only shows that it still can, before a
change goes in. It does all that the whole one does and looks at the same answers, with few rounds and small
sizes."""

import argparse
import time
from typing import Any, Callable, Optional

SAID = "THE SHORT FORM: it shows that this bench works. Its figures are no measurement."


def run(description: Optional[str], bench: Callable[..., Any], whole: Any, short: Any, **others: str) -> None:
    """Calls the bench with the sizes of the form that is asked for, and with `others`: arguments with a value
    beside `--short`, and what they say. What the figures are worth is told before and after them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--short", action="store_true", help="few rounds and small sizes: no measurement")
    for name, told in others.items():
        parser.add_argument(f"--{name}", metavar="FILE", help=told)
    given = vars(parser.parse_args())
    is_short = given.pop("short")
    print(SAID if is_short else "", flush=True)
    bench(short if is_short else whole, **given)
    print(SAID if is_short else "", flush=True)


def timed(call: Callable[[], Any]) -> float:
    """The seconds that it takes."""
    started = time.monotonic()
    call()
    return time.monotonic() - started
