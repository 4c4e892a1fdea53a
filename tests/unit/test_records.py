"""What is kept of xapi's records, whatever has happened since: what is returned is what xapi has now."""

import errno
import json
import os
from contextlib import ExitStack
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import generations
import mastership
import pytest
import temporary
from calls import Origin
from dispatch import answer
from hosts import HostDescription, Nic
from hypothesis import given, settings
from hypothesis import strategies as st
from plugin_calls import Dom0
from sriovlib.machine.host import RUN_FOLDER, Host
from sriovlib.pool import records
from sriovlib.pool.records import HOSTS, LEDGER, VMS, Part, Records
from sriovlib.xapi import session
from sriovlib.xapi.session import Xapi, XapiFailure
from values import Failure
from xapi import Xapi as Imitation

PARTS = (HOSTS, LEDGER, VMS)
CLASSES = {"vm": "VM", "pif": "PIF"}  # as the API names them, where events have other names
FIRST, SECOND = 0, 1  # hosts


class Pool:
    """Two hosts, each with a dom0 of its own, and an imitated xapi that is asked without a server."""

    def __init__(self, folder: str) -> None:
        self.xapi = Imitation()
        self.refs: List[str] = []
        self.hosts: List[Host] = []
        for number in (FIRST, SECOND):
            nics = [Nic("eth0", "02:00:00:00:00:01", "xenbr0", management=True)]
            uuid = f"00000000-0000-4000-8000-00000000000{number}"
            description = HostDescription(f"host{number}", uuid, uuid.replace("4000", "4001"), nics)
            self.refs.append(self.xapi.add_host(description, Dom0(os.devnull)))
            self.hosts.append(Host(f"{folder}/{number}"))
            self.listen(number)

    @property
    def database(self) -> Any:
        return self.xapi.database

    def listen(self, number: int) -> None:
        """A socket of the xapi there, which nobody answers."""
        path = self.hosts[number].path(session.SOCKET)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(f"{path}-new", "w"):
            pass
        os.replace(f"{path}-new", path)

    def records(self, number: int, vanishing: Optional[str] = None) -> Records:
        return Records(self.hosts[number], Asked(self, number, vanishing))

    def vm(self, **values: Any) -> str:
        return str(self.database.create("VM", {"name_label": "a VM", "VCPUs_max": 1, **values}))

    def truth(self, part: Part) -> Dict[str, Any]:
        """What xapi has, with the fields that concern us, by the database itself."""
        return {name: self._truth(name) for name in part.classes}

    def _truth(self, name: str) -> Dict[str, Any]:
        class_name = CLASSES.get(name, name)
        found = self.database.records(class_name, self.database.refs(class_name))
        kept = {ref: records._kept_of(name, record) for ref, record in found.items()}
        return {ref: {**records._USUAL[name], **one} for ref, one in kept.items() if one is not None}


class Asked(Xapi):
    """xapi as that host asks it, in a session of its own. The VM `vanishing` goes while xapi tells of it: it
    was counted, and is in no event."""

    def __init__(self, pool: Pool, number: int, vanishing: Optional[str] = None) -> None:
        super().__init__(pool.hosts[number], None)
        self._pool = pool
        self._origin = Origin(pool.refs[number], local=True)
        self._vanishing = vanishing
        self.asked: List[Any] = []
        self._own = answer(pool.xapi, self._origin, "session.login_with_password", ["root", ""])

    def call(self, method: str, *params: Any) -> Any:
        self.asked.append((method, params))
        try:
            found = answer(self._pool.xapi, self._origin, method, [self._own, *params])
        except Failure as failure:
            raise XapiFailure(failure.description) from failure
        return json.loads(json.dumps(found))

    def call_for_each(self, member: str, take: Callable[[Any], object], method: str, *params: Any) -> Any:
        found = self.call(method, *params)
        for element in found.pop(member):
            if element["ref"] != self._vanishing or element["operation"] == "del":
                take(element)
            else:
                self._pool.database.destroy("VM", self._vanishing)
        return found

    def was_told_all(self) -> List[bool]:
        """Of each event.from."""
        return [params[1] == "" for method, params in self.asked if method == "event.from"]


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
    path = f"{RUN_FOLDER}/xapi-vms.json"
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
    path = pool.hosts[FIRST].path(f"{RUN_FOLDER}/xapi-vms.json")
    with open(path, "wb") as file:
        file.write(content.encode("latin-1"))
    assert told_all(pool) == [True]
    assert told_all(pool) == [False]


@pytest.mark.parametrize("key", ["token", "objects", "build", "source"])
@pytest.mark.parametrize("value", [None, {}, {"vm": 7}, {"vm": {"OpaqueRef:x": 7}}, "", "rubbish", ["0"]])
def test_a_file_with_something_else_in_it(pool: Pool, key: str, value: Any) -> None:
    pool.vm()
    told_all(pool)
    path = pool.hosts[FIRST].path(f"{RUN_FOLDER}/xapi-vms.json")
    with open(path) as file:
        content = json.load(file)
    with open(path, "w") as file:
        json.dump({**content, key: value}, file)
    assert told_all(pool)[-1]
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


# -- any story -------------------------------------------------------------------------------------


class Story:
    """A pool, whatever becomes of it, of its xapi and of what is kept on its hosts. xapi remembers few of the
    objects that were destroyed."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.flushed = pool.database.flushed()
        self.old: Dict[str, bytes] = {}  # the files of before, by path
        self.process: Optional[Records] = None  # that goes on

    def _vm(self, number: int) -> Optional[str]:
        vms = self.pool.database.refs("VM")
        return vms[number % len(vms)] if vms else None

    def _files(self, number: int) -> List[str]:
        names = [f"{RUN_FOLDER}/xapi-{part.name}.json" for part in PARTS]
        return [path for path in map(self.pool.hosts[number % 2].path, names) if os.path.exists(path)]

    # the pool

    def make_vm(self, number: int) -> None:
        kind = ("is_a_template", "is_a_snapshot", "is_control_domain", *[""] * 5)[number]
        other_config = {"pci": "0/0000:07:10.0", "mac_seed": "x"} if number % 2 else {}
        self.pool.vm(other_config=other_config, **({kind: True} if kind else {}))

    def change_vm(self, number: int) -> None:
        vm = self._vm(number)
        if vm:
            state = "Halted" if self.pool.database.get("VM", vm, "power_state") == "Running" else "Running"
            self.pool.database.set("VM", vm, "power_state", state)

    def make_template(self, number: int) -> None:
        """Or a VM again."""
        vm = self._vm(number)
        if vm:
            is_one = self.pool.database.get("VM", vm, "is_a_template")
            self.pool.database.set("VM", vm, "is_a_template", not is_one)

    def destroy_vm(self, number: int) -> None:
        vm = self._vm(number)
        if vm:
            self.pool.database.destroy("VM", vm)

    def replace_vms(self, number: int) -> None:
        """As many are there as before."""
        vms = self.pool.database.refs("VM")[number:]
        for vm in vms:
            self.pool.database.destroy("VM", vm)
        for _ in vms:
            self.pool.database.destroy("VM", self.pool.vm())
            self.pool.vm()

    def write_ledger(self, number: int) -> None:
        key = f"sriov-vm-00000000-0000-4000-8000-00000000000{number}.1"
        pool = ("pool", self.pool.xapi.pool, "other_config")
        there = key in self.pool.database.get(*pool)
        self.pool.database.remove_from(*pool, key)
        if not there:
            self.pool.database.add_to(*pool, key, "{}")

    def change_host(self, number: int) -> None:
        host = self.pool.refs[number % 2]
        metrics = self.pool.database.get("host", host, "metrics")
        live = self.pool.database.get("host_metrics", metrics, "live")
        self.pool.database.set("host_metrics", metrics, "live", not live)
        self.pool.database.set("host", host, "enabled", bool(number % 3))

    def change_pifs(self, number: int) -> None:
        network = self.pool.database.create("network", {"name_label": f"net{number}"})
        values = {"device": f"eth{number}", "network": network, "host": self.pool.refs[number % 2]}
        pif = self.pool.database.create("PIF", values)
        if number > 3:
            self.pool.database.destroy("PIF", pif)

    # xapi

    def flush(self, _number: int) -> None:
        self.flushed = self.pool.database.flushed()

    def restart(self, number: int) -> None:
        mastership.forget_callers(self.pool.xapi)
        self.flush(number)

    def kill(self, _number: int) -> None:
        """What was not on disk is lost, and counted again."""
        self.pool.database.go_back_to(self.flushed)
        mastership.forget_callers(self.pool.xapi)

    def fail_over(self, number: int) -> None:
        """To the other host, with the database or an older copy of it."""
        master = self.pool.xapi.master
        if number % 2:
            self.pool.database.go_back_to(self.flushed)
        mastership.make_master(self.pool.xapi, next(ref for ref in self.pool.refs if ref != master))
        self.flush(number)

    # files

    def remember_files(self, number: int) -> None:
        for path in self._files(number):
            with open(path, "rb") as file:
                self.old[path] = file.read()

    def write_late(self, number: int) -> None:
        """A process that was told long ago replaces the files now."""
        for path in self._files(number):
            if path in self.old:
                with open(path, "wb") as file:
                    file.write(self.old[path])

    def tear_files(self, number: int) -> None:
        for path in self._files(number):
            os.truncate(path, os.path.getsize(path) * number // 8)

    def kill_writer(self, number: int) -> None:
        """As it wrote: the files of before, and half of new ones beside them."""
        for path in self._files(number):
            folder, name = os.path.split(path)
            with open(f"{folder}/.{name}.sriov-new", "w") as file:
                file.write("{")

    # who asks

    def ask(self, number: int) -> None:
        asked = self.pool.records(number % 2)
        for part in PARTS:
            assert asked.of(part) == self.pool.truth(part), part.name

    def ask_while_a_vm_goes(self, number: int) -> None:
        """It may be there as it was told before: it was there just now."""
        vm = self._vm(number)
        found = self.pool.records(number % 2, vm).of(VMS)["vm"]
        truth = self.pool.truth(VMS)["vm"]
        assert {ref: one for ref, one in found.items() if ref in truth or ref != vm} == truth

    def begin(self, number: int) -> None:
        self.process = self.pool.records(number % 2)
        self.process.of(VMS)

    def go_on(self, _number: int) -> None:
        """In the session of before, if xapi is the one of before."""
        if self.process is None:
            return
        try:
            for part in PARTS:
                assert self.process.of(part) == self.pool.truth(part), part.name
        except XapiFailure as failure:
            if failure.details[0] != "SESSION_INVALID":
                raise
            self.process = None


Step = Callable[[Story, int], None]
WRITES: Tuple[Step, ...] = (
    *(Story.make_vm, Story.change_vm, Story.make_template, Story.destroy_vm, Story.replace_vms),
    *(Story.write_ledger, Story.change_host, Story.change_pifs),
)
OTHERS: Tuple[Step, ...] = (
    *(Story.flush, Story.restart, Story.kill, Story.fail_over),
    *(Story.remember_files, Story.write_late, Story.tear_files, Story.kill_writer),
)
ASKS: Tuple[Step, ...] = (Story.ask, Story.ask, Story.ask_while_a_vm_goes, Story.begin, Story.go_on)
STEPS = st.one_of(*map(st.sampled_from, (WRITES, WRITES, OTHERS, ASKS)))


@settings(max_examples=200)
@given(st.lists(st.tuples(STEPS, st.integers(min_value=0, max_value=7)), min_size=4, max_size=60))
def test_any_story(steps: List[Tuple[Step, int]]) -> None:
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(generations, "MOST_DESTROYED", 5)
        patch.setattr(generations, "LEFT", 2)
        story = Story(Pool(stack.enter_context(temporary.folder())))
        stack.enter_context(story.pool.xapi)
        for number in range(4):
            story.make_vm(number * 2 + 1)
        for step, number in [*steps, (Story.ask, FIRST), (Story.ask, SECOND)]:
            step(story, number)
