"""What is kept of hosts' inventories: what is returned is what they tell now, whatever has happened since."""

import os
from contextlib import ExitStack
from typing import Any, Callable, Dict, List, Tuple

import kept_files
import pytest
import temporary
from hypothesis import given, settings
from hypothesis import strategies as st
from rebuilt import rebuilt
from sriovlib import digest
from sriovlib.pool import kept_inventories
from sriovlib.pool.kept_inventories import PATH
from told_pool import BEFORE_DIGESTS, CURRENT, HOSTS, ToldPool, patched, uuid_of, values


@pytest.fixture
def pool(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> ToldPool:
    made = ToldPool(str(tmp_path))
    patched(monkeypatch, made)
    return made


def whole(pool: ToldPool, master: int = 0) -> List[int]:
    """How many whole answers each host gives to one call, whose result is right."""
    before = [host.whole for host in pool.hosts]
    found = values(pool.survey(master, pool.kept(master)))
    given = [host.whole - count for host, count in zip(pool.hosts, before)]
    assert found == values(pool.truth(master))
    return given


# -- stories ---------------------------------------------------------------------------------------


def test_what_has_not_changed_is_not_sent_again(pool: ToldPool) -> None:
    assert whole(pool) == [0, 1, 1, 1]
    assert whole(pool) == [0, 0, 0, 0]
    pool.hosts[2].owners[1] = "a VM"
    assert whole(pool) == [0, 0, 1, 0]
    del pool.hosts[2].owners[1]
    assert whole(pool) == [0, 0, 1, 0]
    assert whole(pool) == [0, 0, 0, 0]


def test_a_host_that_gets_an_older_package_and_a_newer_one_again(pool: ToldPool) -> None:
    whole(pool)
    pool.hosts[1].package = BEFORE_DIGESTS
    assert whole(pool) == [0, 1, 0, 0]
    assert whole(pool) == [0, 1, 0, 0]
    pool.hosts[1].package = CURRENT
    assert whole(pool) == [0, 1, 0, 0]
    assert whole(pool) == [0, 0, 0, 0]


def test_a_host_that_was_silent_confirms_what_it_told_before(pool: ToldPool) -> None:
    whole(pool)
    pool.hosts[1].silent = True
    assert whole(pool) == [0, 0, 0, 0]
    assert list(pool.survey(0, pool.kept(0)).problems) == [uuid_of(1)]
    pool.hosts[1].silent = False
    assert whole(pool) == [0, 0, 0, 0]


def test_hosts_that_are_not_asked_are_kept_and_those_that_left_are_not(pool: ToldPool) -> None:
    whole(pool)
    pool.hosts[1].link_up = False
    pool.present = {0, 1, 3}
    whole(pool)
    assert sorted(kept_inventories.load(pool.kept(0)).told) == [uuid_of(1), uuid_of(3)]


def test_what_is_done_meanwhile_is_done_while_hosts_look(pool: ToldPool) -> None:
    pool.survey(0, pool.kept(0), lambda: pool.order.append("meanwhile"))
    asked, meanwhile, answered = pool.order[:3], pool.order[3], pool.order[4:]
    assert [word.split()[-1] for word in asked + answered] == ["asked"] * 3 + ["answers"] * 3
    assert meanwhile == "meanwhile"


def test_nothing_is_done_meanwhile_where_no_other_host_looks(pool: ToldPool) -> None:
    pool.present = {0}
    assert list(pool.survey(0, pool.kept(0), lambda: pool.order.append("meanwhile")).hosts) == [uuid_of(0)]
    assert pool.order == []


# -- the file --------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 20, 40, 200, -5])
def test_a_file_with_a_byte_that_is_another_is_no_file(pool: ToldPool, place: int) -> None:
    whole(pool)
    path = pool.kept(0).path(PATH)
    with open(path, "rb") as file:
        content = bytearray(file.read())
    content[place] ^= 1
    with open(path, "wb") as file:
        file.write(content)
    assert whole(pool) == [0, 1, 1, 1]
    assert whole(pool) == [0, 0, 0, 0]


def test_a_file_is_for_root_alone(pool: ToldPool) -> None:
    whole(pool)
    assert pool.kept(0).mode(PATH) == 0o600
    pool.kept(0).set_mode(PATH, 0o644)
    assert whole(pool) == [0, 1, 1, 1]
    assert (whole(pool), pool.kept(0).mode(PATH)) == ([0, 0, 0, 0], 0o600)


def test_a_file_of_another_build_is_not_read(pool: ToldPool, monkeypatch: pytest.MonkeyPatch) -> None:
    whole(pool)
    monkeypatch.setattr(digest, "VERSION", "0.0.9")
    assert whole(pool) == [0, 1, 1, 1]
    assert whole(pool) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "name", ["pool/told", "pool/candidates", "vf/inventory_json", "machine/pci", "machine/ports"]
)
def test_a_build_is_known_by_all_that_says_what_is_kept(
    pool: ToldPool, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole(pool)
    rebuilt(monkeypatch, f"{name}.py")
    assert whole(pool) == [0, 1, 1, 1]
    assert whole(pool) == [0, 0, 0, 0]


@pytest.mark.parametrize("digest", ["x" * 300, "\ud800", "\x01" * 32, "0" * 31, "", 7, ["0" * 32]])
def test_a_digest_of_another_kind_is_not_asked_with(pool: ToldPool, digest: Any) -> None:
    """It might not come back as it went, or the answer that is a digest alone would be a long one."""
    pool.hosts[1].own_digest = digest
    assert whole(pool) == [0, 1, 1, 1]
    assert whole(pool) == [0, 1, 0, 0]
    assert pool.survey(0, pool.kept(0)).problems == {}


# -- any story -------------------------------------------------------------------------------------


class Story:
    def __init__(self, pool: ToldPool) -> None:
        self.pool = pool
        self.old: Dict[str, bytes] = {}  # files of before, by path

    def _files(self, number: int) -> List[str]:
        path = self.pool.kept(number % 2).path(PATH)
        return [path] if os.path.exists(path) else []

    # hosts

    def change_owner(self, number: int) -> None:
        """Or it is let go; the domain may be none of a VM of the pool."""
        owners = self.pool.hosts[number % HOSTS].owners
        if owners.pop(number % 3, None) is None:
            owners[number % 3] = ["", "a VM", "another VM"][number % 3]

    def change_driver(self, number: int) -> None:
        host = self.pool.hosts[number % HOSTS]
        host.driver = "ixgbevf" if host.driver == "pciback" else "pciback"

    def change_link(self, number: int) -> None:
        host = self.pool.hosts[number % HOSTS]
        host.link_up = not host.link_up

    def change_management(self, number: int) -> None:
        host = self.pool.hosts[number % HOSTS]
        host.management = not host.management

    def change_xapi(self, number: int) -> None:
        """What only the pool knows of the host."""
        host = self.pool.hosts[number % HOSTS]
        host.managed = not host.managed

    def change_xenstore(self, number: int) -> None:
        host = self.pool.hosts[number % HOSTS]
        host.owners_known = not host.owners_known

    def start(self, number: int) -> None:
        self.pool.hosts[number % HOSTS].starting = {"0000:07:10.1": "a VM"} if number % 2 else {}

    def reboot(self, number: int) -> None:
        """With another number of VFs; what it kept is lost, and no VM runs there."""
        host = self.pool.hosts[number % HOSTS]
        host.vfs = 3 + number % 3
        host.owners, host.starting = {}, {}
        if host.number < 2:
            for path in self._files(host.number):
                os.unlink(path)

    def install(self, number: int) -> None:
        host = self.pool.hosts[number % HOSTS]
        host.package = number // 2
        host.version = "0.1.0" if number % 2 else "0.2.0"

    def silence(self, number: int) -> None:
        host = self.pool.hosts[number % HOSTS]
        host.silent = not host.silent

    def leave(self, number: int) -> None:
        """Or join; the first two, which may be masters, stay."""
        self.pool.present ^= {2 + number % 2}

    # files

    def remember_file(self, number: int) -> None:
        self.old.update(kept_files.contents(self._files(number)))

    def write_late(self, number: int) -> None:
        """A process that was told long ago replaces the file now; it may be another host's."""
        for path, content in self.old.items():
            if number % 3:
                path = self.pool.kept(number % 2).path(PATH)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, 0o600)

    def tear_file(self, number: int) -> None:
        kept_files.tear(self._files(number), number)

    # who asks

    def ask(self, number: int) -> None:
        master = number % 2
        found = self.pool.survey(master, self.pool.kept(master))
        assert values(found) == values(self.pool.truth(master))


Step = Callable[[Story, int], None]
CHANGES: Tuple[Step, ...] = (
    *(Story.change_owner, Story.change_driver, Story.change_link, Story.change_management),
    *(Story.change_xapi, Story.change_xenstore, Story.start, Story.reboot),
    *(Story.install, Story.silence, Story.leave),
)
FILES: Tuple[Step, ...] = (Story.remember_file, Story.write_late, Story.tear_file)
ASKS: Tuple[Step, ...] = (Story.ask,)
STEPS = st.one_of(*map(st.sampled_from, (CHANGES, FILES, ASKS)))


@settings(max_examples=150)
@given(st.lists(st.tuples(STEPS, st.integers(min_value=0, max_value=7)), min_size=4, max_size=40))
def test_any_story(steps: List[Tuple[Step, int]]) -> None:
    with ExitStack() as stack:
        pool = ToldPool(stack.enter_context(temporary.folder()))
        patched(stack.enter_context(pytest.MonkeyPatch.context()), pool)
        story = Story(pool)
        for step, number in [(Story.ask, 0), *steps, (Story.ask, 0), (Story.ask, 1)]:
            step(story, number)
