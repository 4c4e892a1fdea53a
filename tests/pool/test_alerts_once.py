"""Each thing that needs a person is told once, by the pool's master, whatever fails meanwhile."""

import os
import subprocess
import sys
from typing import Any

import hurry
import pytest
from alerted import (
    RESTORE_FAILED,
    VF_MISSING,
    again,
    cannot_be_restored,
    checked,
    dismiss,
    keys,
    put_right,
    told,
)
from box_host import BoxHost
from interference import all_cuts, meanwhile, xapi_fails
from managed_pool import OTHER_SLOTS, Pool
from sriovlib.pool.alerts import check
from sriovlib.pool.conflicts.view import Seen
from sriovlib.xapi.session import SOCKET

pytestmark = pytest.mark.story

LOOKED_AT = "message.get_all_records_where"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found is looked at once more without waiting."""
    monkeypatch.setattr(check, "AGAIN_SECONDS", 0)


# -- once ------------------------------------------------------------------------------------------------


def test_what_goes_on_is_told_once(pool: Pool) -> None:
    cannot_be_restored(pool.other)
    before = checked(pool)
    refs = pool.api("message.get_all")
    cannot_be_restored(pool.other)  # one more of the same kind
    assert checked(pool) == before
    assert pool.api("message.get_all") == refs


def test_what_a_person_destroyed_is_told_again_only_when_it_was_over(pool: Pool) -> None:
    cannot_be_restored(pool.other)
    checked(pool)
    dismiss(pool)
    assert checked(pool) == {}
    put_right(pool.other)
    assert checked(pool) == {}
    cannot_be_restored(pool.other)
    assert checked(pool) == {pool.other.uuid: RESTORE_FAILED}


def test_what_one_look_only_sees_is_not_told(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest reboots, VFs are made: it is over before anybody can look. What the second look sees first is
    the next check's to tell."""
    cannot_be_restored(pool.other)
    look = check._look

    def look_once(*of: Any) -> Seen:
        seen = look(*of)
        put_right(pool.other)
        cannot_be_restored(pool.one)
        return seen

    with monkeypatch.context() as during:
        during.setattr(check, "_look", look_once)
        assert checked(pool) == {}
    assert keys(pool) == []
    assert checked(pool) == {pool.one.uuid: RESTORE_FAILED}


def test_a_check_that_ends_before_its_key_is_written(pool: Pool) -> None:
    """The message that is there is found by its name."""
    cannot_be_restored(pool.other)
    with xapi_fails(pool.box, pool.one, "pool.add_to_other_config"):
        assert checked(pool) == {pool.other.uuid: RESTORE_FAILED}
    assert keys(pool) == []
    assert checked(pool) == {pool.other.uuid: RESTORE_FAILED}
    assert len(keys(pool)) == 1


def test_what_a_check_that_was_killed_told_is_taken_back(pool: Pool) -> None:
    """Whatever it came to: nothing knows of a message that it made last of all."""
    cannot_be_restored(pool.other)
    for number in all_cuts(lambda: check.check(pool.one.machine)):
        put_right(pool.other)
        assert (checked(pool), keys(pool)) == ({}, []), number
        cannot_be_restored(pool.other)


def test_what_a_person_destroys_while_it_is_taken_back(pool: Pool) -> None:
    cannot_be_restored(pool.other)
    checked(pool)
    put_right(pool.other)
    with meanwhile("message.destroy", lambda: dismiss(pool)):
        assert checked(pool) == {}
    assert keys(pool) == []


@pytest.mark.usefixtures("hurried")
def test_two_checks_at_once(pool: Pool) -> None:
    cannot_be_restored(pool.other)
    processes = [service(pool.one) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert told(pool) == {pool.other.uuid: RESTORE_FAILED}
    assert len(keys(pool)) == 1


def service(host: BoxHost) -> Any:
    """As systemd starts it."""
    entry = os.path.abspath(f"{__file__}/../../../hooks/boot/sriov-alerts")
    return subprocess.Popen([sys.executable, entry], env={**host.environment, **hurry.environment()})


# -- who tells, and who cannot --------------------------------------------------------------------------


def test_members_tell_nothing(pool: Pool) -> None:
    cannot_be_restored(pool.other)
    assert told(pool, pool.other) == {}
    assert service(pool.other).wait() == 0
    assert keys(pool) == []


def test_a_new_master_tells_once_more_what_it_has_no_message_of(pool: Pool) -> None:
    """xapi's messages are files of the master's, copied to the others once a day."""
    cannot_be_restored(pool.other)
    checked(pool)
    pool.box.make_master(pool.other)
    assert checked(pool) == {pool.other.uuid: RESTORE_FAILED}
    (key,) = keys(pool)
    assert pool.pool_keys()[key].endswith(pool.other.uuid)
    dismiss(pool)
    pool.box.make_master(pool.one)
    assert checked(pool) == {pool.other.uuid: RESTORE_FAILED}
    put_right(pool.other)
    assert checked(pool) == {}


def test_a_new_master_takes_back_what_its_copy_has_of_a_message_that_was(pool: Pool) -> None:
    """The old master took it back after it had copied its messages."""
    cannot_be_restored(pool.other)
    checked(pool)
    copied = pool.api("message.get_all_records")
    put_right(pool.other)
    assert checked(pool) == {}
    pool.box.make_master(pool.other)
    for record in copied.values():
        pool.box.xapi.database.create("message", record)
    assert told(pool) == {pool.other.uuid: RESTORE_FAILED}
    assert checked(pool) == {}


def test_a_silent_host_changes_nothing(pool: Pool) -> None:
    cannot_be_restored(pool.other)
    vm = pool.with_vf("web", pool.other)
    pool.set_pci(vm, None)
    pool.start(vm, pool.other)
    before = checked(pool)
    assert before == {pool.other.uuid: RESTORE_FAILED, vm: VF_MISSING}
    pool.box.lose(pool.other, noticed=False)
    assert checked(pool) == before
    pool.box.lose(pool.other)
    assert checked(pool) == before


@pytest.mark.parametrize("method", ["message.create", LOOKED_AT, "message.get_record"])
def test_a_message_that_cannot_be_written_is_tried_again(pool: Pool, method: str) -> None:
    for host in pool.hosts:
        cannot_be_restored(host)
    with xapi_fails(pool.box, pool.one, method):
        checked(pool)
    failed = f"message {RESTORE_FAILED} of {pool.other.uuid}"
    assert (failed if method != LOOKED_AT else "messages for people were not looked at") in pool.log(pool.one)
    assert checked(pool) == dict.fromkeys((pool.one.uuid, pool.other.uuid), RESTORE_FAILED)


@OTHER_SLOTS
def test_no_start_fails_otherwise_for_a_message(pool: Pool) -> None:
    vm = pool.with_vf("web")
    pool.restarts(vm, pool.other)
    pool.shut_down(vm)
    with xapi_fails(pool.box, pool.one, "message.create"):
        again(pool, vm)
    assert told(pool) == {}


def test_a_xapi_that_does_not_answer(pool: Pool) -> None:
    said = "sriov-alerts has not looked at the pool, and tries again in five minutes: xapi: "
    with xapi_fails(pool.box, pool.one, "pool.get_all"):
        assert service(pool.one).wait() == 1
    assert f"{said}INTERNAL_ERROR" in pool.log(pool.one)
    socket = pool.one.machine.path(SOCKET)
    os.rename(socket, f"{socket}.away")
    assert service(pool.one).wait() == 1
    assert f"{said}[Errno 2] No such file" in pool.log(pool.one)
    os.rename(f"{socket}.away", socket)
