"""What a person types, as an object: what is unique, and what nobody can have meant."""

from typing import List

import pytest
from sriovctl import names
from sriovctl.errors import Failed

ONES = [
    ["web1", "1c2f7d8e-5d0b-4a43-9f0e-4a1b6a0c1a01", "192.0.2.17"],
    ["Mail server", "2c2f7d8e-5d0b-4a43-9f0e-4a1b6a0c1a02", "192.0.2.23"],
    ["ab", "abcdef01-5d0b-4a43-9f0e-4a1b6a0c1a03", "2001:db8::17"],
    ["abc", "abc99999-5d0b-4a43-9f0e-4a1b6a0c1a04", "2001:db8::23"],
]


def meant(typed: str) -> List[str]:
    return names.chosen("host", typed, ONES, lambda one: one)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("web1", "web1"),
        ("w", "web1"),
        ("mail", "Mail server"),
        ("Mail_server", "Mail server"),
        ("1c2f", "web1"),
        ("2C2F7D8E-5d0b", "Mail server"),
        ("192.0.2.17", "web1"),
        ("2001:db8::23", "abc"),
        ("ab", "ab"),
        ("abcd", "ab"),
        ("web1 (1c2f7d8e-5d0b-4a43-9f0e-4a1b6a0c1a01)", "web1"),
    ],
)
def test_what_is_meant(typed: str, name: str) -> None:
    assert meant(typed)[0] == name


@pytest.mark.parametrize(
    "typed",
    [
        *("1", "1c2", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001", "web11", "a", ""),
        "web1 (3c2f7d8e-5d0b-4a43-9f0e-4a1b6a0c1a03)",
    ],
)
def test_what_nobody_can_have_meant(typed: str) -> None:
    """Least of all a host whose address begins like that of one that is gone."""
    with pytest.raises(Failed):
        meant(typed)


def test_name_that_would_forge_a_line() -> None:
    with pytest.raises(Failed) as failed:
        names.chosen("VM", "x", ONES, lambda one: ("web\n- db: its VFs\x9b2J", one[1]))
    assert not {"\n", "\x9b"} & set(str(failed.value))
