"""What is kept of `list_assignments`: its answer is what it would be if nothing was kept."""

import errno
import os
from typing import Any, Callable, Dict, Iterator, Optional

import pytest
from listed_pool import VF, ListedPool, lease, of_pool
from sriovlib import digest
from sriovlib.calls.list_assignments import list_assignments
from sriovlib.pool import inputs
from sriovlib.pool.inputs import Inputs
from sriovlib.pool.kept_answer import PATH
from sriovlib.xapi.own_session import OwnSession
from told_pool import BEFORE_DIGESTS, NONE, ODD

Change = Callable[[ListedPool], Any]


@pytest.fixture
def pool(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ListedPool]:
    made = ListedPool(str(tmp_path), monkeypatch)
    with made.by_xapi.xapi:
        yield made


def with_lease(pool: ListedPool) -> str:
    vm = pool.by_xapi.vm(name_label="web")
    lease(pool, vm, 1)
    return vm


# -- stories ---------------------------------------------------------------------------------------


def test_where_nothing_has_changed_the_answer_is_the_one_of_before(pool: ListedPool) -> None:
    with_lease(pool)
    assert [pool.checked() for _ in range(3)] == [False, True, True]
    (row,) = pool.lists(0, pool.by_xapi.hosts[0])["vms"]
    assert row["requests"][0]["vf"] == VF.format(1)


def test_what_nobody_lists_makes_no_new_answer(pool: ListedPool) -> None:
    """xapi writes such things all the time."""
    vm = with_lease(pool)
    pool.checked()
    pool.database.set("VM", vm, "name_description", "of the web")
    pool.database.add_to("VM", vm, "other_config", "folder", "/web")
    assert pool.checked()


CHANGES: Dict[str, Change] = {
    "a VM has another name": lambda pool: pool.database.set("VM", vm_of(pool), "name_label", "mail"),
    "a VM runs": lambda pool: pool.database.set("VM", vm_of(pool), "power_state", "Running"),
    "a VM is gone": lambda pool: pool.database.destroy("VM", vm_of(pool)),
    "a lease": lambda pool: lease(pool, vm_of(pool), 2),
    "an entry by hand": lambda pool: pool.by_xapi.vm(other_config={"pci": "0/0000:07:10.3"}),
    "a key that cannot be read": lambda pool: pool.database.add_to(
        *of_pool(pool), f"sriov-vm-{pool.hosts[0].uuid}.7", "{"
    ),
    "HA": lambda pool: pool.database.set("pool", pool.by_xapi.xapi.pool, "ha_enabled", True),
    "a host has another name": lambda pool: pool.database.set(
        "host", pool.by_xapi.refs[1], "name_label", "h"
    ),
    "a network is gone": lambda pool: pool.database.destroy(
        "network", pool.database.find("network", name_label="lan")[0]
    ),
    "a link of this host": lambda pool: setattr(pool.hosts[0], "link_up", False),
    "a link of another host": lambda pool: setattr(pool.hosts[1], "link_up", False),
    "a domain has a VF": lambda pool: pool.hosts[1].owners.update({2: "a VM"}),
    "a host is started from": lambda pool: pool.hosts[1].starting.update({VF.format(2): "a VM"}),
}


def vm_of(pool: ListedPool) -> str:
    return str(pool.database.find("VM", name_label="web")[0])


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_makes_a_new_answer(pool: ListedPool, change: Change) -> None:
    with_lease(pool)
    pool.checked()
    change(pool)
    assert [pool.checked() for _ in range(3)] == [False, True, True]


def test_a_vm_made_again_as_it_was_may_have_the_same_answer(pool: ListedPool) -> None:
    """What counts is what is kept of it, not how often it was told."""
    vm = with_lease(pool)
    pool.checked()
    pool.database.set("VM", vm, "name_label", "mail")
    pool.database.set("VM", vm, "name_label", "web")
    assert pool.checked()


# -- doubts: all is made anew, each time -----------------------------------------------------------


def silent(pool: ListedPool) -> None:
    pool.hosts[1].silent = True


def gpu(pool: ListedPool) -> None:
    """xapi is asked what it gives VMs of it."""
    pool.hosts[1].is_gpu = True


def memory(pool: ListedPool) -> None:
    """xapi is asked on which nodes the memory of a running VM is."""
    pool.hosts[0].cpu_nodes = {0: 0, 1: 1}
    pool.database.set("host", pool.by_xapi.refs[0], "software_version", {"xapi_build": "26.2.0"})
    vm = vm_of(pool)
    pool.database.set("VM", vm, "power_state", "Running")
    pool.database.set("VM", vm, "resident_on", pool.by_xapi.refs[0])


def untold_start(pool: ListedPool) -> None:
    """Of what process of xapi's the answers are is not known."""
    for ref in pool.by_xapi.refs:
        pool.database.set("host", ref, "other_config", {})


DOUBTS: Dict[str, Change] = {
    "a host that does not answer": silent,
    "a host without the package": lambda pool: setattr(pool.hosts[1], "package", NONE),
    "a host with a package that knows no digests": lambda pool: setattr(
        pool.hosts[1], "package", BEFORE_DIGESTS
    ),
    "a host that answers something else": lambda pool: setattr(pool.hosts[1], "package", ODD),
    "a GPU": gpu,
    "memory on several nodes": memory,
    "a xapi that does not say when it started": untold_start,
}


@pytest.mark.parametrize("doubt", DOUBTS.values(), ids=DOUBTS.keys())
def test_with_a_doubt_nothing_is_believed(pool: ListedPool, doubt: Change) -> None:
    with_lease(pool)
    pool.checked()
    doubt(pool)
    assert [pool.checked() for _ in range(3)] == [False, False, False]


def test_an_own_look_that_fails_is_no_answer_to_keep(
    pool: ListedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.checked()
    with monkeypatch.context() as patch:
        patch.setattr(pool.hosts[0], "inventory", lambda: 1 / 0)
        assert [pool.checked(), pool.checked()] == [False, False]
    assert pool.checked()


def test_events_that_do_not_agree_with_their_numbers(
    pool: ListedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.checked()
    calls = pool.by_xapi.xapi.calls
    real = calls["event.from"]

    def one_more(*params: Any) -> Any:
        found = real.function(*params)
        found["valid_ref_counts"] = {
            name: count + (name == "vm") for name, count in found["valid_ref_counts"].items()
        }
        return found

    monkeypatch.setitem(calls, "event.from", real._replace(function=one_more))
    assert [pool.checked(), pool.checked()] == [False, False]


@pytest.mark.parametrize("argument", ["vm_uuid", "host_uuid", "places"])
def test_arguments_are_answered_by_themselves(pool: ListedPool, argument: str) -> None:
    vm = with_lease(pool)
    values = {
        "vm_uuid": pool.database.get("VM", vm, "uuid"),
        "host_uuid": pool.hosts[1].uuid,
        "places": "true",
    }
    pool.checked()
    host = pool.by_xapi.hosts[0]
    before = host.read(PATH)
    list_assignments(host, OwnSession(""), {argument: values[argument]})
    assert (pool.hits, host.read(PATH)) == (0, before)


@pytest.mark.parametrize("name", Inputs._fields)
def test_an_answer_is_of_each_input(pool: ListedPool, name: str) -> None:
    class Another:
        identity: Optional[str] = "another"

    with_lease(pool)
    pool.checked()
    found = inputs.ask(pool.by_xapi.records(0), OwnSession(""))
    of_another: Any = {name: Another()}
    another = found._replace(**of_another)
    assert None not in (found.key, another.key)
    assert another.key != found.key
    Another.identity = None
    assert another.key is None


# -- the file --------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 31, 32, 40, 80, 150, -5])
def test_a_file_with_a_byte_that_is_another_is_no_file(pool: ListedPool, place: int) -> None:
    with_lease(pool)
    pool.checked()
    path = pool.by_xapi.hosts[0].path(PATH)
    with open(path, "rb") as file:
        content = bytearray(file.read())
    content[place] ^= 1
    with open(path, "wb") as file:
        file.write(content)
    assert [pool.checked(), pool.checked()] == [False, True]


def test_a_file_is_for_root_alone(pool: ListedPool) -> None:
    pool.checked()
    host = pool.by_xapi.hosts[0]
    assert host.mode(PATH) == 0o600
    host.set_mode(PATH, 0o644)
    assert [pool.checked(), host.mode(PATH), pool.checked()] == [False, 0o600, True]


def test_another_build_makes_its_own_answer(pool: ListedPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may say the same in other words."""
    pool.checked()
    real = digest.of_library()
    monkeypatch.setattr(digest, "of_library", lambda: f"{real} and a change")
    assert [pool.checked(), pool.checked()] == [False, True]


def test_the_build_is_known_by_each_module(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.py", "pool/b.py", "pool/conflicts/c.py", "pool/__pycache__/b.cpython-36.pyc"):
        os.makedirs(os.path.dirname(tmp_path / name), exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(digest, "_LIBRARY", str(tmp_path))
    found = {digest.of_library()}
    (tmp_path / "pool/__pycache__/b.cpython-36.pyc").write_text("12")
    found.add(digest.of_library())
    assert len(found) == 1
    for number, name in enumerate(("a.py", "pool/b.py", "pool/conflicts/c.py")):
        (tmp_path / name).write_text("12")
        found.add(digest.of_library())
        assert len(found) == number + 2


def test_a_full_run_folder_costs_time_only(pool: ListedPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_anything: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert [pool.checked(), pool.checked()] == [False, False]
    assert [pool.checked(), pool.checked()] == [False, True]
