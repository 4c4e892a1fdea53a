"""A move meets faults of the hosts: a toolstack that restarts, a full disk, calls that fail or are cut off, a
pool master that is another one meanwhile."""

import itertools
import os
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable, Iterator, List

import pytest
from box_host import BoxHost
from faults import full_at
from interference import calls_told, cut_at, meanwhile, silent
from live_moves import (
    THERE,
    UNCONFIRMED,
    VF,
    driven,
    has_left,
    is_whole,
    migrate,
    running_with_vf,
    suspended_and_resumed,
)
from managed_pool import Pool, other_slot
from sriovlib.errors import SriovError
from sriovlib.machine.host import RUN_FOLDER
from sriovlib.vf import hotplug

pytestmark = [pytest.mark.story, pytest.mark.pool(describe=other_slot)]

STRIDE = 8  # from one place of a fault to the next: all of them take many minutes


@pytest.fixture
def web(pool: Pool) -> str:
    return running_with_vf(pool)


def test_guest_without_its_vf_reboots_while_the_toolstack_restarts(pool: Pool, web: str) -> None:
    """xenopsd has no device of it, and was told that its domain takes devices all the same."""
    pool.call("detach_vfs", vm=web)
    with pool.box.silent_xapi(pool.one), pool.impatient(pool.one):
        pool.guest_reboots(web)
    assert (pool.power_state(web), driven(web, pool.one)) == ("Running", [])
    assert pool.call("attach_vfs", vm=web)["vfs"] == [{"request": 1, "vf": VF}]
    is_whole(pool, web, pool.one, VF)


# -- a full disk -----------------------------------------------------------------------------------------


@contextmanager
def no_room(host: BoxHost, vm: str) -> Iterator[None]:
    """The VM's note cannot be written there. Root may do anything, so a folder stands where a new file is
    written first."""
    path = host.machine.path(f"{RUN_FOLDER}/.start-{vm}.sriov-new")
    os.mkdir(path)
    try:
        yield
    finally:
        os.rmdir(path)


def moved(pool: Pool, vm: str) -> SriovError:
    """Why it is not, to the other host."""
    with pytest.raises(SriovError) as refused:
        pool.act("migrate_vm", vm=vm, on=pool.other, **UNCONFIRMED)
    return refused.value


def test_vm_keeps_its_vf_where_that_it_has_none_could_not_be_noted(pool: Pool, web: str) -> None:
    with no_room(pool.one, web):
        refused = moved(pool, web)
        assert refused.code == "SRIOV_NO_LOCK"
        assert "Check that /run is writable and has room" in refused.hint
        is_whole(pool, web, pool.one, VF)
    has_left(pool, web, pool.other, THERE)
    migrate(pool, web, pool.other)
    is_whole(pool, web, pool.other, THERE)


def test_disk_that_is_full_when_a_vm_is_to_have_its_vf_again(pool: Pool, web: str) -> None:
    """xapi does not move it, and its host cannot note what it would be given."""
    with no_room_from("Async.VM.pool_migrate", pool.one, web):
        disabled = meanwhile("Async.VM.pool_migrate", lambda: pool.api("host.disable", pool.other.ref))
        with disabled:
            refused = moved(pool, web)
    assert refused.code == "SRIOV_NOT_MOVED"
    assert f"runs on host {pool.one.name} without its VFs" in refused.message
    assert driven(web, pool.one) == []
    pool.call("attach_vfs", vm=web)
    is_whole(pool, web, pool.one, VF)


def test_disk_that_is_full_where_a_vm_arrives(pool: Pool, web: str) -> None:
    with no_room(pool.other, web):
        refused = moved(pool, web)
    assert refused.code == "SRIOV_MOVED_WITHOUT_VF"
    assert "could not be noted in /run/sriov" in refused.message
    assert driven(web, pool.other) == []
    pool.call("attach_vfs", vm=web)
    is_whole(pool, web, pool.other, THERE)
    has_left(pool, web, pool.one, VF)


@contextmanager
def no_room_from(method: str, host: BoxHost, vm: str) -> Iterator[None]:
    """As no_room, from the master's first call of that method on."""
    full: List[Any] = []

    def told(_number: int, name: str, *_params: Any) -> None:
        if name == method and not full:
            full.append(no_room(host, vm))
            full[0].__enter__()

    with calls_told(told):
        yield
    full[0].__exit__(None, None, None)


@pytest.mark.parametrize(("function", "undo"), [("unplug_vfs", "plug_vfs"), ("plug_vfs", "unplug_vfs")])
def test_disk_that_is_full_at_any_step(
    pool: Pool, web: str, function: str, undo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not done then the next call does."""
    monkeypatch.setattr(hotplug, "PAUSE", 0.01)
    if function == "plug_vfs":
        pool.act("unplug_vfs", vm=web)
    for number in itertools.count(1, 3 * STRIDE):
        codes = set()
        with full_at(number) as count:
            try:
                pool.act(function, vm=web)
            except SriovError as error:
                codes.add(error.code)
        assert codes <= {"SRIOV_NO_LOCK", "SRIOV_XEN_SILENT"}
        pool.act(function, vm=web)
        assert driven(web, pool.one) == ([VF] if function == "plug_vfs" else [])
        pool.act(undo, vm=web)
        if count[0] < number:
            break
    pool.act("plug_vfs", vm=web)
    is_whole(pool, web, pool.one, VF)


# -- calls that fail, or are cut off -----------------------------------------------------------------------


@pytest.mark.parametrize("answered", [False, True])
def test_call_of_the_master_that_fails(pool: Pool, web: str, answered: bool) -> None:
    """xapi refuses the connection, once, or has done what it was asked and its answer is lost: wherever the
    VM is then, it is whole after one more call."""
    for number in itertools.count(3 + 4 * answered, STRIDE):
        there, _ = whereabouts(pool, web)

        def told(now: int, *_anything: Any, wanted: int = number) -> None:
            if now == wanted:
                silent()

        with calls_told(told, answered) as methods:
            try:
                pool.act("migrate_vm", vm=web, on=there[0], **UNCONFIRMED)
            except SriovError:
                pass
        ended(pool, web)
        if len(methods) < number:
            return
    raise AssertionError("it has no end")


def whereabouts(pool: Pool, vm: str) -> Any:
    """The host where it does not run, and the VF that it would have there; the host where it does, and its
    VF."""
    places = [(pool.one, VF), (pool.other, THERE)]
    return places if pool.record(vm)["resident_on"] == pool.other.ref else places[::-1]


def ended(pool: Pool, vm: str) -> None:
    """What is left of its move, by one more call."""
    assert pool.box.wait_for_calls()
    pool.act("attach_vfs", vm=vm)
    there, here = whereabouts(pool, vm)
    is_whole(pool, vm, *here)
    has_left(pool, vm, *there)


def test_move_in_its_place_of_a_resumed_vm_is_cut_off_anywhere(pool: Pool, web: str) -> None:
    """It runs on its VIF; the same call gives it its VF, whichever of its domains it runs in by then."""
    for number in itertools.count(2, STRIDE):
        pool.act("detach_vfs", vm=web)
        suspended_and_resumed(pool, web)
        in_its_place = partial(pool.act, "migrate_vm", vm=web, on=pool.one, **UNCONFIRMED)
        cut = cut_at(number, in_its_place)
        assert pool.box.wait_for_calls()
        in_its_place()
        is_whole(pool, web, pool.one, VF)
        if not cut:
            assert number > 40
            return


@pytest.mark.parametrize("dies", [True, False])
def test_another_host_becomes_the_master_at_any_step(pool: Pool, web: str, dies: bool) -> None:
    """The former one ends there, or goes on with its call, which changes nothing any more."""
    for number in itertools.count(1 + dies, STRIDE):
        there, _ = whereabouts(pool, web)
        call = partial(pool.act, "migrate_vm", pool.box.master, vm=web, on=there[0], **UNCONFIRMED)
        new = next(host for host in pool.hosts if host is not pool.box.master)
        if dies:
            is_over = not cut_at(number, call)
            pool.box.make_master(new)
        else:
            is_over = not met_at(number, partial(pool.box.make_master, new), call)
        ended(pool, web)
        if is_over:
            assert number > 40
            return


def met_at(number: int, act: Callable[[], Any], call: Callable[[], Any]) -> bool:
    """Just before the call of that number to xapi somebody does this; whether it came that far."""

    def told(now: int, *_anything: Any) -> None:
        if now == number:
            act()

    with calls_told(told) as methods:
        try:
            call()
        except SriovError:
            pass
    return len(methods) >= number
