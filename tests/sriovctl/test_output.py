"""Tables that awk can read and that fit a terminal; YAML and CSV that others read back."""

import csv
import io
from typing import Any, Dict, List

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sriovctl import grammar, main, output
from sriovctl.errors import Usage
from sriovctl.output import Column, Form
from sriovlib.safetext import safe

COLUMNS = (
    Column("NAME", lambda record: record["name"]),
    Column("FREE", lambda record: record["free"]),
    Column("NOTE", lambda record: record["note"], wide=True),
)
RECORDS: List[Dict[str, Any]] = [
    {"name": "web server", "free": True, "note": "a, b"},
    {"name": "db\x1b[2J", "free": None, "note": ["x", "y"]},
]


def test_cells_have_no_blanks_and_no_control_characters() -> None:
    assert output.text(RECORDS, COLUMNS, Form()) == (
        "NAME        FREE\nweb_server  yes\ndb\ufffd[2J      -\n"
    )


def test_wide_and_chosen_columns() -> None:
    assert output.text(RECORDS, COLUMNS, Form("wide")).splitlines()[2].split() == ["db\ufffd[2J", "-", "x,y"]
    assert (
        output.text(RECORDS, COLUMNS, Form(columns=["note", "name"], headers=False)).split()[1]
        == "web_server"
    )
    with pytest.raises(Usage, match="There is no column SIZE"):
        output.text(RECORDS, COLUMNS, Form(columns=["size"]))


def test_table_is_cut_to_the_terminal() -> None:
    lines = output.text([{"name": "n" * 90, "free": False, "note": ""}], COLUMNS, Form(width=20)).splitlines()
    assert [len(line) for line in lines] == [20, 18]
    assert lines[1] == "nnnnnnnnnnnnn\u2026  no"


def test_csv_is_read_back() -> None:
    rows = list(csv.reader(io.StringIO(output.text(RECORDS, COLUMNS, Form("csv")))))
    assert rows == [["NAME", "FREE", "NOTE"], ["web server", "yes", "a, b"], ["db\ufffd[2J", "", "x,y"]]


TEXTS = st.text(st.characters(blacklist_categories=["Cs"])).map(safe)  # what xapi can carry
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("aeno_:# ", max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.sampled_from(["name", "no", "a b"]), VALUES, max_size=3), max_size=3))
def test_yaml_is_read_back(records: List[Dict[str, Any]]) -> None:
    assert yaml.safe_load("\n".join(output.yaml_lines(records))) == records


WORDS = {  # the least that each command takes
    **{name: [] for name in ("status", "pfs", "vfs", "vms", "conflicts", "map", "doctor", "setup", "pools")},
    "metrics": [],
    **{name: ["web"] for name in ("explain", "guest", "reinstate", "adopt", "park", "unpark")},
    **{name: [] for name in ("login", "logout")},
    "trust": [],
    "assign": ["web", "--network", "xenbr1"],
    "unassign": ["web", "--all"],
    **{name: ["web", "host2"] for name in ("relocate", "migrate")},
    "evacuate": ["host1"],
    **{name: ["web"] for name in ("suspend", "resume", "detach", "attach")},
    "count": ["host1/eth1", "2"],
    "configure": ["host1/eth1:2"],
    "apply": ["pool.yaml"],
    "install": ["a.rpm"],
    "wait": ["web", "--for", "ready"],
}
NO_TABLE = (
    *(["map"], ["metrics"], ["guest", "web", "--network-config"]),
    *(["setup", "stop"], ["setup", "resume"], ["wait", "web", "--for", "ready"]),
)


@pytest.mark.parametrize("command", [one.name for one in grammar.COMMANDS])
def test_a_column_that_there_is_not_is_said_before_the_pool_is_asked(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, in each format; here is no pool that could be asked."""
    for form in ([],) if command == "metrics" else ([], ["-o", "json"]):  # its -o is a file
        assert main.run([command, *WORDS[command], *form, "--columns", "NOPE"], local=False) == 2
        said = capsys.readouterr()
        assert (said.out, "column" in said.err) == ("", True)


@pytest.mark.parametrize("words", NO_TABLE)
def test_columns_where_there_is_no_table(words: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*words, "--columns", "NAME"], local=False) == 2
    assert "There is no table here" in capsys.readouterr().err
