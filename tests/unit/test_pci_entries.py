"""other_config:pci: read as xapi reads it, and changed without touching what others wrote there."""

import json
from pathlib import Path
from typing import Any, Dict, List

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sriovlib.pool import pci_entries
from sriovlib.pool.pci_entries import LARGEST, PciEntry, derive, entries, plugging_order

TRANSCRIPTS = Path(__file__).parent.parent / "imitation" / "transcripts"
STARTS = [
    step
    for step in json.loads((TRANSCRIPTS / "passthrough.json").read_text())["steps"]
    if step.get("VM.start") == "Success" and "pci" in step
]

VF0, VF1, VF2, VF3 = ("0000:07:10.0", "0000:07:10.2", "0000:07:10.4", "0000:07:10.6")
GPU = "0000:81:00.0"


@pytest.mark.parametrize("step", STARTS, ids=lambda step: str(step["pci"])[:40])
def test_addresses_and_order_are_those_of_a_real_xapi(step: Dict[str, Any]) -> None:
    assert plugging_order(step["pci"] or "") == step["plugged_in_order"]


def test_entries_that_xapi_drops_have_no_address() -> None:
    assert entries("0/0000:07:10.0, 1/0000:07:10.2,,07:10.4,+03/0:7:10.6 (Mary)") == [
        PciEntry("0/0000:07:10.0", 0, VF0),
        PciEntry(" 1/0000:07:10.2", None, None),
        PciEntry("07:10.4", None, None),
        PciEntry("+03/0:7:10.6 (Mary)", 3, VF3, "(Mary)"),
    ]


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        ("0/0000:0b:00.0;0/0000:0b:00.1", ";0/0000:0b:00.1"),
        ("0/0000:0b:00.0 0/0000:0b:00.1", "0/0000:0b:00.1"),
        ("0/0000:0b:00.0\n1/0000:0b:00.1", "1/0000:0b:00.1"),
        ("0/0000:0b:00.01", "1"),
        ("0/0000:0b:00.0 \n", ""),
        ("0/0000:0b:00.0", ""),
    ],
)
def test_text_behind_an_address_is_ignored_as_by_xapi(text: str, ignored: str) -> None:
    (entry,) = entries(text)
    assert (entry.address, entry.ignored) == ("0000:0b:00.0", ignored)


# By the source of OCaml's scanf: `_` is passed over, and takes a place of the field's width.
@pytest.mark.parametrize(
    ("text", "number", "address"),
    [
        ("1_0/0_00:0_:1f.2", 10, "0000:00:1f.2"),
        ("1_/0000:07:10.0", 1, VF0),
        ("_1/0000:07:10.0", None, None),
        ("0/_000:07:10.0", None, None),
        ("0/0000:07:10._", None, None),
        ("0/000_0:07:10.0", None, None),
        ("0/0000:07:10.g", None, None),
        ("\u0660/0000:07:10.0", None, None),
        (f"{LARGEST}/0000:07:10.0", LARGEST, VF0),
        (f"{LARGEST + 1}/0000:07:10.0", None, None),
        (f"{-LARGEST - 1}/0000:07:10.0", -LARGEST - 1, VF0),
        (f"{-LARGEST - 2}/0000:07:10.0", None, None),
        ("0" * 9000 + "4/0000:07:10.0", 4, VF0),
        ("9" * 9000 + "/0000:07:10.0", None, None),
    ],
)
def test_corners_of_the_pattern(text: str, number: int, address: str) -> None:
    assert entries(text) == [PciEntry(text, number, address)]


_ALIKE = f"0/{VF0},0/{GPU},0/{VF1},0/{VF2}"  # as Xen Orchestra writes them when it attaches a device
_OTHERS = f"7/{GPU.upper()}, 8/0000:81:00.1,typing error"
_BETWEEN = f"0/{VF0},1/{GPU},2/{VF1}"


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        pytest.param("", [], [VF0], f"0/{VF0}", id="first-vf"),
        pytest.param(f"0/{VF0}", [VF0], [], "", id="last-vf-goes"),
        pytest.param(
            f"0/{VF0},1/{VF1},2/{VF2}",
            [VF0, VF1, VF2],
            [VF0, VF2],
            f"0/{VF0},2/{VF2}",
            id="one-of-three-goes",
        ),
        pytest.param(
            f"{_OTHERS},0/{VF0}", [VF0], [VF1, VF2], f"{_OTHERS},0/{VF1},8/{VF2}", id="others-to-the-letter"
        ),
        pytest.param("03/0:7:10.0 (Mary)", [], [VF0], f"3/{VF0}", id="by-hand-becomes-ours"),
        pytest.param(f"0/{VF0},0/{GPU}", [VF0], [VF0], f"0/{GPU},1/{VF0}", id="number-of-another"),
        pytest.param(
            f"0/{VF1},5/{GPU},9/{VF0}",
            [VF0, VF1],
            [VF0, VF1],
            f"0/{VF0},5/{GPU},9/{VF1}",
            id="exchanged-around-another",
        ),
        pytest.param(
            _ALIKE,
            [VF0, VF1, VF2],
            [VF0, VF1, VF2],
            f"0/{GPU},1/{VF0},2/{VF1},3/{VF2}",
            id="all-numbers-alike",
        ),
        pytest.param(_BETWEEN, [VF0, VF1], [VF2, VF1], f"0/{VF2},1/{GPU},2/{VF1}", id="other-host-one-stays"),
        pytest.param(f"0/{GPU},0/{VF0},4/{VF0}", [VF0], [VF0, VF0], f"0/{GPU},4/{VF0}", id="ours-twice"),
        pytest.param(
            f"{LARGEST}/{GPU},0/{VF3}",
            [],
            [VF0, VF1],
            f"{LARGEST}/{GPU},0/{VF3},1/{VF0},2/{VF1}",
            id="largest-number",
        ),
        pytest.param(f"-5/{GPU}", [], [VF0], f"-5/{GPU},0/{VF0}", id="negative-number"),
    ],
)
def test_entries_after_a_change(before: str, old: List[str], new: List[str], after: str) -> None:
    assert derive(before, old, new) == after


@pytest.mark.parametrize("text", [f"0/{VF0},1/{VF1},2/{VF0}", f"0/{VF0},0/{VF1},0/{VF0}"])
def test_an_address_that_stands_twice_is_plugged_at_its_later_place(text: str) -> None:
    assert plugging_order(text) == [VF1, VF0]


@pytest.mark.parametrize(
    ("text", "out", "hint"),
    [
        (f"0/{VF0},3/{VF0},5/{GPU}", [VF0], f"other-config:pci=5/{GPU}`"),
        (f"0/{VF0},1/{GPU},2/{VF1}", [VF0, VF1], f"other-config:pci=1/{GPU}`"),
        (f"0/{VF0},1/{GPU}", [VF0, GPU], pci_entries.removal("vm")),
        (f"0/{VF0}," * 30, [VF1], "Take the entry out of the VM's other_config:pci."),
        (f"0/{VF0},1/{GPU} (Mary)", [VF0], "Take the entry out of the VM's other_config:pci."),
    ],
    ids=["one", "several", "all", "of-a-long-text", "beside-what-a-shell-would-read"],
)
def test_how_to_take_entries_out(text: str, out: List[str], hint: str) -> None:
    assert hint in pci_entries.without("vm", text, *out)


OURS = [f"0000:07:10.{function}" for function in range(5)]
OTHERS = [f"0000:81:00.{function}" for function in range(4)]

numbers = st.sampled_from(["0", "1", "2", "03", "7", "-1", "+2", str(LARGEST), str(LARGEST - 1)])
ours = st.builds("{}/{}{}".format, numbers, st.sampled_from(OURS), st.sampled_from(["", " ", "0"]))
foreign = st.one_of(
    st.builds("{}/{}".format, numbers, st.sampled_from(OTHERS)),
    st.sampled_from(["rubbish", " 0/x", "07:10.0"]),
)
texts = st.lists(st.one_of(ours, foreign), max_size=8).map(",".join)
subsets = st.lists(st.sampled_from(OURS), unique=True)


@given(texts, subsets, subsets)
def test_after_any_change(before: str, old: List[str], new: List[str]) -> None:
    """Entries of others keep number and place; ours are plugged as asked, each with a number of its own; and
    the same change again changes nothing."""
    text, mine = derive(before, old, new), {*old, *new}
    after = entries(text)
    assert [one for one in after if one.address not in mine] == [
        one for one in entries(before) if one.address not in mine
    ]
    own = [one for one in after if one.address in mine]
    assert [address for address in plugging_order(text) if address in mine] == new
    assert all(one.text == f"{one.number}/{one.address}" for one in own)
    used = [one.number for one in after]
    assert all(used.count(one.number) == 1 for one in own)
    assert derive(text, old, new) == derive(text, new, new) == text


@given(st.text(alphabet="0123456789abcdefABCDEF:./_+-, ", max_size=30))
def test_any_text_can_be_read_and_only_its_commas_are_lost(text: str) -> None:
    assert ",".join(entry.text for entry in entries(text)) == ",".join(
        part for part in text.split(",") if part.strip()
    )
    assert all((entry.number is None) == (entry.address is None) for entry in pci_entries.entries(text))
