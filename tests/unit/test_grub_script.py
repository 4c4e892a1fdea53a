"""GRUB's script language: what GRUB reads, and what it refuses, as grub-script-check 2.06 does."""

from typing import List

import pytest
from sriovlib.boot import grub_script
from sriovlib.boot.grub_script import Command, Compound, ScriptError


def words(text: str) -> List[str]:
    (command,) = grub_script.parse(text)
    assert isinstance(command, Command)
    return [word.text for word in command.words]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("set a=b # note", ["set", "a=b"]),
        ("echo a#b", ["echo", "a#b"]),
        ("echo 'a b' \"c d\" e\\ f", ["echo", "a b", "c d", "e f"]),
        ("echo ''", ["echo", ""]),
        ("echo x\"y\"'z'", ["echo", "xyz"]),
        ('echo "\\"\\$a\\n"', ["echo", '"$a\\n']),
        ("echo $a ${b} \"$c\" '$d'", ["echo", "\0v{a}", "\0v{b}", "\0q{c}", "$d"]),
        ("echo a\\\nb", ["echo", "ab"]),  # a backslash at the end continues the line
        ("echo a \\\n b", ["echo", "a", "", "b"]),
        ('echo "a\\\nb"', ["echo", "ab"]),
        ("echo a\r\n", ["echo", "a"]),
        ("echo a\\\n# a line of its own\nb", ["echo", "ab"]),
        ("echo if fi then", ["echo", "if", "fi", "then"]),
        ("echo *.c '*.c'", ["echo", "*.c", "\0*.c"]),  # one is a pattern
        ("echo \x85 \x0b", ["echo", "\x85", "\x0b"]),
    ],
)
def test_words_are_what_grub_makes_of_them(text: str, expected: List[str]) -> None:
    assert words(text) == expected


def test_a_word_knows_its_place_in_the_file() -> None:
    text = "# first\r\nset 'a b'  c\r\n"
    (command,) = grub_script.parse(text)
    assert isinstance(command, Command)
    assert command.line == 2
    assert [text[word.start : word.end] for word in command.words] == ["set", "'a b'", "c"]


def test_conditions_loops_and_functions_are_kept() -> None:
    nodes = grub_script.parse(
        "function f {\n echo a\n}\n"
        "if [ -s a ]; then\n echo b; echo c\nelif true\nthen echo d\nelse f\nfi\n"
        "for i in 1 2; do echo $i; done\nwhile true; do echo e; done\n"
    )
    assert [node.words for node in nodes if isinstance(node, Compound)] == [
        ("function", "f"),
        ("if", "elif", "else"),
        ("for", "i", "1", "2"),
        ("while",),
    ]
    condition = nodes[1]
    assert isinstance(condition, Compound)
    assert [len(part) for part in condition.parts] == [1, 2, 1, 1, 1]


def test_a_menu_entry_has_its_commands_in_a_block() -> None:
    (entry,) = grub_script.parse("menuentry 'a' {\n linux /x\n boot }\n")
    assert isinstance(entry, Command)
    assert entry.block is not None
    assert [node.line for node in entry.block] == [2, 3]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("fi\n", "line 1: `fi`"),
        ("if true; then\nfi\n", "line 2: `fi`"),  # nothing in it
        ("if true; then\necho a\n", "line 2: the file ends"),
        ("if true\necho a\nfi\n", "line 3: `fi`"),
        ("menuentry a { }\n", "`}`"),
        ("menuentry a {\necho b\n", "line 1: the block that begins there has no end"),
        ("menuentry a {\necho b\n}}\n", "line 3: `}`"),
        ("menuentry a { echo b } c\n", "`c`"),
        ("echo }\n", "`}`"),
        ("echo a;; echo b\n", "`;`"),
        ("echo 'a\n", "a quote has no end"),
        ('echo "a\n', "a quote has no end"),
        ("echo $\n", "not followed by a name"),
        ('echo "$"\n', "not followed by a name"),
        ("echo a | b\n", "no use for `|`"),
        ("echo ]]\n", "`]]`"),
        ("select a\n", "`select`"),
        ("for 'i' in a; do echo b; done\n", "`i`"),
        ("for i in a { echo b }\n", "`{`"),
        ("function f echo\n", "`echo`"),
        ("function while {\n echo a\n}\n", "`while`"),
        ("function f { echo a }\n", "`}`"),  # unlike a block
        ("if true; then\nfunction f {\n echo a\n}\nfi\n", "line 2: `function`"),
        ("echo a\necho \0v{a}\n", "line 2: there is a NUL"),
        ("if a; then " * 60 + "\n", "more blocks within blocks"),
    ],
)
def test_grub_script_errors_name_the_line(text: str, reason: str) -> None:
    with pytest.raises(ScriptError) as error:
        grub_script.parse(text)
    assert reason in str(error.value)
