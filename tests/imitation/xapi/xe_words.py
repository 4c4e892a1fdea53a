"""What a command of xe is, for all modules that have some."""

from typing import Callable, Dict, NamedTuple, Sequence

from client import Client

Parameters = Dict[str, str]


class CommandError(Exception):
    """What xe itself objects to; the text is all that the user sees."""


class Command(NamedTuple):
    function: Callable[[Client, Parameters], str]  # to what goes to standard output
    required: Sequence[str] = ()
    optional: str = ""
    description: str = ""
