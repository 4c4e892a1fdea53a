"""What is kept of `list_assignments`: its answer is what it would be if nothing was kept."""

import errno
import os
import time
from contextlib import ExitStack
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import generations
import kept_files
import mastership
import pytest
import temporary
from hypothesis import given, settings
from hypothesis import strategies as st
from listed_pool import HOSTS, ListedPool
from sriovlib import digest
from sriovlib.calls.list_assignments import list_assignments
from sriovlib.machine.host import RUN_FOLDER
from sriovlib.pool import inputs, inventories, ledger
from sriovlib.pool.inputs import Inputs
from sriovlib.pool.kept_answer import PATH
from sriovlib.pool.ledger import NO_ENTRY, Choice, Lease, Request
from sriovlib.xapi.own_session import OwnSession
from told_pool import BEFORE_DIGESTS, NONE, ODD

VF = "0000:07:10.{}"
Change = Callable[[ListedPool], Any]


@pytest.fixture
def pool(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ListedPool]:
    made = ListedPool(str(tmp_path), monkeypatch)
    with made.by_xapi.xapi:
        yield made


def of_pool(pool: ListedPool) -> Tuple[str, str, str]:
    return "pool", pool.by_xapi.xapi.pool, "other_config"


def lease(pool: ListedPool, vm: str, number: int, host: int = 0) -> None:
    """The VM is leased that VF, and has its entry."""
    uuid = pool.database.get("VM", vm, "uuid")
    request = Request(1, Choice("device", "8086:10ed"), {"mac": f"02:00:00:00:00:0{number}"})
    vfs = {1: VF.format(number)}
    entry = NO_ENTRY._replace(
        requests=(request,), next_number=2, lease=Lease(pool.hosts[host].uuid, vfs, number + 1, {}, {})
    )
    keys = ledger.keys(pool.database.get(*of_pool(pool))).get(uuid, [])
    for key in keys:
        pool.database.remove_from(*of_pool(pool), key.name)
    pool.database.add_to(*of_pool(pool), f"{ledger.PREFIX}{uuid}.{number + 1}", ledger.render(entry))
    pool.database.set("VM", vm, "other_config", {"pci": f"0/{VF.format(number)}", ledger.MARK: uuid})


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


# -- any story -------------------------------------------------------------------------------------


class Story:
    """A pool, whatever becomes of it, of its xapi and of what is kept on its hosts."""

    def __init__(self, pool: ListedPool, patch: pytest.MonkeyPatch) -> None:
        self.pool = pool
        self.patch = patch
        self.flushed = pool.database.flushed()
        self.old: Dict[str, bytes] = {}  # the files of before, by path
        self.now = time.time()

    def _vm(self, number: int) -> Optional[str]:
        vms = self.pool.database.refs("VM")
        return vms[number % len(vms)] if vms else None

    def _files(self, number: int) -> List[str]:
        folder = self.pool.by_xapi.hosts[number % HOSTS].path(RUN_FOLDER)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return [f"{folder}/{name}" for name in names if not name.endswith(".lock")]

    # VMs

    def make_vm(self, number: int) -> None:
        other_config = {"pci": f"0/{VF.format(number)}"} if number % 2 else {}
        self.pool.by_xapi.vm(other_config=other_config, is_a_template=number == 7)

    def change_vm(self, number: int) -> None:
        vm, database = self._vm(number), self.pool.database
        if vm:
            running = database.get("VM", vm, "power_state") == "Running"
            database.set("VM", vm, "power_state", "Halted" if running else "Running")
            host = self.pool.by_xapi.refs[number % HOSTS]
            database.set("VM", vm, "resident_on", "OpaqueRef:NULL" if running else host)

    def name_vm(self, number: int) -> None:
        vm = self._vm(number)
        if vm:
            self.pool.database.set("VM", vm, "name_label", "ab"[number % 2])

    def destroy_vm(self, number: int) -> None:
        vm = self._vm(number)
        if vm:
            self.pool.database.destroy("VM", vm)

    def lease(self, number: int) -> None:
        vm = self._vm(number)
        if vm:
            lease(self.pool, vm, number % 5, number % HOSTS)

    def write_entries(self, number: int) -> None:
        """By hand; what was there goes."""
        vm = self._vm(number)
        if vm:
            entries = {"pci": f"0/{VF.format(number % 4)},1/rubbish"} if number % 3 else {}
            self.pool.database.set("VM", vm, "other_config", entries)

    def write_key(self, number: int) -> None:
        name = f"sriov-vm-00000000-0000-4000-8000-00000000000{number}.1"
        there = name in self.pool.database.get(*of_pool(self.pool))
        self.pool.database.remove_from(*of_pool(self.pool), name)
        if not there:
            self.pool.database.add_to(*of_pool(self.pool), name, "{}")

    # hosts

    def change_host(self, number: int) -> None:
        """It is lost, or back; by xapi's word."""
        database, host = self.pool.database, self.pool.by_xapi.refs[number % HOSTS]
        metrics = database.get("host", host, "metrics")
        database.set("host_metrics", metrics, "live", not database.get("host_metrics", metrics, "live"))

    def silence(self, number: int) -> None:
        self.pool.hosts[number % HOSTS].silent ^= True

    def change_link(self, number: int) -> None:
        self.pool.hosts[number % HOSTS].link_up ^= True

    def change_owner(self, number: int) -> None:
        owners = self.pool.hosts[number % HOSTS].owners
        if owners.pop(number % 3, None) is None:
            owners[number % 3] = ["", "a VM", "another VM"][number % 3]

    def change_vfs(self, number: int) -> None:
        self.pool.hosts[number % HOSTS].vfs = 3 + number % 3

    def change_gpu(self, number: int) -> None:
        self.pool.hosts[number % HOSTS].is_gpu ^= True

    def change_nodes(self, number: int) -> None:
        host = self.pool.hosts[number % HOSTS]
        host.cpu_nodes = {0: 0, 1: 1} if number % 3 else {0: 0, 1: None}
        software = {"xapi_build": "26.2.0"} if number < 4 else {}
        self.pool.database.set("host", self.pool.by_xapi.refs[number % HOSTS], "software_version", software)

    def install(self, number: int) -> None:
        """On a host."""
        host = self.pool.hosts[number % HOSTS]
        host.package = number // 2
        host.version = "0.1.0" if number % 3 else "0.2.0"

    def install_here(self, number: int) -> None:
        version = ("0.1.0", "0.2.0")[number % 2]
        for module in (digest, inventories):
            self.patch.setattr(module, "VERSION", version)

    # xapi

    def restart(self, _number: int) -> None:
        mastership.forget_callers(self.pool.by_xapi.xapi)

    def flush(self, _number: int) -> None:
        self.flushed = self.pool.database.flushed()

    def kill(self, _number: int) -> None:
        """What was not on disk is lost, and counted again."""
        self.pool.database.go_back_to(self.flushed)
        mastership.forget_callers(self.pool.by_xapi.xapi)

    # files and time

    def remember_files(self, number: int) -> None:
        self.old.update(kept_files.contents(self._files(number)))

    def write_late(self, number: int) -> None:
        """A process that was told long ago replaces files now; some may be another host's."""
        for path, content in self.old.items():
            if number % 4:
                with open(path if number % 3 else path.replace("/0/", "/1/"), "wb") as file:
                    file.write(content)

    def tear_files(self, number: int) -> None:
        kept_files.tear(self._files(number), number)

    def exchange_files(self, number: int) -> None:
        kept_files.exchange(self._files(number))

    def lose_a_file(self, number: int) -> None:
        files = self._files(number)
        if files:
            os.unlink(files[number % len(files)])

    def wait(self, number: int) -> None:
        self.now += 10.0**number
        self.patch.setattr(time, "time", lambda: self.now)

    # who asks

    def ask(self, number: int) -> None:
        self.pool.checked(number % HOSTS)


Step = Callable[[Story, int], None]
VMS: Tuple[Step, ...] = (
    *(Story.make_vm, Story.change_vm, Story.name_vm, Story.destroy_vm, Story.lease, Story.lease),
    *(Story.write_entries, Story.write_key),
)
HOSTS_CHANGE: Tuple[Step, ...] = (
    *(Story.change_host, Story.silence, Story.change_link, Story.change_owner, Story.change_vfs),
    *(Story.change_gpu, Story.change_nodes, Story.install, Story.install_here),
)
OTHERS: Tuple[Step, ...] = (
    *(Story.restart, Story.flush, Story.kill, Story.remember_files, Story.write_late, Story.tear_files),
    *(Story.lose_a_file, Story.exchange_files, Story.wait),
)
ASKS: Tuple[Step, ...] = (Story.ask,)
STEPS = st.one_of(*map(st.sampled_from, (VMS, HOSTS_CHANGE, OTHERS, ASKS, ASKS)))


@settings(max_examples=150)
@given(st.lists(st.tuples(STEPS, st.integers(min_value=0, max_value=7)), min_size=4, max_size=40))
def test_any_story(steps: List[Tuple[Step, int]]) -> None:
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(generations, "MOST_DESTROYED", 5)
        patch.setattr(generations, "LEFT", 2)
        pool = ListedPool(stack.enter_context(temporary.folder()), patch)
        stack.enter_context(pool.by_xapi.xapi)
        story = Story(pool, patch)
        for number in (1, 2):
            story.make_vm(number)
            story.lease(number)
        for step, number in [(Story.ask, 0), *steps, (Story.ask, 0), (Story.ask, 0), (Story.ask, 1)]:
            step(story, number)
