"""What is kept of xapi's records, whatever has happened since: what is returned is what xapi has now."""

import errno
import os
from typing import Any, Iterator, List

import pytest
from asked_pool import FIRST, PARTS, Asked, Pool
from rebuilt import rebuilt
from sriovlib import digest
from sriovlib.machine.host import RUN_FOLDER
from sriovlib.pool import records, state
from sriovlib.pool.records import HOSTS, LEDGER, VMS, Part, Records

VM, OTHER_VM = (f"00000000-0000-4000-8000-0000000000a{number}" for number in (1, 2))


@pytest.fixture
def pool(tmp_path: Any) -> Iterator[Pool]:
    made = Pool(str(tmp_path))
    with made.xapi:
        yield made


def told_all(pool: Pool, number: int = FIRST) -> List[bool]:
    """Whether each event.from of a new process asked for all; what it returned is right."""
    asked = pool.records(number)
    assert asked.of(VMS) == pool.truth(VMS)
    assert isinstance(asked.xapi, Asked)
    return asked.xapi.was_told_all()


# -- stories ---------------------------------------------------------------------------------------


def test_only_what_has_changed_is_read(pool: Pool) -> None:
    vms = [pool.vm(other_config={"pci": f"0/0000:07:10.{number}", "other": "x"}) for number in range(4)]
    assert told_all(pool) == [True]
    pool.database.set("VM", vms[0], "power_state", "Running")
    pool.database.destroy("VM", vms[1])
    assert told_all(pool) == [False]
    assert told_all(pool) == [False]


def test_a_file_is_for_root_alone(pool: Pool) -> None:
    told_all(pool)
    path = f"{RUN_FOLDER}/xapi-vms"
    assert pool.hosts[FIRST].mode(path) == 0o600
    pool.hosts[FIRST].set_mode(path, 0o644)
    assert told_all(pool) == [True]
    assert (told_all(pool), pool.hosts[FIRST].mode(path)) == ([False], 0o600)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "7", '{"build": [], "source": []}', '"\\ud800"', "[" * 100_000, "\xff", "{}"],
    ids=lambda content: content[:9],
)
def test_a_file_that_says_nothing_is_no_file(pool: Pool, content: str) -> None:
    told_all(pool)
    path = pool.hosts[FIRST].path(f"{RUN_FOLDER}/xapi-vms")
    with open(path, "wb") as file:
        file.write(content.encode("latin-1"))
    assert told_all(pool) == [True]
    assert told_all(pool) == [False]


@pytest.mark.parametrize("place", [0, 31, 32, 40, 80, 200, -5])
def test_a_file_with_a_byte_that_is_another_is_no_file(pool: Pool, place: int) -> None:
    pool.vm()
    told_all(pool)
    path = pool.hosts[FIRST].path(f"{RUN_FOLDER}/xapi-vms")
    with open(path, "rb") as file:
        content = bytearray(file.read())
    content[place] ^= 1
    with open(path, "wb") as file:
        file.write(content)
    assert told_all(pool) == [True]
    assert told_all(pool) == [False]


def test_a_file_of_another_build_is_not_read(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    told_all(pool)
    monkeypatch.setattr(digest, "VERSION", "0.0.9")
    assert told_all(pool) == [True]
    assert told_all(pool) == [False]


@pytest.mark.parametrize("name", ["records", "__init__", "ledger", "pci_entries", "pinning"])
def test_a_build_is_known_by_all_that_says_what_is_kept(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    told_all(pool)
    rebuilt(monkeypatch, f"pool/{name}.py")
    assert told_all(pool) == [True]
    assert told_all(pool) == [False]


@pytest.mark.parametrize("part", [LEDGER, HOSTS])
def test_a_file_under_the_name_of_another_is_no_file(pool: Pool, part: Part) -> None:
    for one in PARTS:
        pool.records(FIRST).of(one)
    folder = pool.hosts[FIRST].path(RUN_FOLDER)
    os.replace(f"{folder}/xapi-{part.name}", f"{folder}/xapi-{VMS.name}")
    assert told_all(pool) == [True]
    assert told_all(pool) == [False]


def test_a_full_run_folder_costs_time_only(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_anything: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    pool.vm()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert told_all(pool) == [True]
        assert told_all(pool) == [True]
    assert os.listdir(pool.hosts[FIRST].path(RUN_FOLDER)) == ["records.lock"]


def test_where_another_process_writes_its_file_is_left(pool: Pool) -> None:
    with pool.hosts[FIRST].lock("records", "keeping what xapi told"):
        assert told_all(pool) == [True]
    assert told_all(pool) == [True]
    assert told_all(pool) == [False]


def test_a_socket_of_another_xapi(pool: Pool) -> None:
    """The master's has begun anew, and has not said so yet: its own host can ask it already."""
    told_all(pool)
    pool.listen(FIRST)
    assert told_all(pool) == [True]


def test_a_host_that_does_not_say_when_its_xapi_started(pool: Pool) -> None:
    pool.database.set("host", pool.refs[FIRST], "other_config", {})
    assert told_all(pool) == [True]
    assert told_all(pool) == [True]


def test_more_vms_are_gone_than_xapi_remembers(pool: Pool) -> None:
    vms = [pool.vm() for _ in range(600)]
    told_all(pool)
    for ref in vms[:200]:
        pool.database.destroy("VM", ref)
    assert told_all(pool) == [False]
    for ref in vms[200:]:
        pool.database.destroy("VM", ref)
    for _ in range(600):
        pool.vm()
    assert told_all(pool) == [False, True]


def test_a_vm_that_goes_while_xapi_answers(pool: Pool) -> None:
    for file in ("none yet", "one"):
        vm = pool.vm()
        asked = pool.records(FIRST, vanishing=vm)
        assert vm not in asked.of(VMS)["vm"], file
        assert asked.of(VMS) == pool.truth(VMS)
        assert told_all(pool) == [False]


def test_where_answers_never_agree_all_is_read_without_events(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pool.xapi.calls["event.from"]

    def one_more(*params: Any) -> Any:
        found = real.function(*params)
        found["valid_ref_counts"]["vm"] += 1
        return found

    monkeypatch.setitem(pool.xapi.calls, "event.from", real._replace(function=one_more))
    asked = pool.records(FIRST)
    for _ in range(2):
        gone = pool.vm()
        assert asked.of(VMS) == pool.truth(VMS)
        pool.database.destroy("VM", gone)
        assert asked.of(VMS) == pool.truth(VMS)
    monkeypatch.undo()
    assert told_all(pool) == [True]


def test_within_one_process_what_was_told_is_not_read_again(pool: Pool) -> None:
    asked = pool.records(FIRST)
    for _ in range(3):
        pool.vm()
        assert asked.of(VMS) == pool.truth(VMS)
    assert isinstance(asked.xapi, Asked)
    assert asked.xapi.was_told_all() == [True, False, False]


def test_a_caller_that_writes_keeps_what_is_much(pool: Pool) -> None:
    def told(count: int) -> List[str]:
        """The tokens that a caller asked with, after so many more VMs."""
        for _ in range(count):
            pool.vm()
        asked = Records(pool.hosts[FIRST], Asked(pool, FIRST), writes=True)
        assert (asked.of(LEDGER), asked.of(VMS)) == (pool.truth(LEDGER), pool.truth(VMS))
        assert isinstance(asked.xapi, Asked)
        return [params[1] for method, params in asked.xapi.asked if method == "event.from"]

    assert told(9) == ["", ""], "the ledger is one object"
    (first,) = set(told(0)) - {""}
    assert told(8) == ["", first]
    assert told(1) == ["", first]
    (second,) = set(told(0)) - {""}
    assert second != first
    assert pool.hosts[FIRST].names(RUN_FOLDER) == ["records.lock", "xapi-vms"]


def test_where_all_objects_were_told_those_of_before_are_not_read(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.records(FIRST).of(LEDGER)
    pool.database.add_to("pool", pool.xapi.pool, "other_config", f"sriov-vm-{VM}", "{}")
    asked = Records(pool.hosts[FIRST], Asked(pool, FIRST), writes=True)
    monkeypatch.setattr(records, "json", None)  # what is kept is read by it
    assert asked.of(LEDGER) == pool.truth(LEDGER)


# -- what is made of them --------------------------------------------------------------------------


def test_what_has_not_changed_is_not_made_again(pool: Pool) -> None:
    ref = pool.vm(uuid=VM)
    reader = state.Reader(pool.records(FIRST), {})
    first = reader.read()
    pool.database.set("VM", ref, "name_description", "which does not concern us")
    pool.vm(uuid=OTHER_VM)
    second = reader.read()
    assert (set(first.vms), set(second.vms)) == ({VM}, {VM, OTHER_VM})
    assert second.keys is first.keys
    pool.database.add_to("pool", pool.xapi.pool, "other_config", f"sriov-vm-{VM}", "no JSON")
    third = reader.read()
    assert (set(second.unreadable), set(third.unreadable)) == (set(), {VM})
    assert third.vms[VM] is second.vms[VM]
