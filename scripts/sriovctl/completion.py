"""What may stand at the cursor: commands, options, and names that were seen of the pool.

Two ways lead here. On a workstation argcomplete knows many shells, and walks the grammar itself; dom0 has no
such package, so sriovctl.bash there asks `sriovctl __complete LINE`, and the grammar is walked here. What an
argument may be its metavar tells, for both. Neither asks a host nor imports what only commands need.
"""

import argparse
import os
import shlex
from typing import Any, Callable, List, Optional, Sequence, Tuple

from . import grammar, seen_names, settings
from .errors import Failed

FILES = 3  # exit status of __complete: the shell knows files better
_KINDS = {
    "HOST": "host",
    "VM": "VM",
    "NET": "network",
    "HOST/PORT": "port",
    "HOST/PORT:N": "vf",
}
_OF_FILES = ("FILE", "RPM")
InDom0 = Callable[[], bool]


def may_be(action: argparse.Action, options: argparse.Namespace, in_dom0: InDom0) -> List[str]:
    """All values of an argument or option that are known."""
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    parts = str(action.metavar).split("|")
    words = [part for part in parts if part.islower()]  # these stand for themselves
    try:
        if action.metavar == "NAME":
            return list(settings.pools().tables)
        if action.metavar == "ADDRESS":
            from . import known_pools

            tables = settings.pools().tables.values()
            return [*known_pools.all_known(), *(table["host"] for table in tables)]
        kinds = [_KINDS[part] for part in parts if part in _KINDS]
        key = _key(options, in_dom0) if kinds else ""
    except Failed:  # this is no place to say so
        return words
    return [*words, *(name for kind in kinds for name in seen_names.names(key, kind))]


def _key(options: argparse.Namespace, in_dom0: InDom0) -> str:
    """Of the pool that the options before the cursor name."""
    options = argparse.Namespace(**{**grammar.DEFAULTS, **vars(options)})
    if not options.pool and not options.host and in_dom0():
        return seen_names.DOM0
    return settings.target(options).key


# -- argcomplete -------------------------------------------------------------------------------------------


def by_argcomplete(in_dom0: InDom0) -> None:
    """Answers where the shell asks in argcomplete's way, and ends the process then."""
    import argcomplete

    whole = grammar.parser()
    for parser in _parsers(whole):
        for action in parser._actions:
            if action.choices is None and action.metavar not in _OF_FILES:
                action.completer = _completer(action, in_dom0)  # type: ignore[attr-defined] # argcomplete looks there
    argcomplete.autocomplete(whole)


def _completer(action: argparse.Action, in_dom0: InDom0) -> Callable[..., List[str]]:
    def complete(parsed_args: argparse.Namespace, **_: Any) -> List[str]:
        return may_be(action, parsed_args, in_dom0)

    return complete


def _parsers(whole: argparse.ArgumentParser) -> List[argparse.ArgumentParser]:
    commands = [action for action in whole._actions if isinstance(action, argparse._SubParsersAction)]
    return [whole, *(one for action in commands for one in action.choices.values())]


# -- bash alone --------------------------------------------------------------------------------------------


def complete(line: str, in_dom0: InDom0) -> Tuple[List[str], int]:
    """Words for the cursor at the end of the line, as bash wants them, and an exit status."""
    try:
        _, *words = shlex.split(line)
    except ValueError:  # a quote is open
        return [], 0
    if not words or line[-1:].isspace():
        words.append("")
    *before, current = words
    found, status = _at(grammar.parser(), before, current, in_dom0)
    cut = max(current.rfind(":"), current.rfind("=")) + 1  # bash completes from there (COMP_WORDBREAKS)
    return [word[cut:] for word in sorted(set(found)) if word.startswith(current)], status


def _at(
    whole: argparse.ArgumentParser, before: Sequence[str], current: str, in_dom0: InDom0
) -> Tuple[List[str], int]:
    parser, places = whole, _positional(whole)
    options = argparse.Namespace()
    wanting: Optional[argparse.Action] = None  # an option whose value comes next
    for word in before:
        if wanting is not None:
            setattr(options, wanting.dest, word)
            wanting = None
        elif word.startswith("-"):
            name, equals, value = word.partition("=")
            option = parser._option_string_actions.get(name)
            if option is not None and option.nargs != 0:
                if equals:
                    setattr(options, option.dest, value)
                else:
                    wanting = option
        elif places and isinstance(places[0], argparse._SubParsersAction):
            if word not in places[0].choices:
                return [], 0
            parser = places[0].choices[word]
            places = _positional(parser)
        elif places and places[0].nargs not in ("*", "+"):
            del places[0]
    if wanting is None and current.startswith("-"):
        name, equals, _ = current.partition("=")
        option = parser._option_string_actions.get(name)
        if not equals or option is None:
            return _option_names(parser), 0
        return [f"{name}={value}" for value in may_be(option, options, in_dom0)], 0
    action = wanting or (places[0] if places else None)
    if action is None:
        return [], 0
    return may_be(action, options, in_dom0), FILES if action.metavar in _OF_FILES else 0


def _positional(parser: argparse.ArgumentParser) -> List[argparse.Action]:
    return [action for action in parser._actions if not action.option_strings]


def _option_names(parser: argparse.ArgumentParser) -> List[str]:
    return [
        name
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        for name in action.option_strings
        if name.startswith("--")
    ]


def asked(argv: Sequence[str], in_dom0: InDom0) -> Optional[int]:
    """The exit status of an answer for a shell; None where it is not a shell that asks."""
    if "_ARGCOMPLETE" in os.environ:
        try:
            by_argcomplete(in_dom0)
        except ImportError:
            return 1
    if list(argv[:1]) != ["__complete"]:
        return None
    found, status = complete(argv[1] if len(argv) > 1 else "", in_dom0)
    print("\n".join(found))
    return status
