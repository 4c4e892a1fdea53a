"""A session of our own: what a program in dom0 has that nobody gave one."""

import errno
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Iterator, Set

import pytest
from box import PoolInABox
from sriovlib.xapi import kept_session
from sriovlib.xapi.kept_session import first_call
from sriovlib.xapi.session import Xapi, XapiFailure, log_in, log_out, logged_in


@pytest.fixture(scope="module")
def box() -> Iterator[PoolInABox]:
    with PoolInABox() as made:
        yield made


def test_calls_in_a_session_that_ends(box: PoolInABox) -> None:
    host = box.hosts[1]
    before = set(box.xapi.database.refs("session"))
    with logged_in(host.machine) as session:
        xapi = Xapi(host.machine, session)
        assert xapi.call("host.get_by_uuid", host.uuid) == host.ref
        (own,) = set(box.xapi.database.refs("session")) - before
        assert xapi.call("session.get_this_host", own) == host.ref
        with pytest.raises(XapiFailure) as failure:
            xapi.call("VM.get_by_uuid", "nobody")
    assert failure.value.details[0] == "UUID_INVALID"
    assert set(box.xapi.database.refs("session")) == before


def test_the_heavy_clients_are_not_imported(box: PoolInABox) -> None:
    program = (
        "import sys\n"
        "from sriovlib.xapi.session import Xapi, logged_in\n"
        "from sriovlib.machine.host import Host\n"
        f"host = Host({box.hosts[0].machine.root!r})\n"
        "with logged_in(host) as session:\n"
        "    Xapi(host, session).call('pool.get_all')\n"
        "print({'XenAPI', 'http.client', 'xmlrpc', 'ssl'}.intersection(sys.modules))\n"
    )
    plugins = str(Path(__file__).resolve().parents[2] / "plugins")
    said = subprocess.check_output([sys.executable, "-c", program], cwd=plugins, universal_newlines=True)
    assert said == "set()\n"


# -- the one that is kept ----------------------------------------------------------------------------


class Hooks:
    """What hooks of a host do, one after the other."""

    def __init__(self, box: PoolInABox) -> None:
        self.box = box
        self.host = box.hosts[1]
        self.before = self.sessions()

    def sessions(self) -> Set[str]:
        return set(self.box.xapi.database.refs("session"))

    def more(self) -> Set[str]:
        return self.sessions() - self.before

    def call(self) -> str:
        """One hook, and the session that it had."""
        with ExitStack() as stack:
            session, ref = first_call(self.host.machine, stack, 10, "host.get_by_uuid", self.host.uuid)
            assert ref == self.host.ref
            assert Xapi(self.host.machine, session).call("host.get_uuid", ref) == self.host.uuid
            return session.reference


@pytest.fixture
def hooks(box: PoolInABox) -> Iterator[Hooks]:
    made = Hooks(box)
    yield made
    made.host.machine.remove_file(kept_session.PATH)


def test_a_session_is_kept_for_the_next_hook(hooks: Hooks) -> None:
    first = hooks.call()
    assert hooks.call() == first
    assert hooks.more() == {first}
    assert hooks.host.machine.mode(kept_session.PATH) == 0o600


def test_a_session_that_xapi_has_ended_is_made_anew(hooks: Hooks) -> None:
    first = hooks.call()
    with ExitStack() as stack:
        log_out(hooks.host.machine, first_call(hooks.host.machine, stack, 10, "pool.get_all")[0], 10)
    second = hooks.call()
    assert second != first
    assert hooks.call() == second
    assert hooks.more() == {second}


@pytest.mark.parametrize("text", ["", "OpaqueRef:gone", "\udcff", "two\nlines"])
def test_a_file_without_a_session(hooks: Hooks, text: str) -> None:
    hooks.host.machine.make_folder("/run/sriov")
    hooks.host.machine.replace_file(kept_session.PATH, text.encode("utf-8", "surrogateescape"))
    made = hooks.call()
    assert (hooks.call(), hooks.more()) == (made, {made})
    assert hooks.host.machine.read(kept_session.PATH) == made


def test_while_another_hook_logs_in_each_has_a_session_of_its_own(hooks: Hooks) -> None:
    with hooks.host.machine.lock("session", "the test"):
        hooks.call()
    assert hooks.more() == set()
    assert not hooks.host.machine.exists(kept_session.PATH)


def test_what_another_hook_has_just_made_is_taken(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = hooks.host.machine
    lock = machine.lock

    def slow(*words: object) -> object:
        machine.replace_file(kept_session.PATH, log_in(machine, 10).reference.encode())
        return lock(*words)  # type: ignore[arg-type] # handed on

    machine.make_folder("/run/sriov")
    monkeypatch.setattr(machine, "lock", slow)
    assert hooks.more() == set()
    assert {hooks.call()} == hooks.more()


def test_a_session_that_cannot_be_kept_ends(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_words: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(hooks.host.machine, "replace_file", full)
    hooks.call()
    assert hooks.more() == set()


def test_what_else_xapi_refuses_is_no_reason_to_log_in_again(hooks: Hooks) -> None:
    first = hooks.call()
    with ExitStack() as stack, pytest.raises(XapiFailure, match="UUID_INVALID"):
        first_call(hooks.host.machine, stack, 10, "VM.get_by_uuid", "nobody")
    assert hooks.more() == {first}
