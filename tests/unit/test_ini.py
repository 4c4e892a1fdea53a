"""/etc/sriov.conf: what a person wrote there stays, what a call writes can be read again."""

import time
from typing import Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sriovlib.config import ini

WRITTEN_BY_HAND = """# VFs of the cluster, ask Mary first
[host]
; needed for the GPU too
pciback = no

[pf 0000:07:00.0]
vfs = 16
"""


def text(document: ini.Document) -> str:
    return "\n".join(document.lines)


def test_values_are_read_by_section_and_key() -> None:
    document = ini.parse(WRITTEN_BY_HAND)
    assert document.get("host", "pciback") == "no"
    assert document.get("pf 0000:07:00.0", "vfs") == "16"
    assert document.get("pf 0000:07:00.1", "vfs") is None
    assert document.errors == []


def test_a_change_touches_its_own_line_only() -> None:
    document = ini.changed(ini.parse(WRITTEN_BY_HAND), "host", {"pciback": "yes"})
    assert text(document) == WRITTEN_BY_HAND.rstrip("\n").replace("= no", "= yes")


def test_a_new_key_goes_to_its_section_and_a_new_section_to_the_end() -> None:
    document = ini.parse(WRITTEN_BY_HAND)
    document = ini.changed(document, "host", {"other": "1"})
    document = ini.changed(document, "boot", {"regenerate": "yes"})
    assert "pciback = no\nother = 1\n\n[pf " in text(document)
    assert text(document).endswith("vfs = 16\n\n[boot]\nregenerate = yes")


def test_ini_key_set_and_removed_leaves_the_file_as_it_was() -> None:
    document = ini.parse(WRITTEN_BY_HAND.rstrip("\n"))
    there = ini.changed(document, "boot", {"regenerate": "yes"})
    assert ini.changed(there, "boot", {"regenerate": None}).lines == document.lines


def test_a_section_with_a_persons_comment_stays_when_it_becomes_empty() -> None:
    document = ini.changed(ini.parse(WRITTEN_BY_HAND), "host", {"pciback": None})
    assert "; needed for the GPU too" in text(document)


def test_errors_name_the_line_and_the_rest_holds() -> None:
    document = ini.parse("x = 1\n[host]\npciback = yes\nnonsense\npciback = no\n[host]\n")
    assert document.get("host", "pciback") == "no"
    assert [error.split(":")[0] for error in document.errors] == ["line 1", "line 4", "line 5", "line 6"]


def test_words_for_yes_and_no() -> None:
    assert [ini.boolean(word) for word in ("YES", "off", "perhaps", None)] == [True, False, None, None]


WORDS = st.text(alphabet="abcxyz0189.:-_/%", min_size=1, max_size=12).filter(
    lambda word: word[0] not in "[#;"
)


@given(st.dictionaries(WORDS, st.dictionaries(WORDS, WORDS, max_size=3), max_size=3))
def test_ini_text_is_read_as_written(sections: Dict[str, Dict[str, str]]) -> None:
    document = ini.parse("")
    for section, values in sections.items():
        document = ini.changed(document, section, dict(values))
    assert document.sections == {section: values for section, values in sections.items() if values}
    assert document.errors == []


def test_a_byte_order_mark_is_in_no_line_that_anybody_reads() -> None:
    """Some editors begin a file with one, and joining such files puts it before later lines as well."""
    document = ini.parse("\ufeff[host]\npciback = no\n\ufeff[boot]\nregenerate = yes\n")
    document = ini.changed(document, "host", {"pciback": "yes"})
    document = ini.changed(document, "boot", {"regenerate": None})
    assert (text(document), document.errors) == ("[host]\npciback = yes", [])


def test_an_empty_value_may_have_a_comment_behind_it() -> None:
    document = ini.parse("[xen before enable_iommu]\nxe = # none\nsafe =\n")
    assert document.sections == {"xen before enable_iommu": {"xe": "", "safe": ""}}
    changed = ini.changed(document, "xen before enable_iommu", {"xe": "iommu=0"})
    assert changed.lines[1] == "xe = iommu=0 # none"


LONG = 60_000  # of a key that somebody below root may write: read in a moment, whatever is in it


@pytest.mark.parametrize(
    "line", [" " * LONG, "a" + " " * LONG, "a = " + " " * LONG + "b", "a =" + " #" * (LONG // 2), "[" * LONG]
)
def test_text_is_read_in_linear_time(line: str) -> None:
    started = time.process_time()
    document = ini.parse(f"[host]\n{line}x\n")
    ini.changed(document, "host", {"a": "1"})
    assert time.process_time() - started < 1
    assert all(len(error) < 200 for error in document.errors)


def test_thousands_of_sections_are_put_back_in_linear_time() -> None:
    copy = ini.parse("".join(f"[vf 0000:07:00.0 {number}]\nvlan = 1\n" for number in range(2000)))
    started = time.process_time()
    document = ini.put_back(ini.parse("[host]\npciback = yes\n"), copy, list(copy.sections))
    assert time.process_time() - started < 1
    assert document.sections == {"host": {"pciback": "yes"}, **copy.sections}
