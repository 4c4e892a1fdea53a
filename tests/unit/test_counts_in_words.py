"""A count of things in a sentence: one of them is `1 VF`, not `1 VFs`."""

import ast
import os
import re
from typing import Iterator, List

import pytest
import sriovctl
import sriovlib
from sriovlib.safetext import plural

FOLDERS = [os.path.dirname(os.path.abspath(str(package.__file__))) for package in (sriovlib, sriovctl)]
# What follows the number: nouns of which there may be one.
THINGS = re.compile(
    r" (?:PF |PCI )?(?:changes|devices|domains|hosts|minutes|ports|seconds|sections|things|VFs|VMs)"
    r"\b(?! of host)"
)
FIXED = {"GUEST_MOST_SECONDS", "least", "most", "names", "seconds"}  # limits, and what is no number


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 VMs are"), (1, "1 VM is"), (2, "2 VMs are"), (21, "21 VMs are")]
)
def test_one_is_not_many(number: int, text: str) -> None:
    assert plural(number, "VM is", "VMs are") == text
    assert plural(number, "VM") == text.rsplit(" ", 1)[0]


def bare_counts(path: str) -> Iterator[str]:
    """The places where a sentence has a value, and behind it a noun in the plural, whatever the value."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, behind in zip(node.values, node.values[1:]):
            if isinstance(value, ast.FormattedValue) and isinstance(behind, ast.Constant):
                number = isinstance(
                    value.value, (ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.BinOp)
                )
                fixed = getattr(value.value, "id", "") in FIXED or isinstance(value.value, ast.BinOp)
                if number and not fixed and THINGS.match(str(behind.value)):
                    yield f"{os.path.basename(path)}:{node.lineno}: {str(behind.value)[:30]}"


def test_counts_in_sentences_are_made_by_plural() -> None:
    found: List[str] = []
    for folder in FOLDERS:
        for place, _folders, names in os.walk(folder):
            for name in names:
                if name.endswith(".py"):
                    found += bare_counts(os.path.join(place, name))
    assert found == []
