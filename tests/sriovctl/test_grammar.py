"""What was typed is read alike, whether the options of all commands are known or those of its words only."""

import argparse
from typing import Any, List, Optional

import pytest
from sriovctl import grammar

NAMES = [command.name for command in grammar.COMMANDS]
LINES: List[List[str]] = [
    [],
    ["--help"],
    ["--version"],
    ["nope"],
    ["statu"],
    ["--nope", "status"],
    ["--pool", "vfs", "status", "host1"],
    ["--host", "status"],
    ["status", "--timeout", "0"],
    *([name, "--help"] for name in NAMES),
    *([name, "--nope"] for name in NAMES),
    *([name] for name in NAMES),
]


def outcome(words: Optional[List[str]], line: List[str], said: pytest.CaptureFixture[str]) -> Any:
    said.readouterr()
    try:
        read: Any = vars(grammar.parser(words).parse_args(line, argparse.Namespace(**grammar.DEFAULTS)))
    except SystemExit as end:
        read = end.code
    return read, said.readouterr()


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_same_outcome(line: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(line, line, capsys) == outcome(None, line, capsys)


def test_commands_that_were_not_typed_have_no_options() -> None:
    """Which is what it is for: the time of the start."""
    (commands,) = [one for one in grammar.parser(["vfs"])._actions if one.dest == "command"]
    known: Any = commands.choices
    assert [name for name in known if "--timeout" in known[name]._option_string_actions] == ["vfs"]


def test_help_names_what_is_about_tables_where_there_is_one() -> None:
    (commands,) = [one for one in grammar.parser()._actions if one.dest == "command"]
    known: Any = commands.choices
    named = [name for name in known if "--columns" in known[name].format_help()]
    assert named == [command.name for command in grammar.COMMANDS if command.columns]
