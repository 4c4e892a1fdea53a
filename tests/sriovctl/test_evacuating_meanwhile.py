"""evacuate, where others are at work on the host too: what it says of the host is what is so then."""

import threading
from typing import Any, Callable, Optional

import pytest
from as_program import begun
from live_moves import qemu
from managed_pool import Pool
from sriovctl import evacuation
from sriovctl.connection import Remote
from sriovctl.errors import Unreachable, XapiFailed
from test_evacuating import guests, where

pytestmark = [pytest.mark.story, pytest.mark.usefixtures("impatient")]

Ctl = Callable[..., Any]
OUT_OF_SERVICE = "takes no VMs until `xe host-enable uuid="
WORDS = ("evacuate", "host1", "--unconfirmed", "--yes")


@pytest.fixture
def mail(pool: Pool) -> str:
    """It runs on host1 with a VF, and can only be moved by a shutdown."""
    mail = pool.with_vf("mail", on=pool.one)
    pool.start(mail, pool.one)
    return mail


def when_called(
    monkeypatch: pytest.MonkeyPatch, method: str, act: Callable[[], None], after: bool = False
) -> None:
    """Once, before or after this call of xapi."""
    real, left = Remote.call, [act]

    def call(connection: Remote, name: str, *params: Any) -> Any:
        mine: Optional[Callable[[], None]] = left.pop() if name == method and left else None
        if mine and not after:
            mine()
        answer = real(connection, name, *params)
        if mine and after:
            mine()
        return answer

    monkeypatch.setattr(Remote, "call", call)


def test_vm_that_is_on_its_way_to_the_host_is_waited_for(pool: Pool, ctl: Ctl) -> None:
    """xapi holds it for resident where it comes from until it has come."""
    db = pool.vm("db")
    pool.start(db, pool.other)
    with pool.box.migration_held_at("copy") as held:
        moves = threading.Thread(
            target=pool.api, args=("VM.pool_migrate", pool.ref(db), pool.one.ref, {"live": "true"})
        )
        moves.start()
        held.wait()
        plan = ctl("evacuate", "host1", "--plan")
        assert "VM db is on its way to host host1, and is waited for" in plan.err
        program = begun(pool, *WORDS)
        assert program.stderr
        line = program.stderr.readline()
        held.go_on()
        _, said = program.communicate()
    moves.join()
    assert "waiting for what xapi does with db" in line
    assert (program.returncode, guests(pool)) == (0, []), said


@pytest.mark.usefixtures("mail")
def test_vm_that_has_come_with_vfs_since_the_plan(
    pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was shown what becomes of it, and xapi cannot move it."""
    web = pool.with_vf("web", on=pool.one)
    words = (*WORDS, "--relocate")
    with monkeypatch.context() as patch:
        when_called(patch, "host.disable", lambda: pool.start(web, pool.one))
        said = ctl(*words)
    assert (said.status, guests(pool)) == (1, ["web"])
    assert "Host host1 has got since the plan what xapi cannot move: VM web (" in said.err
    assert f"Call again. Host host1 {OUT_OF_SERVICE}" in said.err
    pool.api("host.enable", pool.one.ref)
    assert (ctl(*words).status, guests(pool)) == (0, [])


def test_host_that_is_enabled_while_it_is_emptied(
    pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.start(pool.vm("db"), pool.one)
    with monkeypatch.context() as patch:
        when_called(patch, "host.disable", lambda: pool.api("host.enable", pool.one.ref), after=True)
        said = ctl(*WORDS)
    assert (said.status, guests(pool)) == (1, [])
    assert "Host host1 is empty, but was enabled meanwhile" in said.err
    assert "Call again. Host host1 takes VMs as before." in said.err
    assert ctl(*WORDS).status == 0


@pytest.mark.usefixtures("mail")
def test_host_that_may_not_be_disabled(pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise XapiFailed(["HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN"])

    when_called(monkeypatch, "host.disable", refuse)
    pool.start(pool.vm("db"), pool.one)
    said = ctl(*WORDS, "--relocate")
    assert (said.status, guests(pool)) == (1, ["db"])
    assert "Host host1 is not empty. HA forbids that" in said.err
    assert "Then call again. Host host1 takes VMs as before." in said.err


@pytest.mark.usefixtures("mail")
def test_host_that_was_disabled_before(pool: Pool, ctl: Ctl) -> None:
    """It takes no VM back that does not start elsewhere."""
    pool.api("host.disable", pool.one.ref)
    plan = ctl(*WORDS, "--relocate", "--plan")
    assert "VM mail stays halted if it does not start elsewhere: host host1 is disabled already" in plan.err
    assert "host host1 is disabled already. Nothing was changed" in plan.err
    pool.api("host.enable", pool.one.ref)
    assert "stays halted" not in ctl(*WORDS, "--relocate", "--plan").err


def test_host_that_was_disabled_before_and_stays_so(pool: Pool, ctl: Ctl) -> None:
    web = pool.with_vf("web", network=pool.network("eth1"), on=pool.one)
    pool.start(web, pool.one)
    pool.api("host.disable", pool.one.ref)
    qemu(web, pool.one).keeps = True
    said = ctl(*WORDS, "--network-gap", "--guest-timeout", "1")
    assert (said.status, where(pool, web)[:3]) == (1, ("Running", pool.one.ref, 1))
    assert "VM web was not brought from host host1 to another." in said.err
    assert f"Host host1 is not empty, and {OUT_OF_SERVICE}" in said.err


@pytest.mark.usefixtures("mail")
def test_host_of_which_nothing_is_known_at_the_end(
    pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_args: Any) -> None:
        def refuse() -> None:
            raise XapiFailed(["HOST_OFFLINE", pool.one.ref])

        when_called(monkeypatch, "host.get_enabled", refuse)
        raise KeyboardInterrupt

    monkeypatch.setattr(evacuation, "leave", gone)
    said = ctl(*WORDS, "--relocate")
    assert said.status == 130
    assert "Host host1 is not empty, and may take VMs or not: xapi does not answer." in said.err


def test_what_lets_xapi_move_a_vm_is_said(pool: Pool, ctl: Ctl) -> None:
    db = pool.vm("db")
    pool.start(db, pool.one)
    pool.api("VM.add_to_blocked_operations", pool.ref(db), "pool_migrate", "backup")
    said = ctl("evacuate", "host1", "--plan")
    assert said.status == 1
    assert (
        f"If nobody needs that any more: `xe vm-param-remove uuid={db} param-name=blocked-operations"
        in said.err
    )


def test_xapi_that_is_gone_is_not_waited_for(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is there who can call again."""
    real = Remote.call

    def call(connection: Remote, method: str, *params: Any) -> Any:
        if method == "VM.get_all_records_where":
            raise Unreachable("the network is gone")
        return real(connection, method, *params)

    monkeypatch.setattr(evacuation, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(Remote, "call", call)
    said = ctl(*WORDS)
    assert (said.status, "(NO_ANSWER)" in said.err) == (1, True), said.err


def test_vm_that_is_busy_for_too_long(
    pool: Pool, ctl: Ctl, mail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.set_operation(mail, "snapshot")
    monkeypatch.setattr(evacuation, "WAIT_SECONDS", 0.0)
    said = ctl(*WORDS)
    assert said.status == 1
    assert "Host host1 is not settled: xapi has been at something with mail for 0 minutes." in said.err
